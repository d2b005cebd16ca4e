"""Real streams on loopback, from FFmpeg or from a bare socket."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helpers.support import free_port
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
    """Write the demo clip to a video file of 25 frames/s."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, size)
    for index in range(frames):
        writer.write(cv2.resize(demo.draw(index), size))
    writer.release()
    return path


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.02)


def listening(port: int) -> bool:
    """Return True if a port is open, without connecting: FFmpeg serves only its first client."""
    rows = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return any(row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "0A" for row in rows)


class Stream:
    """A stream that FFmpeg plays endlessly to one client, and whose connection can be cut."""

    def __init__(self, kind: str, clip: Path | str) -> None:
        if not shutil.which("ffmpeg"):
            pytest.skip("ffmpeg is not installed")
        address, self._options = KINDS[kind]
        self._port = free_port(socket.SOCK_DGRAM if kind.startswith("udp") else socket.SOCK_STREAM)
        self.address = address.format(port=self._port)
        self.clip = clip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *filters: str, wait: bool = True) -> None:
        """Start the stream. `wait` until it listens; a client that is quick may end that first."""
        source = ["-f", "lavfi", "-i", self.clip] if isinstance(self.clip, str) else ["-stream_loop", "-1", "-i", str(self.clip)]
        target = self.address + ("?listen" if self.address.startswith("tcp") else "")
        self._process = subprocess.Popen(
            ["ffmpeg", "-v", "quiet", "-re", *source, *filters, *self._options, target], stdin=subprocess.DEVNULL
        )
        if wait and not self.address.startswith("udp"):
            until(lambda: listening(self._port) or not self.alive)

    @property
    def alive(self) -> bool:
        """True while FFmpeg runs."""
        return self._process is not None and self._process.poll() is None

    def freeze(self) -> None:
        """Stop sending, but keep the connection open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def pull(self) -> None:
        """End the stream and its connections, as if the cable were pulled."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


_RTSP_NEEDS = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst; Gst.init(None); "
    "assert Gst.ElementFactory.find('x264enc') and Gst.ElementFactory.find('rtph264pay')"
)


class RtspStream(Stream):
    """A GStreamer RTSP server, as in an IP camera, for any number of clients."""

    def __init__(self) -> None:
        python = shutil.which("python3", path="/usr/bin")  # its bindings belong to the system's Python
        if not python or subprocess.run([python, "-c", _RTSP_NEEDS], capture_output=True, check=False).returncode:
            pytest.skip("GStreamer's RTSP server, its Python bindings or x264enc are not installed")
        self._python = python
        self._port = free_port()
        self.address = f"rtsp://127.0.0.1:{self._port}/live"
        self._process = None

    def start(self, *filters: str, wait: bool = True) -> None:
        """Start the stream."""
        self._process = subprocess.Popen([self._python, Path(__file__).with_name("rtsp_server.py"), str(self._port)])
        until(lambda: listening(self._port) or not self.alive)


@contextmanager
def black_hole() -> Iterator[socket.socket]:
    """A socket that accepts connections and never answers."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(8)
        yield hole


@contextmanager
def serve_bytes(content: bytes, seconds: float) -> Iterator[int]:
    """Send bytes to every client, spread over some seconds, and close the connection."""
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
                # An unread request would reset the connection, and the reset may arrive before the
                # response.
                with suppress(OSError):
                    visitor.shutdown(socket.SHUT_WR)
                    visitor.settimeout(0.2)
                    while visitor.recv(4096):
                        pass

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        over.set()
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


@contextmanager
def serve_folder(folder: Path) -> Iterator[int]:
    """Serve the files of a folder over HTTP."""

    class Handler(SimpleHTTPRequestHandler):
        def copyfile(self, *arguments: Any) -> None:
            with suppress(OSError):  # a client closes the connection before the end
                super().copyfile(*arguments)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


_MULTIPART = "multipart/x-mixed-replace; boundary="
_HEADERS = {
    "quoted": f'{_MULTIPART}"frame"',
    "dashes in the header": f"{_MULTIPART}--frame",
    "no type at all": "application/octet-stream",
    "other boundary": f"{_MULTIPART}another",
    "line break first": "text/plain",
}
GOOD = (
    "plain", *_HEADERS, "chunked", "redirected", "line feeds", "no length", "wrong length", "no type a part", "image/jpg",
    "header before boundary", "boundary without dashes", "parts of text between", "large header a part",
)  # fmt: skip
"""Streams that browsers can show."""
DAMAGED = ("cut", "garbage", "empty", "text for a picture", "end missing", "start missing")
"""Streams in which every third part is damaged."""


class HttpCamera:
    """An HTTP camera for any number of clients. The path selects the oddity of the stream.

    Attributes:
        visits: Path and headers of each request.
    """

    def __init__(self, fps: float = 50) -> None:
        self.visits: list[tuple[str, dict[str, str]]] = []
        pictures = [cv2.imencode(".jpg", cv2.resize(demo.draw(index), (320, 240)))[1].tobytes() for index in range(40)]
        camera, self._over = self, threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.visits.append((self.path, dict(self.headers.items())))
                with suppress(OSError):
                    camera._answer(self, pictures, 1 / fps)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def address(self, oddity: str, user: str = "") -> str:
        """Return the address of a stream."""
        return f"http://{user}127.0.0.1:{self._server.server_port}/{oddity.replace(' ', '-')}"

    def _answer(self, visit: BaseHTTPRequestHandler, pictures: list[bytes], pause: float) -> None:
        oddity = visit.path[1:].partition("?")[0].replace("-", " ")
        header = _HEADERS.get(oddity, f"{_MULTIPART}frame")
        if oddity.startswith(("basic", "digest")) and not _knows(oddity, visit):
            return
        if oddity.isdigit():
            visit.send_response(int(oddity))
            visit.send_header("Content-Length", "0")
            visit.end_headers()
            return
        if oddity in ("redirected", "circle"):
            visit.send_response(302)
            visit.send_header("Location", "/circle" if oddity == "circle" else "/plain")
            visit.end_headers()
            return
        if oddity.startswith("snapshot of") or oddity == "snapshot chunked":
            picture = pictures[len(self.visits) % 40]
            visit.protocol_version = "HTTP/1.1"
            visit.send_response(200)
            if oddity != "snapshot of no type":
                visit.send_header("Content-Type", "image/jpeg")
            if oddity == "snapshot chunked":
                visit.send_header("Transfer-Encoding", "chunked")
                picture = b"%x\r\n%s\r\n0\r\n\r\n" % (len(picture), picture)
            elif oddity == "snapshot of no type":
                visit.send_header("Content-Length", str(len(picture)))
            visit.end_headers()
            visit.wfile.write(picture)
            return
        if oddity in ("page", "snapshot", "snapshot torn", "snapshot at first", "text", "still"):
            picture = pictures[len(self.visits) % 40]
            content, kind = {
                "page": (b"<html><img src='/plain'></html>", "text/html"),
                "text": (b"busy", "text/plain"),
                "snapshot": (picture, "image/jpeg"),
                "snapshot torn": (picture[: len(picture) // (2 if len(self.visits) % 3 == 0 else 1)], "image/jpeg"),
                "snapshot at first": (picture, "image/jpeg") if len(self.visits) == 1 else (b"<html>log in</html>", "text/html"),
                "still": (pictures[0], "image/jpeg"),
            }[oddity]
            visit.send_response(200)
            visit.send_header("Content-Type", kind)
            visit.send_header("Content-Length", str(len(content)))
            visit.end_headers()
            visit.wfile.write(content)
            return
        visit.protocol_version = "HTTP/1.1" if oddity == "chunked" else "HTTP/1.0"
        visit.send_response(200)
        visit.send_header("Content-Type", header)
        if oddity == "chunked":
            visit.send_header("Transfer-Encoding", "chunked")
        visit.end_headers()
        if oddity == "line break first":
            visit.wfile.write(b"\r\n")
            self._over.wait(0.05)
        for index in itertools.count():
            part = _part(oddity, index, pictures[index % 40])
            visit.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if oddity == "chunked" else part)
            if self._over.wait(pause):
                return

    def __enter__(self) -> HttpCamera:
        """Start the stream."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


_BASIC = 'Basic realm="Digest of the camera"'
_DIGEST = 'Digest realm="camera", nonce="{nonce}", qop="auth", algorithm='
CHALLENGES = {
    "basic": (_BASIC,),
    "basic without realm": ("Basic",),
    "basic with a comma in its realm": ('Basic realm="x, Digest y"',),
    "basic behind an unsupported digest": ('Digest realm="camera", nonce="{nonce}", qop="auth-int"', _BASIC),
    "digest": (f"{_DIGEST}MD5",),
    "digest lower case": (f"{_DIGEST}md5",),
    "digest SHA 256": (f"{_DIGEST}SHA-256", f"{_DIGEST}MD5"),
    "digest of an unknown kind first": (f"{_DIGEST}SHA-512-256", f"{_DIGEST}MD5"),
    "digest behind basic": (_BASIC, f"{_DIGEST}MD5"),
    "digest behind basic in one header": (f"{_BASIC}, {_DIGEST}MD5",),
    "digest behind negotiate": ("Negotiate", f"{_DIGEST}MD5"),
    "digest with a comma in its realm": ('Digest realm="Lobby, floor 2", nonce="{nonce}", qop="auth"',),
    "digest with a realm in UTF 8": ('Digest realm="K\xc3\xbcche", nonce="{nonce}", qop="auth"',),
    "digest of two kinds": ('Digest realm="camera", nonce="{nonce}", qop="auth-int, auth"',),
    "digest with blanks and an empty field": ('Digest Realm = "camera",nonce={nonce} , algorithm= MD5, qop= auth, opaque=',),
}
"""Headers with which a camera asks for a name and a password."""


def _knows(oddity: str, visit: BaseHTTPRequestHandler) -> bool:
    """Return True for a request with the right name and password; otherwise respond 401."""
    name, password = "admin", "p@ss#w/rd:1ä"
    shown = visit.headers.get("Authorization", "")
    if oddity.startswith("basic"):
        right = shown == "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
    else:
        given = {key: quoted or bare for key, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^",]*))', shown)}

        def digest(text: str) -> str:
            kind = given.get("algorithm", "MD5").replace("-", "")
            return hashlib.new(kind, text.encode(), usedforsecurity=False).hexdigest()

        realm = "Lobby, floor 2" if "comma" in oddity else "K\xfcche" if "UTF 8" in oddity else "camera"
        nonce, first, second = given.get("nonce"), digest(f"{name}:{realm}:{password}"), digest(f"GET:{visit.path}")
        right = given.get("response") == digest(f"{first}:{nonce}:{given.get('nc')}:{given.get('cnonce')}:auth:{second}")
    if not right:
        visit.send_response(401)
        for challenge in CHALLENGES[oddity]:
            visit.send_header("WWW-Authenticate", challenge.format(nonce=secrets.token_hex(4)))
        visit.send_header("Content-Length", "0")
        visit.end_headers()
    return right


def _part(oddity: str, index: int, picture: bytes) -> bytes:
    if index % 3 == 1 and oddity in DAMAGED:
        random = np.random.default_rng(index)
        picture = {
            "cut": picture[: len(picture) // 3],
            "garbage": picture[:700] + random.integers(0, 256, len(picture) - 702, np.uint8).tobytes() + picture[-2:],
            "empty": b"",
            "text for a picture": b"camera busy",
            "end missing": picture[:-2],
            "start missing": picture[2:],
        }[oddity]
    kind = b"Content-Type: %s\r\n" % (b"image/jpg" if oddity == "image/jpg" else b"image/jpeg")
    length = b"Content-Length: %d\r\n" % (len(picture) + 7 * (oddity == "wrong length"))
    if oddity == "header before boundary":
        return kind + length + b"\r\n" + picture + b"\r\n--frame\r\n"
    if oddity == "boundary without dashes":
        return b"frame\r\n" + kind + length + b"\r\n" + picture + b"\r\n"
    if oddity == "line feeds":
        return b"--frame\n" + (kind + length).replace(b"\r", b"") + b"\n" + picture + b"\n"
    if oddity == "parts of text between":
        text = b"--frame\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello\r\n" if index % 3 == 1 else b""
        return text + b"--frame\r\n" + kind + length + b"\r\n" + picture + b"\r\n"
    if oddity == "no pictures":
        return b"--frame\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
    large = b"X-Sensor: " + b"7" * 20_000 + b"\r\n" if oddity == "large header a part" else b""
    return b"".join(
        (
            b"--frame\r\n",
            b"" if oddity == "no type a part" else kind,
            b"" if oddity == "no length" else length,
            large,
            b"\r\n",
            picture,
            b"\r\n",
        )
    )
