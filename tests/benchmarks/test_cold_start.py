from __future__ import annotations

import json
from pathlib import Path


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
