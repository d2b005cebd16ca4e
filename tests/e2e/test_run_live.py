"""`edge-run` as a service: signals, systemd's socket and full disks."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from helpers.support import command_line, environment


def start(*arguments: str | Path, more: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command_line(["edge-run", "--no-show", *arguments]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(more),
    )


def write(path: Path, limits: str) -> None:
    path.write_text(f'[source]\nuri = "demo"\nlive = true\nloop = true\n[log]\nformat = "json"\n{limits}')


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_systemd_hears_of_start_reload_and_end(tmp_path: Path, number: signal.Signals, code: int) -> None:
    config, events = tmp_path / "edge.toml", tmp_path / "events.jsonl"
    write(config, "[limits]\nmax_fps = 10\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)

        def wait(word: str) -> None:
            while not manager.recv(4096).decode().startswith(word):
                pass

        more = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        with start("--config", config, "--events", events, more=more) as process:
            wait("READY=1")
            wait("WATCHDOG=1")
            huge = "[limits]\nmax_fps = 1" + "0" * 400
            bombs = (huge, "[detect]\nevery = " + "9" * 5000, "[detect]\nevery = " + "[" * 5000, "[limits]\nthreads = 100000")
            for text in ("[limits]\nmax_fps = 5\n[web]\nserve = '127.0.0.1:0'\n", *bombs, "[limits]\nmax_fsp = 5\n"):
                write(config, text)
                process.send_signal(signal.SIGHUP)
                wait("RELOADING=1")
                wait("READY=1")
            # The run goes on after an invalid file.
            wait("WATCHDOG=1")
            process.send_signal(number)
            _, stderr = process.communicate(timeout=20)
        wait("STOPPING=1")
    assert process.returncode == code, stderr
    lines = [json.loads(line) for line in stderr.splitlines()]
    logged = " / ".join(f"{line['level']}: {line['message']}" for line in lines)
    assert "info: configuration reloaded: changed limits.max_fps" in logged
    assert "warning: takes effect only after a restart: web.serve" in logged
    assert logged.count("error: the configuration was not reloaded and stays as it was") == 5
    assert "did you mean max_fps?" in logged
    assert all(json.loads(line) for line in events.read_text().splitlines()), "the last line is complete"


def run(*arguments: str | Path) -> tuple[int, str]:
    with start("--source", "demo", *arguments) as process:
        _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr


@pytest.mark.parametrize("live", [("--live", "--max-frames", "20"), ()], ids=["live", "file"])
def test_a_full_disk_under_events(live: tuple[str, ...]) -> None:
    code, stderr = run("--events", "/dev/full", *live)
    assert code == 5
    assert "No space left on device" in stderr
    assert "Traceback" not in stderr


def test_a_full_disk_under_a_live_video_is_said_once(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", disk], capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here (not root)")
    try:
        code, stderr = run("--live", "--max-frames", "40", "--save", disk / "out.mp4")
    finally:
        subprocess.run(["umount", disk], check=True)
    assert code == 5
    assert stderr.count("warning: output save: ") == 1, stderr
    assert "works again" not in stderr


def test_secrets_are_in_no_output(tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text('[source]\nuri = "rtsp://me:geheim@127.0.0.1:9/x"\n[mqtt]\npassword = "geheim"\n')
    done: dict[str, Any] = {}
    for name, arguments in {"print": ("--print-config",), "run": ("--log-level", "debug")}.items():
        with start("--config", config, *arguments) as process:
            stdout, stderr = process.communicate(timeout=60)
        done[name] = process.returncode
        assert "geheim" not in stdout + stderr
        assert "Traceback" not in stderr
    assert done == {"print": 0, "run": 3}
