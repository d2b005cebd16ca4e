"""The limit on the time of a whole request: slow servers on loopback, plain and encrypted."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest

from maskedge.support.network.deadline import HTTPHandler, HTTPSHandler

SECONDS = 0.5
TRICKLE = b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 1000
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
HANDSHAKE = b"\x16\x03\x03\x40\x00" + b"\x02" * 1000


class SlowServer:
    """Sends bytes in small parts, each before a read would time out."""

    def __init__(self, content: bytes, part: int = 1) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._content, self._part = content, part
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.recv(4096)
            for start in range(0, len(self._content), self._part):
                client.sendall(self._content[start : start + self._part])
                time.sleep(SECONDS / 10)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def slow(request: pytest.FixtureRequest) -> Iterator[SlowServer]:
    server = SlowServer(*request.param)
    yield server
    server.close()


@pytest.mark.parametrize(
    ("slow", "scheme"),
    [((TRICKLE,), "http"), ((100 * INTERIM, len(INTERIM)), "http"), ((HANDSHAKE,), "https")],
    indirect=["slow"],
)
def test_a_server_that_sends_a_little_all_the_time_is_given_up_at_the_timeout(slow: SlowServer, scheme: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), HTTPHandler, HTTPSHandler)
    begin = time.monotonic()
    with pytest.raises(OSError, match="timed out"):
        opener.open(f"{scheme}://127.0.0.1:{slow.port}/", b"{}", timeout=SECONDS)
    assert SECONDS <= time.monotonic() - begin < 8 * SECONDS


@pytest.mark.parametrize("slow", [(b"HTTP/1.1 200 OK\r\n\r\nall of it", 100)], indirect=True)
def test_a_response_in_time_is_read_to_its_end(slow: SlowServer) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), HTTPHandler, HTTPSHandler)
    with opener.open(f"http://127.0.0.1:{slow.port}/", timeout=5) as response:
        time.sleep(0.1)
        assert response.read() == b"all of it"
