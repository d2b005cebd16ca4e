"""Protection of the whole application: host names, sizes of bodies, headers, and unexpected errors."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskedge.sinks.web.config import is_loopback, is_own_host, parse_address
from maskedge_fleet.access.rates import RateLimits
from maskedge_fleet.settings import ServerConfig

from .errors import INTERNAL

_log = logging.getLogger("maskedge.fleet")
MOST_BODY = 64 * 1024
"""Maximum size of a request in bytes."""
MOST_UPLOAD = 64 * 1024 * 1024
"""Maximum size of an upload of a model in bytes."""
UPLOADS = ("/api/v1/models",)
"""Paths that accept uploads."""
UNLIMITED = ("/healthz", "/readyz")
"""Paths whose requests are not counted, because probes and balancers request them often."""
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""Headers of each response that does not set them itself."""


class _TooLargeError(Exception):
    """The body of a request is too large."""


class Protection:
    """Wraps an application.

    A server on a loopback address, or with a list of host names, refuses other names: another site
    could point its own name at this machine (DNS rebinding).

    Args:
        app: The application.
        config: The section `[server]`.
        rates: Limits on requests.
    """

    def __init__(self, app: ASGIApp, config: ServerConfig, rates: RateLimits) -> None:
        self._app = app
        self._rates = rates
        name = socket.gethostname().lower()
        own = {host.lower() for host in config.hosts}
        public = urlsplit(config.public_url).hostname if config.public_url else None
        self._hosts = {"localhost", name, f"{name}.local", *own, *([public.lower()] if public else [])}
        self._checks_host = bool(own) or is_loopback(parse_address(config.serve)[0])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal:
            await _send_error(send, *refusal)
            return
        request = _Request(scope, receive, send, MOST_UPLOAD if scope["path"] in UPLOADS else MOST_BODY)
        try:
            await self._app(scope, request.receive, request.send)
        except _TooLargeError:
            pass
        except Exception:  # one request must not end the server, and the client learns no internals
            if request.too_large:
                return
            _log.exception("%s %s failed", scope["method"], scope["path"])
            if request.started:
                raise
            await _send_error(send, 500, INTERNAL)
            return
        if request.too_large and not request.started:
            await _send_error(send, 413, f"The body is larger than {request.most // 1024} KiB.")

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str, dict[str, str]] | None:
        if self._checks_host and not is_own_host(headers.get("host", ""), self._hosts):
            return 421, "This host name is not allowed: use the address, or add the name to hosts in [server].", {}
        length = headers.get("content-length", "0")
        most = MOST_UPLOAD if scope["path"] in UPLOADS else MOST_BODY
        if not length.isdecimal() or int(length[:20]) > most:
            return 413, f"The body is larger than {most // 1024} KiB.", {"Connection": "close"}
        if scope["path"] not in UNLIMITED:
            wait = self._rates.count("address", scope["client"][0] if scope.get("client") else "")
            if wait:
                return 429, f"Too many requests: try again in {wait} s.", {"Retry-After": str(wait)}
        return None


class _Request:
    """Counts the bytes of a body, and adds headers to the response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        self._receive = receive
        self._send = send
        self._read = 0
        self._address = scope["client"][0] if scope.get("client") else ""
        self._method, self._path = scope["method"], scope["path"]
        self.most = most
        self.started = False
        self.too_large = False

    async def receive(self) -> Message:
        """Return the next part of the body, unless the body is too large."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            if self._read > self.most:
                self.too_large = True
                raise _TooLargeError
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the response. Nothing is sent after a body that is too large."""
        if self.too_large and not self.started:
            return
        if message["type"] == "http.response.start":
            self.started = True
            # The query is not logged: it may be a secret, as of the address of a model.
            _log.debug("%s %s %s %d", self._address, self._method, self._path, message["status"])
            add_security(MutableHeaders(scope=message))
        await self._send(message)


def add_security(headers: MutableHeaders) -> None:
    """Add the headers of `SECURITY` that a response does not have."""
    for name, value in SECURITY.items():
        headers.setdefault(name, value)


async def _send_error(send: Send, status: int, text: str, more: dict[str, str] | None = None) -> None:
    content = json.dumps({"error": text}).encode()
    headers = {**SECURITY, **(more or {}), "Content-Type": "application/json", "Content-Length": str(len(content))}
    await send({"type": "http.response.start", "status": status, "headers": _raw(headers.items())})
    await send({"type": "http.response.body", "body": content})


def _raw(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
