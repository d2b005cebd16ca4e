"""A limit on the time of a whole HTTP request.

The timeout of the standard library is that of a single read. A server that sends a byte every few
seconds, or one interim response (1xx) after the other, would hold a request for days.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.request
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any


class _Deadline:
    """Ends a connection some seconds after it is open.

    Attributes:
        over: True if it has ended the connection.
    """

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._socket: socket.socket | None = None

    def begin(self, opened: socket.socket) -> None:
        # TLS takes the socket over, and the handshake may hang, too.
        self._socket = opened.dup()
        self._timer.start()

    def close(self) -> None:
        self._timer.cancel()
        if self._socket is not None:
            self._socket.close()

    def _end(self) -> None:
        self.over = True
        # Closing it would not end a read that waits in another thread.
        with contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)


class _Plain(HTTPConnection):
    deadline: _Deadline

    def connect(self) -> None:
        """Connect. An address that does not answer costs the others no time."""
        super().connect()
        self.deadline.begin(self.sock)


class _Encrypted(HTTPSConnection, _Plain):
    pass


class _Handler(urllib.request.AbstractHTTPHandler):
    def do_open(self, http_class: Any, req: urllib.request.Request, **options: Any) -> HTTPResponse:
        """Send the request, and read the headers of the response.

        Raises:
            TimeoutError: They were not complete when the timeout of the request was over.
        """
        assert req.timeout is not None  # noqa: S101  (every request of this program sets one)
        deadline = _Deadline(req.timeout)

        def connection(*args: Any, **more: Any) -> _Plain:
            new = (_Encrypted if issubclass(http_class, HTTPSConnection) else _Plain)(*args, **more)
            new.deadline = deadline
            return new

        try:
            response: HTTPResponse = super().do_open(connection, req, **options)
        except (OSError, HTTPException):
            if deadline.over:
                raise TimeoutError("timed out") from None
            raise
        finally:
            deadline.close()
        if deadline.over:  # the headers were cut off, which looks like their end
            response.close()
            raise TimeoutError("timed out")
        return response


class HTTPHandler(_Handler, urllib.request.HTTPHandler):
    """Opens `http://` like its base class, with a limit on the time until the headers of the response."""


class HTTPSHandler(_Handler, urllib.request.HTTPSHandler):
    """Opens `https://` like its base class, with a limit on the time until the headers of the response."""
