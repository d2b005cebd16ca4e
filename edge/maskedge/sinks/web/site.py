"""The web server of a process. One thread serves the page and the API of all cameras."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote

from maskedge.support.text import to_json

from .config import WebConfig, is_loopback, parse_address, read_token
from .history import HistoryRoute
from .http import HttpError, Request, Response, security_headers
from .listen import listen
from .metrics import Exposition, Facts
from .page import assets
from .server import Guard, Handler, Server, cancel

_log = logging.getLogger(__name__)
_JOIN_TIMEOUT = 2.0
_REPORT_INTERVAL = 60.0
_POLL, _POLL_WATCHED = 0.1, 0.01
_CAMERAS = "/api/cameras"
_PATHS = {"status": "/api/status", "events": "/api/events", "stream.mjpg": "/stream.mjpg", "snapshot.jpg": "/snapshot.jpg"}
"""Paths of a camera below `/api/cameras/NAME/`, and the paths of the only or first camera."""


class CameraPages(Protocol):
    """The part of a site that belongs to a camera. All methods except the constructor's run on the web thread."""

    camera: str
    named: bool
    picture: bool

    def routes(self) -> Mapping[str, Handler]:
        """Return the handlers by the names of `/api/cameras/NAME/`."""
        ...

    def refresh(self, now: float) -> None:
        """Publish what is new. Called often."""
        ...

    def publish_status(self) -> None:
        """Publish the status. Called every second."""
        ...

    def run_state(self) -> Mapping[str, Any]:
        """Return the state of the run."""
        ...

    def problem(self) -> str | None:
        """Return why the camera delivers no frames, in one sentence; None if it does."""
        ...

    def facts(self) -> Facts:
        """Return the values behind the metrics."""
        ...


class WebSite:
    """Serves all cameras of a process on one address.

    Args:
        config: The section `[web]`, with an address `serve`.
        known: Returns the names of all cameras, the first one first, each with the reason why it has
            ended. Other cameras follow.
        history: File of the history; None if none is kept.

    Attributes:
        loop: The event loop of the web thread.
        url: Address of the status page.
        warnings: Messages for the user about the settings.

    Raises:
        OutputError: The address cannot be served on, for example because the port is in use.
        UsageError: The address is malformed, or the token cannot be read.
    """

    def __init__(self, config: WebConfig, known: Callable[[], Mapping[str, str]] = dict, *, history: Path | None = None) -> None:
        token = read_token(config)
        host, port = parse_address(config.serve)
        self._listener = listen(host, port)
        port = self._listener.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
        self.warnings: tuple[str, ...] = ()
        if not is_loopback(host) and token is None and not config.proxy:
            self.warnings = (
                f"every client that can reach {host}:{port} sees the status page"
                f"{' and the live picture' if config.picture else ''}: "
                "set web.token_file, or serve on 127.0.0.1.",
            )
        self._known = known
        self._cameras: dict[str, CameraPages] = {}
        self._changing = threading.Lock()
        self._exposition: Exposition | None = None
        with contextlib.suppress(ImportError):
            self._exposition = Exposition(self._facts)
        self._fixed: dict[str, Handler] = {
            _CAMERAS: lambda request: Response(to_json(self._describe()).encode(), "application/json"),
            "/api/history": HistoryRoute(history),
            "/healthz": self._health,
            "/metrics": self._metrics,
        }
        self._assets = {
            picture: assets(picture=picture, stills=bool(config.proxy), history=history is not None) for picture in (False, True)
        }
        self.loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self.server = Server(
            self._listener,
            self._route,
            Guard(token, config.hosts, config.proxy),
            headers=security_headers(framed=bool(config.proxy)),
            open_paths=frozenset({"/healthz"}),
            max_clients=config.max_clients,
        )
        self._closed = False
        self._report_again = 0.0
        self.thread = threading.Thread(target=self._serve, name="web", daemon=True)

    def start(self) -> None:
        """Start the web thread."""
        self.thread.start()

    def attach(self, pages: CameraPages) -> None:
        """Serve a camera. Safe on any thread."""
        with self._changing:
            self._cameras = {**self._cameras, pages.camera: pages}

    def detach(self, pages: CameraPages) -> None:
        """Serve a camera no longer. Safe on any thread."""
        # A reload ends several cameras at the same time, each on its own threads.
        with self._changing:
            self._cameras = {name: one for name, one in self._cameras.items() if one is not pages}

    def close(self) -> None:
        """Disconnect every client and end the thread."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(RuntimeError):  # the page has failed before, and its loop is closed
            self.loop.call_soon_threadsafe(self._stop.set)
        self.thread.join(_JOIN_TIMEOUT)

    # The methods below run on the web thread.

    def _serve(self) -> None:
        try:
            asyncio.set_event_loop(self.loop)
            self.loop.run_until_complete(self._main())
        except Exception:  # noqa: BLE001  (no failure of the page may stop the run)
            _log.exception("the status page has failed; the run continues without it")
        finally:
            self._listener.close()
            self.loop.close()

    async def _main(self) -> None:
        self.loop.set_exception_handler(self._report)
        beside = [asyncio.ensure_future(self._tick()), asyncio.ensure_future(self._refresh())]
        try:
            await self.server.serve(self._stop)
        finally:
            await cancel(*beside)

    def _report(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log a failure outside of a request. asyncio tries to accept again after a second."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)):
            loop.default_exception_handler(context)
        elif time.monotonic() >= self._report_again:
            self._report_again = time.monotonic() + _REPORT_INTERVAL
            _log.warning(
                "the status page accepts no more connections for now (%s): raise the limit of open files, or close pages",
                error.strerror,
            )

    async def _tick(self) -> None:
        """Publish the status of each camera once per second, without an end."""
        while True:
            for camera in self._cameras.values():
                camera.publish_status()
            await asyncio.sleep(1)

    async def _refresh(self) -> None:
        """Poll for new results, without an end.

        The loops do not wake this thread, because they would then wait for the interpreter's lock.
        """
        while True:
            now = time.monotonic()
            for camera in self._cameras.values():
                camera.refresh(now)
            await asyncio.sleep(_POLL_WATCHED if self.server.watchers else _POLL)

    def _ordered(self) -> list[CameraPages]:
        """Return the cameras in the order of the configuration."""
        cameras = self._cameras
        first = [name for name in self._known() if name in cameras]
        return [cameras[name] for name in dict.fromkeys((*first, *cameras))]

    def _route(self, path: str) -> Handler | None:
        """Return the handler of a path."""
        if path in self._fixed:
            return self._fixed[path]
        name, _, rest = path.removeprefix(f"{_CAMERAS}/").partition("/")
        if path.startswith(f"{_CAMERAS}/"):
            camera = self._cameras.get(unquote(name))
            return None if camera is None else camera.routes().get(rest)
        cameras = self._ordered()
        asset = self._assets[any(camera.picture for camera in cameras)].get(path)
        if asset is not None:
            return lambda request: asset
        own = next((own for own, first in _PATHS.items() if first == path), None)
        if own is None:
            return None
        return cameras[0].routes()[own] if cameras else _no_camera

    def _describe(self) -> dict[str, Any]:
        """Return the cameras as `/api/cameras` lists them."""
        served = self._cameras
        known = dict(self._known())
        states = {name: camera.run_state() for name, camera in served.items()}
        device = next((state.get("device", "") for state in states.values()), "")
        names = dict.fromkeys((*known, *served))
        return {"device": device, "cameras": [self._describe_camera(name, known.get(name, "")) for name in names]}

    def _describe_camera(self, name: str, reason: str) -> dict[str, Any]:
        camera = self._cameras.get(name)
        status = {} if camera is None else camera.run_state()
        source = status.get("source", {})
        return {
            "name": name,
            "named": camera is None or camera.named,
            "source": source.get("name"),
            "state": source.get("state", "ended"),
            "since": source.get("since"),
            "sentence": source.get("sentence", reason),
            "size": source.get("size"),
            "frames_per_second": status.get("rate", {}).get("frames_per_second"),
            "faces": status.get("faces", {}),
            "people": status.get("people", {}),
            "alerts": [alert.get("rule") for alert in status.get("alerts", ())],
            "picture": camera is not None and camera.picture,
            "path": f"{_CAMERAS}/{quote(name, safe='')}/",
        }

    def _health(self, request: Request) -> Response:
        cameras = self._ordered()
        if not cameras:
            return _no_camera(request)
        if len(cameras) < len(self._known()):
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "A camera does not run.")
        for camera in cameras:
            problem = camera.problem()
            if problem is not None:
                # The path needs no token, so it does not name the camera.
                raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, problem)
        return Response(b"ok\n")

    def _metrics(self, request: Request) -> Response:
        if self._exposition is None:
            raise HttpError(
                HTTPStatus.NOT_IMPLEMENTED, "prometheus_client is missing on the device: install maskedge with its extra metrics."
            )
        content, kind = self._exposition.write(request.headers.get("accept", ""))
        return Response(content, kind)

    def _facts(self) -> dict[str, Facts]:
        facts = {camera.camera if camera.named else "": camera.facts() for camera in self._ordered()}
        # Without its state, a rule for lost cameras would end when the camera has ended.
        return facts | {name: Facts({}, ended=True) for name in self._known() if name not in self._cameras}


def _no_camera(request: Request) -> Response:
    raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "No camera runs.")
