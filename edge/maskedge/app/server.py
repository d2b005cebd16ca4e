"""The web server of the app: Streamlit's server and the endpoint of the live view on one port."""

from __future__ import annotations

import socket
import threading
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import net_util
from streamlit.starlette import App

from maskedge.errors import MaskedgeError, UsageError
from maskedge.sinks.web.listen import listen

from .stream import LIVE_PATH, MAX_BYTES, SESSIONS
from .theme import THEME
from .uploads import remove_left_folders

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_SECURITY = {
    "Content-Security-Policy": "frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of each response: other sites may neither show the page in a frame nor embed its pictures."""


class OwnPagesOnly:
    """Wraps an application: refuses the live connections of other sites' pages, and adds `_SECURITY` to responses.

    Streamlit refuses them as well, but first asks a server of Amazon for the public address of this machine.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def send_securely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SECURITY)
            await send(message)

        if scope["type"] == "websocket" and not _is_own_page(Headers(scope=scope)):
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: the status 403
            return
        await self._app(scope, receive, send_securely)


def _is_own_page(headers: Headers) -> bool:
    """Return True if a connection comes from a page of this server, or from a program that is no browser."""
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        address = urlsplit(origin)
    except ValueError:
        return False
    # A proxy on this machine may have changed the host. Streamlit compares any other address with the public one.
    return address.netloc == headers.get("host") or address.hostname in ("127.0.0.1", "localhost", net_util.get_internal_ip())


async def live_endpoint(request: Request) -> Response:
    """Process a picture of the live view (POST), or reset its count of people (DELETE).

    Only the page that opened the view has the token of the path, so other sites cannot use the
    endpoint.
    """
    session = SESSIONS.find(request.path_params["token"])
    if session is None:
        return JSONResponse({"error": "This live view has ended. Reload the page."}, 404)
    if request.method == "DELETE":
        session.reset()
        return JSONResponse({})
    content = bytearray()
    try:
        async for part in request.stream():
            content += part
            if len(content) > MAX_BYTES:
                return JSONResponse({"error": f"The picture is larger than {MAX_BYTES:,} bytes."}, 413)
    except ClientDisconnect:
        # The page was closed while it sent a picture. Nobody reads this.
        return JSONResponse({"error": "The picture is incomplete."}, 400)
    try:
        return JSONResponse(await run_in_threadpool(session.process, bytes(content)), headers={"Cache-Control": "no-store"})
    except MaskedgeError as error:
        return JSONResponse({"error": str(error)}, 400)


def check_port(host: str, port: int) -> None:
    """Check that the port is free, before large libraries are loaded.

    Raises:
        UsageError: The port is taken, or this computer does not have the address.
    """
    listen(host, port, "the app", remedy="choose another --port, or another --host", error=UsageError).close()


def resolves_to_loopback(host: str) -> bool:
    """Return True if only this computer can reach the name or address `host`, which `check_port` has accepted."""
    addresses = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return all(ip_address(address[0]).is_loopback for *_, address in addresses)


def serve(host: str, port: int, max_upload_mb: int) -> None:
    """Serve the app until a signal ends it.

    Args:
        host: Address to listen on.
        port: TCP port.
        max_upload_mb: Largest upload in megabytes.

    Raises:
        UsageError: The port is taken, or this computer does not have the address.
    """
    check_port(host, port)
    remove_left_folders()
    # The models load while the browser loads the page, so that the first result comes sooner.
    threading.Thread(target=_warm_up, daemon=True).start()
    app = App(
        Path(str(files("maskedge.app") / "main.py")),
        routes=[Route(LIVE_PATH + "/{token}", live_endpoint, methods=["POST", "DELETE"])],
        middleware=[Middleware(OwnPagesOnly)],
    )
    app.run(
        config={
            "server.address": host,
            "server.port": port,
            "server.headless": True,
            "server.maxUploadSize": max_upload_mb,
            "server.fileWatcherType": "none",
            "server.runOnSave": False,
            "server.enableXsrfProtection": True,
            # Against DNS rebinding: on loopback, only these host names are served.
            "server.allowedHosts": sorted({*_LOOPBACK, host.lower()}) if resolves_to_loopback(host) else [],
            "server.disconnectedSessionTTL": 10,
            "browser.gatherUsageStats": False,
            "client.toolbarMode": "minimal",
            "client.showErrorDetails": "none",
            "logger.hideWelcomeMessage": True,
            "logger.level": "warning",
            **THEME,
        }
    )


def _warm_up() -> None:
    from maskedge.sources import demo

    from .model_library import build_detector, installed_models

    build_detector(installed_models()[0], "haar")(demo.draw(0))
