from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from maskedge_bench.start import cold_start


def test_cold_start_is_measured(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = command("edge-bench", "cold-start", "--rounds", "1", "--json", tmp_path / "start.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "start.json").read_text())
    assert report["schema"] == "maskedge.start/1"
    assert report["seconds_to_first_answer"]["median"] > 0
    assert report["cpu_seconds"]["median"] > 0
    assert report["version_seconds"]["median"] > 0
    assert 30 < report["resident_megabytes"]["max"] < 400
    assert "first result" in done.stdout


def test_a_stop_ends_edge_run_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(process: subprocess.Popen[bytes]) -> None:
        monkeypatch.undo()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not (found := children.read_text().split()):
            assert process.poll() is None
        started.extend(found)
        raise KeyboardInterrupt

    started: list[str] = []
    monkeypatch.setattr(subprocess.Popen, "communicate", stop)
    with pytest.raises(KeyboardInterrupt):
        cold_start._start(["--source", "demo", "--live", "--no-show", "--quiet"], os.environ)
    # It is gone, or waits for its new parent to take note of it.
    end = time.monotonic() + 30
    while (stat := Path(f"/proc/{started[0]}/stat")).exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < end


def test_a_stop_when_edge_run_has_just_ended_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(process: subprocess.Popen[bytes]) -> None:
        monkeypatch.undo()
        process.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(cold_start, "_TIMED_START", os.devnull)
    monkeypatch.setattr(subprocess.Popen, "communicate", stop)
    with pytest.raises(KeyboardInterrupt):
        cold_start._start([], os.environ)
