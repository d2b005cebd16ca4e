"""The feeds of the web server: pictures and events. All code runs on the web thread.

Clients have no queues. A client gets the newest picture, status and faces when it has read the
previous ones. Events are in a ring that all clients share, and each client has a cursor. A client
that reads one byte per second therefore takes the memory of one picture.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from maskedge.events import Event
from maskedge.rendering.jpeg import encode_jpeg
from maskedge.results import FrameResult
from maskedge.support.text import to_json

BOUNDARY = "frame"
KINDS = ("status", "faces", "happening")
_KEPT_EVENTS = 256
_RETRY_MS = 2000
_SILENCE = 15.0


class Broadcast:
    """A signal to all coroutines that wait for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._next: asyncio.Future[None] = loop.create_future()

    def fire(self) -> None:
        """Wake the waiting coroutines."""
        fired, self._next = self._next, self._loop.create_future()
        fired.set_result(None)

    def next(self) -> asyncio.Future[None]:
        """Return a future that the next call of `fire` completes.

        The future must be requested before the current values are read, so that no change is
        missed.
        """
        return self._next


async def _happens(fresh: asyncio.Future[None]) -> bool:
    """Wait for a broadcast.

    Return False after a silence. The caller then sends data to detect a lost client.
    """
    done, _ = await asyncio.wait((fresh,), timeout=_SILENCE)
    return bool(done)


class Pictures:
    """The newest picture as JPEG, encoded on demand and once per frame for all clients.

    Args:
        loop: The event loop of the web thread.
        newest: Returns the newest result; None before the first one.
        fps: Maximum number of pictures per second for a client.
        width: Maximum width in pixels; 0 for any.
        quality: JPEG quality, 1 to 100.

    Attributes:
        watchers: Number of clients of the stream.
        encoded: Number of encoded pictures.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, newest: Callable[[], FrameResult | None], *, fps: float, width: int, quality: int
    ) -> None:
        self._newest = newest
        self._interval = 1 / fps
        self._width = width
        self._quality = quality
        self._result: FrameResult | None = None
        self._jpeg = b""
        self._fresh = Broadcast(loop)
        self._due = 0.0
        self.watchers = 0
        self.encoded = 0

    def jpeg(self) -> bytes:
        """Return the newest picture; empty before the first one, and after pictures were discarded."""
        result = self._newest()
        if result is None:
            self._jpeg, self._result = b"", None
        elif result is not self._result:
            self._jpeg = encode_jpeg(result.picture, self._quality, width=self._width)
            self._result = result
            self.encoded += 1
        return self._jpeg

    def refresh(self, now: float) -> None:
        """Publish the newest frame to the clients, at most `fps` times per second."""
        if self.watchers and now >= self._due and self._newest() is not self._result:
            # A tolerance of half an interval, so that jitter does not drop every second frame of a
            # camera with exactly this rate.
            self._due = max(self._due + self._interval, now + self._interval / 2)
            self.jpeg()
            self._fresh.fire()

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the parts of `multipart/x-mixed-replace`.

        The boundary is sent directly after each picture, because browsers show a part when they
        read its end.
        """
        self.watchers += 1
        try:
            yield f"--{BOUNDARY}\r\n".encode()
            self.jpeg()
            shown = b""
            while True:
                fresh = self._fresh.next()
                if self._jpeg and self._jpeg is not shown:
                    shown = self._jpeg
                    yield _part(shown)
                if not await _happens(fresh) and self._jpeg:
                    shown = self._jpeg
                    yield _part(shown)
        finally:
            self.watchers -= 1


def _part(jpeg: bytes) -> bytes:
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    return b"".join((head.encode(), jpeg, f"\r\n--{BOUNDARY}\r\n".encode()))


class Events:
    """Server-sent events: the status every second, the faces at a limited rate, and every event.

    Args:
        loop: The event loop of the web thread.
        newest: Returns the newest result, None before the first one.
        event: Returns the detection event of a result.
        status: Returns the status as JSON.
        rate: Maximum number of detection events per second.

    Attributes:
        watchers: Number of clients.
        face_watchers: Number of clients that requested the faces.
        counts: Number of published events by kind.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        newest: Callable[[], FrameResult | None],
        event: Callable[[FrameResult], dict[str, Any]],
        status: Callable[[], bytes],
        rate: float,
    ) -> None:
        self._newest = newest
        self._event = event
        self._status = status
        self._interval = 1 / rate
        self._due = 0.0
        self._result: FrameResult | None = None
        self._history: deque[tuple[int, bytes]] = deque(maxlen=_KEPT_EVENTS)
        # The events of a later run have greater numbers, so a client that reconnects after a restart misses none.
        self._number = int(time.time() * 1000)
        self._latest: dict[str, tuple[int, bytes]] = {}
        self._fresh = Broadcast(loop)
        self.watchers = 0
        self.face_watchers = 0
        self.counts: dict[str, int] = {}

    def handle_event(self, event: Event) -> None:
        """Publish an event, and keep it for clients that reconnect."""
        self._number += 1
        self._history.append((self._number, _message("happening", to_json(event.to_json()).encode(), self._number)))
        self.counts[event.kind] = self.counts.get(event.kind, 0) + 1
        self._fresh.fire()

    def forget(self) -> None:
        """Discard the kept events."""
        self._history.clear()

    def refresh(self, now: float) -> None:
        """Publish the faces of the newest frame, at most `rate` times per second."""
        result = self._newest()
        if self.face_watchers and result is not None and result is not self._result and now >= self._due:
            self._result = result
            self._due = now + self._interval
            self._publish("faces", to_json(self._event(result)).encode())

    def publish_status(self) -> None:
        """Publish the status, if there is a client."""
        if self.watchers:
            self._publish("status", self._status())

    def _publish(self, kind: str, data: bytes) -> None:
        number, _ = self._latest.get(kind, (0, b""))
        self._latest[kind] = number + 1, _message(kind, data)
        self._fresh.fire()

    @contextmanager
    def _listening(self, kinds: frozenset[str]) -> Iterator[None]:
        self.watchers += 1
        self.face_watchers += "faces" in kinds
        try:
            yield
        finally:
            self.watchers -= 1
            self.face_watchers -= "faces" in kinds

    async def stream(self, kinds: frozenset[str], after: int | None) -> AsyncGenerator[bytes, None]:
        """Yield the messages of `kinds`.

        Args:
            kinds: Some of `KINDS`.
            after: Number of the last event that the client has; None for new events only.
        """
        with self._listening(kinds):
            # A greater number comes from an earlier run, before the clock was set back. Every kept event is then sent.
            cursor = self._number if after is None else after if after <= self._number else 0
            seen = {kind: number for kind, (number, _) in self._latest.items()}
            first = b"retry: %d\n\n" % _RETRY_MS
            yield first + _message("status", self._status()) if "status" in kinds else first
            while True:
                fresh = self._fresh.next()
                pieces = []
                if "happening" in kinds:
                    pieces += [message for number, message in self._history if number > cursor]
                    cursor = self._number
                for kind, (number, message) in self._latest.items():
                    if kind in kinds and number != seen.get(kind):
                        seen[kind] = number
                        pieces.append(message)
                if pieces:
                    yield b"".join(pieces)
                if not await _happens(fresh):
                    yield b":\n\n"


def _message(kind: str, data: bytes, number: int | None = None) -> bytes:
    """Format a server-sent event. JSON has no line breaks, so its data is one line."""
    identity = b"id: %d\n" % number if number is not None else b""
    return b"%sevent: %s\ndata: %s\n\n" % (identity, kind.encode(), data)
