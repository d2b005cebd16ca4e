"""Real streams on loopback for the tests: FFmpeg, or a bare socket where it is about bytes."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest

from maskedge.sources import demo

_H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10", "-pix_fmt", "yuv420p")
_MJPEG = ("-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p")
KINDS: dict[str, tuple[str, Sequence[str]]] = {
    "http MJPEG": ("http://127.0.0.1:{port}/live.mjpg", (*_MJPEG, "-f", "mpjpeg", "-listen", "1")),
    "http MPEG-TS": ("http://127.0.0.1:{port}/live.ts", (*_H264, "-f", "mpegts", "-listen", "1")),
    "tcp H.264": ("tcp://127.0.0.1:{port}", (*_H264, "-f", "h264")),
    "tcp MJPEG": ("tcp://127.0.0.1:{port}", (*_MJPEG, "-f", "mjpeg")),
    "udp MPEG-TS": ("udp://127.0.0.1:{port}", (*_H264, "-f", "mpegts")),
}


def write_video(path: Path, frames: int = 60, size: tuple[int, int] = (320, 240)) -> Path:
    """The built-in clip as a video file of 25 frames/s."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, size)
    for index in range(frames):
        writer.write(cv2.resize(demo.draw(index), size))
    writer.release()
    return path


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port of loopback that nobody uses."""
    with socket.socket(type=kind) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for a condition, not for a time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def listening(port: int) -> bool:
    """Tell whether somebody listens on a port, without connecting: FFmpeg serves its first visitor alone."""
    rows = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return any(row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "0A" for row in rows)


class Stream:
    """FFmpeg that plays a clip for ever, as a stream of some kind, to one visitor; a cable that can be pulled."""

    def __init__(self, kind: str, clip: Path | str) -> None:
        if not shutil.which("ffmpeg"):
            pytest.skip("ffmpeg is not installed")
        address, self._options = KINDS[kind]
        self._port = free_port(socket.SOCK_DGRAM if kind.startswith("udp") else socket.SOCK_STREAM)
        self.address = address.format(port=self._port)
        self.clip = clip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *filters: str) -> None:
        """Plug it in."""
        source = ["-f", "lavfi", "-i", self.clip] if isinstance(self.clip, str) else ["-stream_loop", "-1", "-i", str(self.clip)]
        target = self.address + ("?listen" if self.address.startswith("tcp") else "")
        self._process = subprocess.Popen(
            ["ffmpeg", "-v", "quiet", "-re", *source, *filters, *self._options, target], stdin=subprocess.DEVNULL
        )
        if not self.address.startswith("udp"):
            until(lambda: listening(self._port) or not self.alive)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def freeze(self) -> None:
        """Let it hang, with its connection open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def pull(self) -> None:
        """Pull the cable."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


_RTSP_NEEDS = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst; Gst.init(None); "
    "assert Gst.ElementFactory.find('x264enc') and Gst.ElementFactory.find('rtph264pay')"
)


class RtspStream(Stream):
    """What an IP camera speaks: a GStreamer RTSP server, for any number of visitors."""

    def __init__(self) -> None:
        python = shutil.which("python3", path="/usr/bin")  # its bindings belong to the system, not to the environment of the tests
        if not python or subprocess.run([python, "-c", _RTSP_NEEDS], capture_output=True, check=False).returncode:
            pytest.skip("no RTSP server here: GStreamer's, its bindings for Python, and x264enc")
        self._python = python
        self._port = free_port()
        self.address = f"rtsp://127.0.0.1:{self._port}/live"
        self._process = None

    def start(self, *filters: str) -> None:
        """Plug it in."""
        self._process = subprocess.Popen([self._python, Path(__file__).with_name("rtsp_server.py"), str(self._port)])
        until(lambda: listening(self._port) or not self.alive)


@contextmanager
def black_hole() -> Iterator[socket.socket]:
    """A socket where connections are taken and never answered."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(8)
        yield hole


@contextmanager
def serve_bytes(content: bytes, seconds: float) -> Iterator[int]:
    """Send some bytes to every visitor, over so many seconds, and hang up."""
    over = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        while not over.is_set():
            try:
                visitor, _ = server.accept()
            except OSError:
                return
            with visitor:
                part = max(1, round(len(content) * 0.02 / seconds))
                for start in range(0, len(content), part):
                    try:
                        visitor.sendall(content[start : start + part])
                    except OSError:
                        break
                    if over.wait(0.02):
                        return

    thread = threading.Thread(target=work)
    thread.start()
    yield server.getsockname()[1]
    over.set()
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()
