"""A subset of HTTP/1.1: GET and HEAD, one request per connection, with bounded sizes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import parse_qsl

LONGEST_LINE = 4096
MOST_HEADERS = 64
_LONGEST_HEAD = 16384

Feed: TypeAlias = Callable[[], AsyncGenerator[bytes, None]]
"""Yields the pieces of an endless response.

The next piece is requested when the client has received the last one.
"""

Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Names and values of headers."""


def security_headers(*, framed: bool) -> Headers:
    """Return the headers of every response. Other sites may neither embed nor read the content.

    Args:
        framed: True if pages of the same site, which is then that of a proxy, may show the page in a frame.
    """
    ancestors = "'self'" if framed else "'none'"
    # All content comes from the device itself.
    return (
        (
            "Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            f"base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}",
        ),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "SAMEORIGIN" if framed else "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
        ("Cache-Control", "no-store"),
    )


class HttpError(Exception):
    """A refused request.

    Attributes:
        status: The status code.
        message: Text for the client.
        headers: Further headers.
    """

    def __init__(self, status: HTTPStatus, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Request:
    """A request of a client.

    Attributes:
        method: `GET` or `HEAD`.
        path: The path as sent, without the query. It is only compared with known paths.
        query: The query. The last value of a repeated name counts.
        headers: The headers, with names in lower case.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """A response to a client.

    Attributes:
        content: The body, unless there is a feed.
        content_type: Its media type.
        status: The status code.
        headers: Further headers.
        feed: Yields an endless body.
    """

    content: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    headers: Headers = ()
    feed: Feed | None = None

    def head(self, security: Headers) -> bytes:
        """Return the status line and the headers, with those of `security_headers`."""
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}", f"Content-Type: {self.content_type}"]
        if self.feed is None:
            lines.append(f"Content-Length: {len(self.content)}")
        lines += [f"{name}: {value}" for name, value in (*security, *self.headers)]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")


def refuse(error: HttpError) -> Response:
    """Return the response for a refused request."""
    return Response(f"{error.message}\n".encode(), status=error.status, headers=error.headers)


async def read_request(reader: asyncio.StreamReader, line_timeout: float | None = None) -> Request:
    """Read the head of a request.

    Args:
        reader: The connection.
        line_timeout: Seconds within which the first line must be complete.

    Raises:
        HttpError: The request is malformed or not supported.
        EOFError: The client disconnected. asyncio.TimeoutError: The first line is not complete in
        time.
    """
    line = await asyncio.wait_for(_read_line(reader, HTTPStatus.REQUEST_URI_TOO_LONG), line_timeout)
    words = line.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise HttpError(HTTPStatus.BAD_REQUEST, "This is not an HTTP request.")
    method, target, _ = words
    headers: dict[str, str] = {}
    length = 0
    while line := await _read_line(reader, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE):
        length += len(line)
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise HttpError(HTTPStatus.BAD_REQUEST, "A header has no name.")
        # Not all white space of Unicode: it may be a part of a letter in UTF-8.
        headers[name.lower()] = value.strip(" \t")
        if len(headers) > MOST_HEADERS or length > _LONGEST_HEAD:
            raise HttpError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request has too many headers.")
    if method not in ("GET", "HEAD"):
        raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are supported.", (("Allow", "GET, HEAD"),))
    if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
        raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Requests must not have a body.")
    if target.startswith("http://"):
        # The form for proxies, which every server has to accept. Its host counts instead of the header (RFC 9112, 3.2.2).
        headers["host"], _, target = target.removeprefix("http://").partition("/")
        target = f"/{target}"
    path, _, query = target.partition("?")
    try:
        fields = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=16))
    except ValueError as error:
        raise HttpError(HTTPStatus.BAD_REQUEST, "The query has too many fields.") from error
    return Request(method, path, fields, headers)


_TOO_LONG = {
    HTTPStatus.REQUEST_URI_TOO_LONG: f"The address has more than {LONGEST_LINE:,} bytes.",
    # A browser sends the cookies of all ports of a host.
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"A header has more than {LONGEST_LINE:,} bytes: delete the cookies of this "
    "host in the browser.",
}


async def _read_line(reader: asyncio.StreamReader, too_long: HTTPStatus) -> str:
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError as error:
        raise HttpError(too_long, _TOO_LONG[too_long]) from error
    if len(line) > LONGEST_LINE:
        raise HttpError(too_long, _TOO_LONG[too_long])
    return line.rstrip(b"\r\n").decode("latin-1")
