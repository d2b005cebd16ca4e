"""`edge-run` on real streams: losses, hangs, silence and signals."""

from __future__ import annotations

import json
import os
import select
import selectors
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.streams import RtspStream, Stream, black_hole, write_video
from helpers.support import command_line, environment


class Run:
    """A running `edge-run` and its events."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            command_line(["edge-run", *arguments, "--events", "-", "--no-show"]),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            # Tests started in the background by a shell inherit an ignored SIGINT, and would pass
            # it on.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        self._rest = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)

    def event(self, seconds: float = 40) -> dict[str, Any]:
        """Wait for the next line of a frame."""
        while True:
            while b"\n" not in self._rest:
                assert self._selector.select(seconds), "no event came"
                part = os.read(self._output, 65536)
                assert part, self._process.communicate()[1].decode()
                self._rest += part
            line, self._rest = self._rest.split(b"\n", 1)
            event: dict[str, Any] = json.loads(line)
            if "frame" in event:
                return event

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Stop it, and return its exit code and standard error."""
        self._process.send_signal(number)
        return self.wait(60)

    def wait(self, seconds: float = 40) -> tuple[int, str]:
        """Wait for its end, and return its exit code and standard error."""
        _, words = self._process.communicate(timeout=seconds)
        return self._process.returncode, words.decode()


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Stream]:
    stream = Stream("http MJPEG", write_video(tmp_path / "clip.mp4", 100))
    yield stream
    stream.pull()


def test_cable_pulled_and_back(stream: Stream) -> None:
    stream.start()
    address = stream.address.replace("http://", "http://operator:geheim@")
    run = Run("--source", address)
    last = run.event()
    assert last["source"] == stream.address.replace("http://", "http://***@")
    for _ in range(2):
        stream.pull()
        stream.start()
        frames = [run.event() for _ in range(40)]
        assert [event["frame"] for event in frames] == sorted({event["frame"] for event in frames})
        assert frames[0]["frame"] > last["frame"]
        last = frames[-1]
    code, words = run.end(signal.SIGTERM)
    assert code == 143, words
    assert "geheim" not in words
    assert "Traceback" not in words


def test_rtsp_camera_is_lost_and_back() -> None:
    camera = RtspStream()
    camera.start()
    try:
        run = Run("--source", camera.address)
        last = run.event()["frame"]
        camera.pull()
        camera.start()
        while (event := run.event())["frame"] <= last + 40:
            pass
        assert event["size"] == [320, 240]
        code, words = run.end()
    finally:
        camera.pull()
    assert code == 130, words
    assert f"{camera.address} is back after" in words
    assert "Traceback" not in words


def test_interrupted_while_nobody_answers() -> None:
    with black_hole() as hole:
        run = Run("--source", f"http://127.0.0.1:{hole.getsockname()[1]}/")
        assert select.select([hole], [], [], 60)[0], "it does not connect"
        code, words = run.end()
    # The library itself would wait for 10 s.
    assert code == 130, words
    assert "Traceback" not in words


def test_camera_that_stays_away_is_given_up(stream: Stream) -> None:
    stream.start()
    run = Run("--source", stream.address, "--max-retries", "2")
    run.event()
    stream.pull()
    code, words = run.wait()
    assert code == 3, words
    assert f"error: given up after 2 attempts: the stream {stream.address} could not be opened" in words
    assert "Traceback" not in words


def test_interrupted_while_the_camera_hangs(stream: Stream) -> None:
    """Its thread is inside the library then, and cannot be interrupted."""
    stream.start()
    run = Run("--source", stream.address, "--stall-timeout", "60")
    run.event()
    stream.freeze()
    code, words = run.end()
    assert code == 130, words
    assert "Traceback" not in words


def test_service_waits_for_its_camera(stream: Stream) -> None:
    run = Run("--source", stream.address, "--wait")
    stream.start()
    assert run.event()["size"] == [320, 240]
    assert run.end(signal.SIGTERM)[0] == 143


def test_stream_that_is_not_there_at_the_start(command: Any) -> None:
    done = command("edge-run", "--source", "tcp://me:geheim@127.0.0.1:9", "--no-show")
    assert done.returncode == 3
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: the stream tcp://***@127.0.0.1:9 could not be opened: check the address")
