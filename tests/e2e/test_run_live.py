"""`edge-run` as a service: signals, systemd's socket and full disks."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
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


_SLOW = """
import sys, time
import numpy as np
import cv2
from maskedge.cli.run import main
from maskedge.vision.detectors import Detections, FaceDetector, register_detector

class Slow(FaceDetector):
    def __init__(self):
        self.noise = np.random.default_rng(0).integers(0, 255, (800, 800, 3), np.uint8)
        self.failures = failures

    def detect(self, image):
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the driver is gone")
        end = time.monotonic() + 3
        while time.monotonic() < end:
            cv2.fastNlMeansDenoisingColored(self.noise)
        return Detections(())

failures = int(sys.argv[1])
register_detector("slow")(lambda min_face_size, threads: Slow())
sys.argv[1:] = ["--detector", "slow", "--source", "demo", "--live", "--no-show", *sys.argv[2:]]
main()
"""


def start_slow(failures: int, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start a run whose detector takes 100 times as long as a frame, and fails at first."""
    command = [sys.executable, "-c", _SLOW, str(failures), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())


def read_frames(events: Path) -> list[int]:
    lines = [json.loads(line) for line in events.read_text().splitlines()] if events.exists() else []
    return [line["frame"] for line in lines if "frame" in line]


def test_a_slow_detection_holds_up_neither_frames_nor_the_end(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    with start_slow(0, "--loop", "--events", events, "--serve", "127.0.0.1:0") as process:
        end = time.monotonic() + 60
        while len(events.read_text().splitlines() if events.exists() else []) < 40:
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 143, stderr
    assert "Traceback" not in stderr
    frames = read_frames(events)
    # Less than one detection is complete in this time.
    assert len(frames) >= 40
    assert frames == sorted(frames)


def test_a_source_that_ends_during_a_detection_ends_the_run(tmp_path: Path) -> None:
    with start_slow(0, "--max-frames", "20", "--save", tmp_path / "out.mp4") as process:
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert (tmp_path / "out.mp4").stat().st_size > 1000


@pytest.mark.parametrize(("failures", "code"), [(1, 0), (2, 4)])
def test_a_detection_that_crashes_is_started_once_more(failures: int, code: int) -> None:
    with start_slow(failures, "--max-frames", "100") as process:
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert stderr.count("the detection failed and was started again (RuntimeError('the driver is gone')).") == 1
    assert stderr.count("the detection failed twice") == failures - 1
    assert "Traceback" not in stderr
