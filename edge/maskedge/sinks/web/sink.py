"""The web output. It receives results on the loop's thread and serves them from its own thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from maskedge.errors import OutputError
from maskedge.events import Event
from maskedge.results import FrameResult
from maskedge.sinks.base import RunNames
from maskedge.sinks.events import to_event
from maskedge.support.text import to_json

from .config import WebConfig, is_loopback, parse_address, read_token
from .feeds import BOUNDARY, KINDS, Events, Pictures
from .history import HistoryRoute
from .http import HttpError, Request, Response
from .metrics import Exposition, Facts, LatencyHistogram
from .output import WebOutput
from .page import assets
from .server import Guard, Server, cancel

_log = logging.getLogger(__name__)
_JOIN_TIMEOUT = 2.0
_SNAPSHOT_AGE = 0.25
_POLL, _POLL_WATCHED = 0.1, 0.01
_MOST_PENDING = 1000


class WebSink(WebOutput):
    """Serves the status page, the API, the live picture and the metrics.

    `write` keeps the result and returns, so this sink does not need a queue. The web thread draws,
    scales and encodes pictures only while a client watches.

    Args:
        config: The section `[web]`, with an address `serve`.
        snapshot: Returns the status (`RunState.snapshot`); safe on any thread.
        event: Returns the detection event of a result.
        names: Returns the names of alert rules and zones, which a reload may change.
        history: File of the history; None if none is kept.

    Attributes:
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
        history: Path | None = None,
    ) -> None:
        self._config = config
        self._snapshot = snapshot
        self._names = names
        self._exposition: Exposition | None = None
        with contextlib.suppress(ImportError):
            self._exposition = Exposition(self._facts)
        self._token = read_token(config)
        host, port = parse_address(config.serve)
        self._listener = _listen(host, port)
        port = self._listener.getsockname()[1]
        self._url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
        self.warnings: tuple[str, ...] = ()
        if not is_loopback(host) and self._token is None:
            self.warnings = (
                f"every client that can reach {host}:{port} sees the status page"
                f"{' and the live picture' if config.picture else ''}: "
                "set web.token_file, or serve on 127.0.0.1.",
            )
        self._newest: FrameResult | None = None
        self._frame_at: float | None = None
        self._latency = LatencyHistogram()
        self._status: tuple[float, Mapping[str, Any], bytes] = (-1.0, {}, b"{}")
        self._pending: deque[Event] = deque(maxlen=_MOST_PENDING)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._pictures = Pictures(
            self._loop, self._newest_result, fps=config.stream_fps, width=config.stream_width, quality=config.jpeg_quality
        )
        self._events = Events(self._loop, self._newest_result, event, self._status_json, config.events_per_second)
        self._server = Server(
            self._listener,
            {
                **{
                    path: self._asset(response)
                    for path, response in assets(picture=config.picture, history=history is not None).items()
                },
                "/api/status": lambda request: Response(self._status_json(), "application/json"),
                "/api/events": self._event_stream,
                "/api/history": HistoryRoute(history),
                "/stream.mjpg": self._picture_stream,
                "/snapshot.jpg": self._picture,
                "/healthz": self._health,
                "/metrics": self._metrics,
            },
            Guard(self._token, config.hosts),
            open_paths=frozenset({"/healthz"}),
            max_clients=config.max_clients,
        )
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Address of the status page."""
        return self._url

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

    def close(self) -> None:
        """Disconnect every client and end the thread."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(RuntimeError):  # the page has failed before, and its loop is closed
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_JOIN_TIMEOUT)

    # The methods below run on the web thread.

    def _serve(self) -> None:
        try:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(self._main())
        except Exception:  # noqa: BLE001  (no failure of the page may stop the run)
            _log.exception("the status page has failed; the run continues without it")
        finally:
            self._listener.close()
            self._loop.close()

    async def _main(self) -> None:
        beside = [asyncio.ensure_future(self._events.tick()), asyncio.ensure_future(self._refresh())]
        try:
            await self._server.serve(self._stop)
        finally:
            await cancel(*beside)

    async def _refresh(self) -> None:
        """Poll for new results, without an end.

        The loop does not wake this thread, because it would then wait for the interpreter's lock.
        """
        while True:
            while self._pending:
                self._events.handle_event(self._pending.popleft())
            now = time.monotonic()
            self._pictures.refresh(now)
            self._events.refresh(now)
            await asyncio.sleep(_POLL_WATCHED if self._server.watchers else _POLL)

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

    def _asset(self, response: Response) -> Callable[[Request], Response]:
        return lambda request: response

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

    def _picture(self, request: Request) -> Response:
        self._need_picture()
        jpeg = self._pictures.jpeg()
        if not jpeg:
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "There is no frame yet.", (("Retry-After", "1"),))
        return Response(jpeg, "image/jpeg")

    def _health(self, request: Request) -> Response:
        age = None if self._frame_at is None else time.monotonic() - self._frame_at
        state = self._current()[0].get("source", {}).get("state", "open")
        if state != "open":
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, f"The camera is {state}.")
        if age is None:
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "There is no frame yet.")
        if age > self._config.stale_after:
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, f"There was no frame for {age:.0f} s.")
        return Response(b"ok\n")

    def _metrics(self, request: Request) -> Response:
        if self._exposition is None:
            raise HttpError(
                HTTPStatus.NOT_IMPLEMENTED, "prometheus_client is missing on the device: install maskedge with its extra metrics."
            )
        content, kind = self._exposition.write(request.headers.get("accept", ""))
        return Response(content, kind)

    def _facts(self) -> Facts:
        return Facts(
            self._current()[0],
            self._latency,
            self._names(),
            events=self._events.counts,
            frame_age=None if self._frame_at is None else time.monotonic() - self._frame_at,
            answered=self._server.answered,
            watchers={"picture": self._pictures.watchers, "events": self._events.watchers},
            slow=self._server.slow,
            encoded=self._pictures.encoded,
        )


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=64)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"the status page cannot be served on {host}:{port} ({reason}): choose another address with --serve."
        ) from error
