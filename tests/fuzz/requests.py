"""Broken and odd HTTP requests for the status page; the same seed yields the same ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

_PATHS = (
    b"/", b"/page.css", b"/page.js", b"/icon.svg", b"/api/status", b"/snapshot.jpg", b"/healthz", b"/metrics", b"/nothing",
    b"/api/events", b"/stream.mjpg", b"*", b"//", b"/..%2f..%2fetc/passwd", b"http://other/", b"/%00", b"/\xff\xfe", b"/?", b"?",
)  # fmt: skip
_METHODS = (
    *(b"GET", b"GET", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PRI", b"get", b"", b"G\0T"),
    b"A" * 5000,
)
_VERSIONS = (
    *(b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.", b"HTTP/1.1.1", b"HTTP/-1.1", b"http/1.1"),
    *(b"", b"HTTP/1.99999999999", b"HTTPS/1.1", b"ICY", b"RTSP/1.0"),
)
_ENDS = (b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\n\r", b"\r\r\n", b"\0", b" \r\n", b"\x0b", b"\xc2\x85")
_NAMES = (
    *(b"Host", b"Authorization", b"Content-Length", b"Transfer-Encoding", b"Accept", b"Last-Event-ID", b"Connection", b"Expect"),
    *(
        b"Upgrade",
        b"Range",
        b"Cookie",
        b"X",
        b"",
        b" X",
        b"X ",
        b"X\t",
        b"\xff",
        b":",
        b"X:Y",
        b"Host",
        b"X\0Y",
        b"Accept-Encoding",
    ),
)
_VALUES = (
    *(
        b"localhost",
        b"127.0.0.1:8080",
        b"[::1]:8080",
        b"[",
        b"[::1",
        b"evil.example",
        b":",
        b"::::",
        b"localhost:99999999",
        b"\xff",
    ),
    *(b"Bearer x", b"Basic " + b"=" * 9, b"Basic OnNlY3JldA==", b"Basic \xff", b"Digest", b"0", b"-1", b"10", b"1e9", b"9" * 5000),
    *(b"99999999999999999999", b"1" * 15, b"\xc2\xb2", b"chunked", b"gzip, chunked", b"*/*", b"close", b"keep-alive, upgrade", b""),
    *(b"text/plain;version=x;escaping=allow-utf-8", b"application/openmetrics-text;version=;q=", b"100-continue", b"bytes=0-"),
    *(
        b"application/openmetrics-text; version=1.0.0; escaping=none",
        b"websocket",
        b"%s%n",
        b"a" * 3000,
        b"a\0b",
        b"\x1b[2J",
        b"\x7f",
    ),
)
_QUERIES = (
    *(
        b"kinds=faces",
        b"kinds=status,faces,happening",
        b"kinds=",
        b"kinds=,",
        b"kinds=%00",
        b"after=0",
        b"after=-1",
        b"after=\xd9\xa3",
    ),
    *(
        b"after=999999999999999",
        b"after=1e3",
        b"a=1&" * 20,
        b"&" * 500,
        b"=" * 500,
        b"%",
        b"%zz=%ff",
        b"a[]=1",
        b";" * 100,
        b"+",
        b"#x",
    ),
)


def cases(seed: int, count: int) -> Iterator[bytes]:
    """Yield requests: the bytes that a client sends before it waits for a response.

    Args:
        seed: Seed of the generator.
        count: Number of requests.
    """
    draw = random.Random(seed)  # noqa: S311  (no secret)
    for _ in range(count):
        yield draw.choice(_KINDS)(draw)


def _request(draw: random.Random, *, most: int = 6) -> bytes:
    """Return a request of odd parts."""
    target = draw.choice(_PATHS)
    if draw.random() < 0.3:
        target += b"?" + draw.choice(_QUERIES)
    end = draw.choice(_ENDS)
    line = b" ".join((draw.choice(_METHODS), target, draw.choice(_VERSIONS)))
    headers = [
        draw.choice(_NAMES) + draw.choice((b": ", b": ", b":", b" : ", b"")) + draw.choice(_VALUES)
        for _ in range(draw.randrange(most))
    ]
    return end.join((line, *headers, b"", b""))


def _valid(draw: random.Random) -> bytes:
    """Return a valid request with odd headers, which reaches a handler."""
    head = b"%s %s HTTP/1.1\r\nHost: localhost\r\n" % (draw.choice((b"GET", b"GET", b"HEAD")), _target(draw))
    return (
        head + b"".join(b"%s: %s\r\n" % (draw.choice(_NAMES[:8]), draw.choice(_VALUES)) for _ in range(draw.randrange(4))) + b"\r\n"
    )


def _target(draw: random.Random) -> bytes:
    return draw.choice(_PATHS) + (b"?" + draw.choice(_QUERIES) if draw.random() < 0.5 else b"")


def _mutated(draw: random.Random) -> bytes:
    """Return a request with bytes changed, removed, inserted and repeated."""
    content = bytearray(_valid(draw) if draw.random() < 0.7 else _request(draw))
    for _ in range(draw.randrange(1, 8)):
        place = draw.randrange(len(content) + 1)
        match draw.randrange(4):
            case 0:
                content[place : place + 1] = bytes([draw.randrange(256)])
            case 1:
                del content[place : place + draw.randrange(20)]
            case 2:
                content[place:place] = draw.choice((*_ENDS, b" ", b":", b"\0", b"%", b"?", b"\xff" * 9, b"\r\n\r\n"))
            case _:
                content[place:place] = content[: draw.randrange(60)]
    return bytes(content)


def _cut(draw: random.Random) -> bytes:
    """Return the beginning of a request."""
    content = _valid(draw)
    return content[: draw.randrange(len(content))]


def _noise(draw: random.Random) -> bytes:
    """Return random bytes, or another protocol."""
    if draw.random() < 0.5:
        return draw.randbytes(draw.randrange(1, 3000))
    return draw.choice(
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + draw.randbytes(32),  # TLS
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00",
            b"OPTIONS rtsp://localhost/ RTSP/1.0\r\nCSeq: 1\r\n\r\n",
            b"SSH-2.0-client\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\n\r\n",
            b"\0" * 5000,
            b"\r\n" * 3000,
        )
    )


def _long(draw: random.Random) -> bytes:
    """Return a request with an oversized part, or with too many."""
    many, size = draw.choice((10, 63, 64, 65, 300)), draw.choice((1, 200, 4080, 4096, 4097, 8200, 70_000))
    filling = bytes([draw.choice(b"aA/?&=%:;, \t\0\xff")]) * size
    return draw.choice(
        (
            b"GET /%s HTTP/1.1\r\n\r\n" % filling,
            b"%s / HTTP/1.1\r\n\r\n" % filling,
            b"GET / HTTP/1.1\r\nX: %s\r\n\r\n" % filling,
            b"GET / HTTP/1.1\r\n%s: x\r\n\r\n" % filling,
            b"GET /api/status HTTP/1.1\r\n" + b"".join(b"X-%d: %d\r\n" % (index, index) for index in range(many)) + b"\r\n",
            b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * many * 20 + b"\r\n",
            b"GET / HTTP/1.1\r\nCookie: %s" % filling,
        )
    )


def _with_body(draw: random.Random) -> bytes:
    """Return a request that has a body, or claims to have one."""
    length = draw.choice((b"0", b"1", b"00", b"+5", b"-1", b"5, 5", b"0x10", b"4294967296", b"9" * 30, b"\xc2\xb2", b""))
    header = draw.choice(
        (b"Content-Length: " + length, b"Transfer-Encoding: " + draw.choice((b"chunked", b"identity", b"x, chunked")))
    )
    body = draw.choice(
        (b"", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", draw.randbytes(200), b"GET /healthz HTTP/1.1\r\n\r\n", b"a" * 100_000)
    )
    return b"%s %s HTTP/1.1\r\n%s\r\n\r\n" % (draw.choice(_METHODS[:8]), draw.choice(_PATHS), header) + body


def _pipelined(draw: random.Random) -> bytes:
    """Return several requests at once."""
    return b"".join(_valid(draw) for _ in range(draw.randrange(2, 6)))


_KINDS: tuple[Callable[[random.Random], bytes], ...] = (
    _request, _request, _valid, _valid, _mutated, _mutated, _mutated, _cut, _noise, _long, _with_body, _pipelined
)  # fmt: skip
