"""The HTTP server. One thread and one event loop serve all clients."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from base64 import b64decode
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from hmac import compare_digest
from http import HTTPStatus
from ipaddress import ip_address
from typing import TypeAlias

from .config import IpAddress, is_own_host
from .http import LONGEST_LINE, Feed, Headers, HttpError, Request, Response, read_request, refuse

Handler: TypeAlias = "Callable[[Request], Response | Awaitable[Response]]"
"""Answers the requests to a path. One that takes long returns an awaitable."""
_log = logging.getLogger(__name__)

_MOST_HEADS = 128
"""Maximum number of clients with an incomplete request. Beyond it, the oldest one is disconnected,
so that delayed requests cannot block other clients."""
_MOST_REQUESTS = 64
"""Maximum number of complete requests at a time, without feeds and paths that need no token."""
_LINE_TIMEOUT = 3.0
_REQUEST_TIMEOUT = 5.0
_SEND_TIMEOUT = 10.0
_LINGER = 1.0
_WRONG_TOKEN_DELAY = 0.5
_MOST_DELAYED = 128
"""Maximum number of clients with a wrong token that wait at a time. Further ones are refused at once."""
_SEND_BUFFER = 128 * 1024
_PIECE = 64 * 1024
"""Bytes of a response that a client must read within `_SEND_TIMEOUT`."""


class Guard:
    """Checks the token of requests or, if no token is set, the host name against DNS rebinding.

    Args:
        token: Token that clients must send; None if no token is set.
        hosts: Further names of this machine that browsers may use.
        proxy: IP address of the only other machine that may connect; empty for any.
    """

    def __init__(self, token: str | None, hosts: tuple[str, ...], proxy: str = "") -> None:
        self._token = token
        self._proxy = ip_address(proxy) if proxy else None
        name = socket.gethostname().lower()
        self._hosts = {"localhost", name, f"{name}.local", *(host.lower() for host in hosts)}
        self._delayed = 0

    def admit(self, peer: IpAddress) -> None:
        """Check the address of a client before its request is read.

        Raises:
            HttpError: There is a proxy, and the address is neither the proxy's nor of this machine.
        """
        if self._proxy is not None and peer != self._proxy and not peer.is_loopback:
            raise HttpError(HTTPStatus.FORBIDDEN, "Only the proxy that web.proxy names may connect: open the page through it.")

    async def check(self, request: Request, peer: IpAddress) -> None:
        """Check a request from the address `peer`.

        Raises:
            HttpError: The request is refused.
        """
        if self._token is None:
            # Another site could point its own name at 127.0.0.1 (DNS rebinding) and read the
            # responses. A proxy has its own name, and no browser has its address.
            if peer != self._proxy and not is_own_host(request.headers.get("host", "localhost"), self._hosts):
                raise HttpError(
                    HTTPStatus.MISDIRECTED_REQUEST,
                    "This host name is not allowed: use the address, add the name to web.hosts, or set a token.",
                )
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        password = given.encode("latin-1")  # as it was sent, see `read_request`
        if scheme.lower() == "basic":
            with contextlib.suppress(ValueError):
                password = b64decode(given, validate=True).partition(b":")[2]
        if scheme.lower() not in ("basic", "bearer") or not compare_digest(password, self._token.encode()):
            if scheme and self._delayed < _MOST_DELAYED:
                self._delayed += 1
                try:
                    await asyncio.sleep(_WRONG_TOKEN_DELAY)
                finally:
                    self._delayed -= 1
            raise HttpError(
                HTTPStatus.UNAUTHORIZED,
                "A token is required: it is the password, with any user name.",
                (("WWW-Authenticate", 'Basic realm="maskedge", charset="UTF-8"'),),
            )


class Server:
    """Serves requests until it is stopped. Every method runs on the event loop's thread.

    Args:
        listener: A bound socket.
        route: Returns the handler of a path, None for an unknown one. A handler that takes long
            returns an awaitable.
        guard: Checks requests.
        headers: Headers of every response.
        open_paths: Paths that need no token.
        max_clients: Maximum number of clients of feeds.

    Attributes:
        answered: Number of requests by status code.
        slow: Number of clients that were disconnected because they read nothing for too long.
        watchers: Number of clients of feeds.
    """

    def __init__(
        self,
        listener: socket.socket,
        route: Callable[[str], Handler | None],
        guard: Guard,
        *,
        headers: Headers,
        open_paths: frozenset[str],
        max_clients: int,
    ) -> None:
        self._listener = listener
        self._route = route
        self._guard = guard
        self._headers = headers
        self._open_paths = open_paths
        self._max_clients = max_clients
        self._clients: set[asyncio.Task[None]] = set()
        self._heads: dict[asyncio.StreamWriter, None] = {}
        self._answering = self._lingering = 0
        self._feeding: set[asyncio.Task[None]] = set()
        self.answered: Counter[int] = Counter()
        self.slow = 0
        self.watchers = 0

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then disconnect every client."""
        server = await asyncio.start_server(self._connected, sock=self._listener, limit=LONGEST_LINE, backlog=_MOST_HEADS)
        try:
            await stop.wait()
        finally:
            server.close()
            await cancel(*self._clients)
            # A second cancellation ends a client without waiting for its feed.
            await cancel(*self._feeding)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            writer.transport.abort()
            return
        self._clients.add(task)
        try:
            await self._answer(reader, writer)
        except asyncio.TimeoutError:
            self.slow += 1
        except (OSError, EOFError):
            pass  # the client disconnected
        except asyncio.CancelledError:
            pass  # the run ends, and no coroutine awaits this task
        finally:
            self._clients.discard(task)
            # close() would wait for a client that reads nothing.
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
        """Read the head of a request, limited in time and in the number of pending requests."""
        if len(self._heads) >= _MOST_HEADS:
            oldest = next(iter(self._heads))
            del self._heads[oldest]
            oldest.transport.abort()
        self._heads[writer] = None
        try:
            request = await asyncio.wait_for(read_request(reader, _LINE_TIMEOUT), _REQUEST_TIMEOUT)
        except asyncio.TimeoutError:
            raise HttpError(HTTPStatus.REQUEST_TIMEOUT, "The request took too long.") from None
        finally:
            self._heads.pop(writer, None)
        if writer.transport.is_closing():
            # Its request was complete when the client was disconnected: it must not take the place
            # of one that is still connected.
            raise ConnectionAbortedError
        return request

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request: Request | None = None
        peer = _peer(writer)
        try:
            self._guard.admit(peer)
            request = await self._read(reader, writer)
            # Before the request takes a place: clients with a wrong token must not take those of others.
            if request.path not in self._open_paths:
                await self._guard.check(request, peer)
        except HttpError as error:
            await self._send(refuse(error), request, reader, writer)
            return
        if self._answering >= _MOST_REQUESTS and request.path not in self._open_paths:
            busy = HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "Too many requests at a time.", (("Retry-After", "1"),))
            await self._send(refuse(busy), request, reader, writer)
            return
        self._answering += 1
        try:
            response = await self._respond_safely(request)
            if response.feed is None or request.method != "GET":
                await self._send(response, request, reader, writer)
                return
        finally:
            self._answering -= 1
        self._begin(response, writer)
        await self._feed(response.feed, reader, writer)

    async def _respond_safely(self, request: Request) -> Response:
        """Return a response even if the handler fails."""
        try:
            return await self._respond(request)
        except HttpError as error:
            return refuse(error)
        except Exception:  # noqa: BLE001  (one request must not end the server)
            _log.exception("the status page failed to serve a request")
            return refuse(HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, "The request failed; see the log of the device."))

    def _begin(self, response: Response, writer: asyncio.StreamWriter) -> None:
        self.answered[response.status.value] += 1
        writer.transport.set_write_buffer_limits(high=0)
        writer.write(response.head(self._headers))

    async def _send(
        self, response: Response, request: Request | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Send a response that ends. `request` is None if it was malformed or not read."""
        self._begin(response, writer)
        content = memoryview(response.content if request is None or request.method == "GET" else b"")
        # By pieces, so that a client on a slow network gets all of a large response.
        for start in range(0, max(1, len(content)), _PIECE):
            writer.write(content[start : start + _PIECE])
            await asyncio.wait_for(writer.drain(), _SEND_TIMEOUT)
        if request is None and self._lingering < _MOST_REQUESTS:
            # Closing the connection while the client sends would reset it, and the response would
            # be lost.
            self._lingering += 1
            try:
                writer.write_eof()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(_until_gone(reader), _LINGER)
            finally:
                self._lingering -= 1

    async def _respond(self, request: Request) -> Response:
        handler = self._route(request.path)
        if handler is None:
            raise HttpError(HTTPStatus.NOT_FOUND, "Not found. The status page is at /.")
        response = handler(request)
        if not isinstance(response, Response):
            response = await response
        if response.feed is not None and request.method == "GET" and self.watchers >= self._max_clients:
            raise HttpError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{self._max_clients} clients are connected already: close one, or raise web.max_clients.",
                (("Retry-After", "10"),),
            )
        return response

    async def _feed(self, feed: Feed, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send an endless response, piece by piece, as fast as the client reads it."""
        # The buffer is small, because data that wait in the kernel are outdated when they arrive.
        with contextlib.suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self.watchers += 1
        sending = asyncio.ensure_future(_send_pieces(feed(), writer))
        leaving = asyncio.ensure_future(_until_gone(reader))
        for task in (sending, leaving):
            self._feeding.add(task)
            task.add_done_callback(self._feeding.discard)
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.watchers -= 1
            await cancel(sending, leaving)
        for task in (sending, leaving):
            if not task.cancelled() and (failure := task.exception()) is not None:
                raise failure


def _peer(writer: asyncio.StreamWriter) -> IpAddress:
    """Return the address of a client."""
    name = writer.get_extra_info("peername")
    if name is None:  # it has disconnected already
        raise ConnectionAbortedError
    return ip_address(name[0])


async def cancel(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks until they have ended.

    Before Python 3.12 `asyncio.wait_for` may swallow a cancellation.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.05)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # asyncio logs the traceback of an exception that nobody has looked at


async def _send_pieces(pieces: AsyncGenerator[bytes, None], writer: asyncio.StreamWriter) -> None:
    # The feed is closed at once. Otherwise a client that is cancelled in drain would count as a
    # watcher until garbage collection.
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            writer.write(piece)
            await asyncio.wait_for(writer.drain(), _SEND_TIMEOUT)


async def _until_gone(reader: asyncio.StreamReader) -> None:
    while await reader.read(LONGEST_LINE):
        pass
