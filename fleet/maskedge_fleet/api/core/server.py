"""Serves the application with uvicorn."""

from __future__ import annotations

import logging
import signal
import socket
import ssl
import threading
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from maskedge.errors import UsageError
from maskedge.sinks.web.config import is_loopback, parse_address
from maskedge.sinks.web.listen import listen
from maskedge_fleet.settings import ServerConfig

from .connections import Connection

_log = logging.getLogger("maskedge.fleet")
_GRACE_S = 3
_KEEP_ALIVE_S = 30
_MOST_CONNECTIONS = 500
"""Maximum number of connections. Further ones get the status 503."""
_BACKLOG = 128
"""Maximum number of connections that are taken at a time. Many more would need more open files than most systems allow."""


class WebServer:
    """A server with a bound address.

    Args:
        app: The application.
        config: The section `[server]`.

    Attributes:
        url: Address of the page.

    Raises:
        OutputError: The address cannot be served on.
        UsageError: The address or the certificate is not valid.
    """

    def __init__(self, app: FastAPI, config: ServerConfig) -> None:
        host, port = parse_address(config.serve)
        settings: dict[str, Any] = {}
        if config.cert is not None and config.key is not None:
            settings |= {"ssl_certfile": str(config.cert.expanduser()), "ssl_keyfile": str(config.key.expanduser())}
            # A wrong password, so that OpenSSL does not ask the terminal for that of an encrypted key.
            settings["ssl_keyfile_password"] = "-"  # noqa: S105
        uvicorn_config = uvicorn.Config(
            app,
            http=Connection,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(config.trusted_proxies),
            forwarded_allow_ips=list(config.trusted_proxies),
            timeout_keep_alive=_KEEP_ALIVE_S,
            limit_concurrency=_MOST_CONNECTIONS,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=_GRACE_S,
            **settings,
        )
        try:
            uvicorn_config.load()
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"{config.cert} and {config.key} are not a certificate and its key ({error.strerror or error}): "
                "give PEM files, the key without a password."
            ) from error
        self._listener = listen(host, port, "the page", backlog=_BACKLOG)
        self._server = _Server(uvicorn_config)
        port = self._listener.getsockname()[1]
        self.url = f"http{'s' if settings else ''}://{f'[{host}]' if ':' in host else host}:{port}/"
        if not is_loopback(host) and not settings and not config.trusted_proxies:
            _log.warning(
                "tokens travel unencrypted on %s: set cert and key in [server], or serve on 127.0.0.1 behind a proxy.", self.url
            )

    def run(self, stop: threading.Event) -> None:
        """Serve until a signal arrives or `stop` is set. Then `stop` is set."""

        def end(number: int, frame: FrameType | None) -> None:
            stop.set()

        # On the main thread, the server handles the signals while it runs, and then repeats them.
        main = threading.current_thread() is threading.main_thread()
        before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM) if main}
        watcher = threading.Thread(target=self._watch, args=(stop,), name="stop", daemon=True)
        watcher.start()
        try:
            self._server.run([self._listener])
        finally:
            stop.set()
            self._listener.close()
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def is_ready(self) -> bool:
        """True while requests are answered."""
        return self._server.started and not self._server.should_exit

    def _watch(self, stop: threading.Event) -> None:
        stop.wait()
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """Ends live connections first, because they would last until the time limit."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all connections."""
        app: Any = self.config.app
        app.state.live.close()
        await super().shutdown(sockets)
