"""A status page over a real run of the demo clip."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from maskedge.events import Event
from maskedge.results import FrameResult
from maskedge.runtime.state import RunState
from maskedge.sinks.web.config import WebConfig
from maskedge.sinks.web.sink import WebSink
from maskedge.sources import open_source
from maskedge.vision.pipeline import MaskDetector


class Run:
    """The real detector on the demo clip, in a thread, with the web sink at its end."""

    def __init__(self, *, frames: bool = True, history: Path | None = None, **settings: Any) -> None:
        self.detector = MaskDetector(tracking=True, detect_every=4)
        labels = list(self.detector.labels)
        self.state = RunState(
            'door "1"\\', labels=labels, models={"model": {"name": "edgenet", "sha256": "0" * 64, "labels": labels}}
        )
        self.sink = WebSink(WebConfig(**{"serve": "127.0.0.1:0", **settings}), self.state.snapshot, history=history)
        self.frames = 0
        self.slowest = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        if frames:
            self._thread.start()

    def _run(self) -> None:
        self.state.set_source("open", fps=30)
        while not self._end.is_set():
            for frame in open_source("demo").frames():
                if self._end.wait(0.01):
                    return
                faces = self.detector(frame.image, frame.moment)
                stages = self.detector.clock.close_frame(frame.arrival)
                self.state.add_frame(faces, stages, frame.size, zones={"door": {"with_mask": len(faces)}})
                self.frames += 1
                self.state.count(captured=self.frames, dropped=0)
                started = time.perf_counter()
                self.sink.write(FrameResult(frame, faces, stages))
                self.slowest = max(self.slowest, time.perf_counter() - started)
                self.detector.clock.next_frame()

    def halt(self) -> None:
        """Stop the frames, but keep the page."""
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join()

    def lose(self) -> None:
        """Report that the camera is lost."""
        self.halt()
        self.state.set_source("lost", "the cable is out", 3)
        self.sink.handle_event(Event("source_lost", time.time(), "door"))

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the page."""
        parts = urlsplit(self.sink.url)
        return str(parts.hostname), int(parts.port or 0)

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Send a request whose response has an end."""
        connection = http.client.HTTPConnection(*self.address, timeout=10)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def open(self, path: str, **options: Any) -> socket.socket:
        """Send a request whose response has no end."""
        client = socket.create_connection(self.address, timeout=10, **options)
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return client

    def metric(self, line: str) -> float:
        """Return the value of a metric."""
        text = self.get("/metrics")[2].decode()
        return float(next(row.rsplit(" ", 1)[1] for row in text.splitlines() if row.rsplit(" ", 1)[0] == line))

    def __enter__(self) -> Run:
        """Start."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop the frames and close the page."""
        self.halt()
        self.sink.close()


def read_until(client: socket.socket, what: bytes, most: int = 1_000_000) -> bytes:
    """Read until `what` has arrived."""
    content = b""
    while what not in content:
        piece = client.recv(65536)
        assert piece, f"the connection ended: {content[-200:]!r}"
        content += piece
        assert len(content) < most
    return content
