"""`edge-run --serve`, as a user starts it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.streams import until
from helpers.support import command_line, environment, free_port

pytestmark = pytest.mark.network


def get(url: str) -> tuple[int, bytes]:
    """Return status and body of a request; status 0 without a server."""
    try:
        with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310  (our own loopback)
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def test_edge_run_serves_until_it_is_stopped(tmp_path: Path) -> None:
    port = free_port()
    line = ["edge-run", "--source", "demo", "--no-show", "--loop", "--serve", f"127.0.0.1:{port}", "--serve-picture", "--anonymize"]
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command_line(line), stdout=log, stderr=log, env=environment(None))
    try:
        until(lambda: get(f"{url}/healthz")[0] == 200, 60)
        status = json.loads(get(f"{url}/api/status")[1])
        assert status["source"]["name"] == "demo"
        assert b"maskedge_frames_processed_total" in get(f"{url}/metrics")[1]
        picture = cv2.imdecode(np.frombuffer(get(f"{url}/snapshot.jpg")[1], np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (480, 640, 3)
        with urllib.request.urlopen(f"{url}/stream.mjpg", timeout=30) as stream:  # noqa: S310
            stream.read(1000)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    assert get(url)[0] == 0


def test_a_port_that_is_taken_ends_the_run_at_its_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        line = ["edge-run", "--source", "demo", "--no-show", "--serve", address]
        done = subprocess.run(command_line(line), capture_output=True, text=True, env=environment(None), timeout=60, check=False)
    assert done.returncode == 5
    assert "cannot be served" in done.stderr
    assert "Traceback" not in done.stderr
