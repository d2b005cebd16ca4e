"""The web output of a camera. It receives results on the loop's thread; the web thread serves them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from maskedge.events import UNNAMED, Event
from maskedge.results import FrameResult
from maskedge.sinks.base import RunNames
from maskedge.sinks.events import to_event
from maskedge.support.text import to_json

from .config import WebConfig
from .feeds import BOUNDARY, KINDS, Events, Pictures
from .http import HttpError, Request, Response
from .metrics import Facts, LatencyHistogram
from .output import WebOutput
from .server import Handler
from .site import WebSite

_SNAPSHOT_AGE = 0.25
_MOST_PENDING = 1000


class WebSink(WebOutput):
    """Serves the state, the events and the live picture of a camera on a `WebSite`.

    `write` keeps the result and returns, so this sink does not need a queue. The web thread draws,
    scales and encodes pictures only while a client watches.

    Args:
        config: The section `[web]`, with an address `serve`.
        snapshot: Returns the status (`RunState.snapshot`); safe on any thread.
        event: Returns the detection event of a result.
        names: Returns the names of alert rules and zones, which a reload may change.
        camera: Name of the camera.
        named: True if the user has named it. Its metrics then have the label `camera`.
        site: The server that the cameras of the process share; None for one of its own.
        history: File of the history, for a server of its own; None if none is kept.

    Attributes:
        picture: True if the live picture is served.
        warnings: Messages for the user about the settings.

    Raises:
        OutputError: The address cannot be served on, for example because the port is in use.
        UsageError: The address is malformed, or the token cannot be read.
    """

    def __init__(
        self,
        config: WebConfig,
        snapshot: Callable[[], Mapping[str, Any]],
        event: Callable[[FrameResult], dict[str, Any]] = to_event,
        names: Callable[[], RunNames] = RunNames,
        *,
        camera: str = UNNAMED,
        named: bool = False,
        site: WebSite | None = None,
        history: Path | None = None,
    ) -> None:
        self.camera = camera
        self.named = named
        self.picture = config.picture
        self._config = config
        self._snapshot = snapshot
        self._names = names
        self._newest: FrameResult | None = None
        self._frame_at: float | None = None
        self._latency = LatencyHistogram()
        self._status: tuple[float, Mapping[str, Any], bytes] = (-1.0, {}, b"{}")
        self._pending: deque[Event | None] = deque(maxlen=_MOST_PENDING)
        self._owns_site = site is None
        self._site = WebSite(config, history=history) if site is None else site
        self.warnings = self._site.warnings if self._owns_site else ()
        loop = self._site.loop
        self._pictures = Pictures(
            loop, self._newest_result, fps=config.stream_fps, width=config.stream_width, quality=config.jpeg_quality
        )
        self._events = Events(loop, self._newest_result, event, self._status_json, config.events_per_second)
        self._routes: dict[str, Handler] = {
            "status": lambda request: Response(self._status_json(), "application/json"),
            "events": self._event_stream,
            "stream.mjpg": self._picture_stream,
            "snapshot.jpg": self._picture_once,
            "healthz": self._health,
        }
        self._site.attach(self)
        if self._owns_site:
            self._site.start()

    @property
    def url(self) -> str:
        """Address of the status page."""
        return self._site.url

    def write(self, result: FrameResult) -> bool:
        """Keep the result."""
        self._newest = result
        self._frame_at = time.monotonic()
        self._latency.observe(result.stages)
        self._pending.extend(result.events)
        return True

    def handle_event(self, event: Event) -> None:
        """Queue an event for the clients."""
        self._pending.append(event)

    def forget_pictures(self) -> None:
        """Serve no picture before the next frame."""
        self._newest = None

    def forget_identities(self) -> None:
        """Discard the events that are kept for clients that reconnect."""
        self._pending.append(None)

    def close(self) -> None:
        """Serve the camera no longer. If no other camera shares the site, end it."""
        self._site.detach(self)
        if self._owns_site:
            self._site.close()

    # The methods below run on the web thread.

    def routes(self) -> Mapping[str, Handler]:
        """Return the handlers by the names of `/api/cameras/NAME/`."""
        return self._routes

    def refresh(self, now: float) -> None:
        """Publish new events, the newest picture and the newest faces."""
        while self._pending:
            event = self._pending.popleft()
            if event is None:
                self._events.forget()
            else:
                self._events.handle_event(event)
        self._pictures.refresh(now)
        self._events.refresh(now)

    def publish_status(self) -> None:
        """Publish the status to the clients of events."""
        self._events.publish_status()

    def run_state(self) -> Mapping[str, Any]:
        """Return the state of the run, at most a quarter of a second old."""
        return self._current()[0]

    def _newest_result(self) -> FrameResult | None:
        return self._newest

    def _current(self) -> tuple[Mapping[str, Any], bytes]:
        """Return the status and its JSON, at most a quarter of a second old."""
        made, status, content = self._status
        if time.monotonic() - made > _SNAPSHOT_AGE:
            status = self._snapshot()
            content = to_json(status).encode()
            self._status = time.monotonic(), status, content
        return status, content

    def _status_json(self) -> bytes:
        return self._current()[1]

    def _event_stream(self, request: Request) -> Response:
        kinds = frozenset(request.query.get("kinds", "faces,happening").split(","))
        if not kinds <= set(KINDS):
            raise HttpError(HTTPStatus.BAD_REQUEST, f"kinds are some of {', '.join(KINDS)}.")
        after = request.headers.get("last-event-id", request.query.get("after"))
        if after is not None and not (after.isascii() and after.isdecimal() and len(after) < 16):
            raise HttpError(HTTPStatus.BAD_REQUEST, "after is the number of an event.")
        cursor = int(after) if after is not None else None
        return Response(content_type="text/event-stream", feed=lambda: self._events.stream(kinds, cursor))

    def _need_picture(self) -> None:
        if not self._config.picture:
            raise HttpError(
                HTTPStatus.FORBIDDEN, "No pictures are served: start edge-run with --serve-picture, or set web.picture."
            )

    def _picture_stream(self, request: Request) -> Response:
        self._need_picture()
        return Response(content_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}", feed=self._pictures.stream)

    def _picture_once(self, request: Request) -> Response:
        self._need_picture()
        jpeg = self._pictures.jpeg()
        if not jpeg:
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "There is no frame yet.", (("Retry-After", "1"),))
        return Response(jpeg, "image/jpeg")

    def problem(self) -> str | None:
        """Return why the camera delivers no frames, in one sentence; None if it does."""
        age = None if self._frame_at is None else time.monotonic() - self._frame_at
        state = self._current()[0].get("source", {}).get("state", "open")
        if state != "open":
            return f"The camera is {state}."
        if age is None:
            return "There is no frame yet."
        return f"There was no frame for {age:.0f} s." if age > self._config.stale_after else None

    def _health(self, request: Request) -> Response:
        problem = self.problem()
        if problem is not None:
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, problem)
        return Response(b"ok\n")

    def facts(self) -> Facts:
        """Return the values behind the metrics."""
        return Facts(
            self._current()[0],
            self._latency,
            self._names(),
            events=self._events.counts,
            frame_age=None if self._frame_at is None else time.monotonic() - self._frame_at,
            answered=self._site.server.answered,
            watchers={"picture": self._pictures.watchers, "events": self._events.watchers},
            slow=self._site.server.slow,
            encoded=self._pictures.encoded,
        )
