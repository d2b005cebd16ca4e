"""The web server of the page: Streamlit's own, with the endpoint of the live view beside it, on one port."""

from __future__ import annotations

import socket
import threading
from importlib.resources import files
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from streamlit.starlette import App

from maskedge.errors import MaskedgeError, UsageError

from .stream import LIVE_PATH, MAX_BYTES, SESSIONS
from .theme import THEME

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
"""What this computer calls itself."""


async def answer_live(request: Request) -> Response:
    """Answer a picture of the live view, or (DELETE) forget the people so far.

    The token in the path is known to the page that opened the view alone: other sites cannot use the endpoint.
    """
    session = SESSIONS.find(request.path_params["token"])
    if session is None:
        return JSONResponse({"error": "This live view has ended: reload the page."}, 404)
    if request.method == "DELETE":
        session.restart()
        return JSONResponse({})
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MAX_BYTES:
            return JSONResponse({"error": f"A picture may have {MAX_BYTES:,} bytes."}, 413)
    try:
        return JSONResponse(await run_in_threadpool(session.answer, bytes(content)), headers={"Cache-Control": "no-store"})
    except MaskedgeError as error:
        return JSONResponse({"error": str(error)}, 400)


def check_port(host: str, port: int) -> None:
    """Make sure that the port is free, before anything is loaded.

    Raises:
        UsageError: It is not, or there is no such address here.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise UsageError(f"{host}:{port} cannot be served ({error.strerror}): choose another --port, or another --host.") from error


def serve(host: str, port: int, max_upload_mb: int) -> None:
    """Serve the page until a signal ends it.

    Args:
        host: Address to listen on.
        port: TCP port.
        max_upload_mb: Largest upload in megabytes.

    Raises:
        UsageError: Port or address cannot be had.
    """
    check_port(host, port)
    # Loaded while the browser still fetches the page, so that the first answer does not wait for it.
    threading.Thread(target=_warm_up, daemon=True).start()
    app = App(
        Path(str(files("maskedge.app") / "main.py")),
        routes=[Route(LIVE_PATH + "/{token}", answer_live, methods=["POST", "DELETE"])],
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
            # On loopback the names are known: a foreign page that makes its own name point here is refused.
            "server.allowedHosts": sorted(LOOPBACK) if host in LOOPBACK else [],
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

    from .model_library import build, installed_models

    build(installed_models()[0], "haar")(demo.draw(0))
