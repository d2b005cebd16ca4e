"""A proxy as Ingress of Home Assistant: with an address of its own, below a path, in a frame, without what Ingress drops."""

from __future__ import annotations

import http.client
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

PATH = "/api/hassio_ingress/key/"


def own_address() -> str:
    """Return an address of this machine that is not loopback, and skip the test if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no network")
        return str(probe.getsockname()[0])


class Ingress(ThreadingHTTPServer):
    """The proxy, on loopback for browsers. Its connections to the page come from `own_address`.

    Args:
        port: Port of the page.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.page = own_address(), port
        self.paths: list[str] = []
        """Paths of the page that were requested."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Address of the page with the frame."""
        return f"http://localhost:{self.server_port}/"

    def stop(self) -> None:
        """End the proxy."""
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Ingress

    def do_GET(self) -> None:
        if not self.path.startswith(PATH):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(
                f'<!doctype html><link rel="icon" href="data:,"><iframe src="{PATH}" width="1200" height="900"></iframe>'.encode()
            )
            return
        path = "/" + self.path.removeprefix(PATH)
        self.server.paths.append(path)
        page = http.client.HTTPConnection(*self.server.page, timeout=10, source_address=(self.server.page[0], 0))
        # The name of the browser, and the empty body of a GET, as Ingress sends them.
        page.request("GET", path, b"", {"Host": "house.example:8123", "X-Ingress-Path": PATH.rstrip("/")})
        response = page.getresponse()
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name == "Content-Type":
                value = value.partition(";")[0]  # Ingress drops the charset and the boundary
            if name not in ("Content-Length", "Connection"):
                self.send_header(name, value)
        self.end_headers()
        try:
            while piece := response.read1(65536):
                self.wfile.write(piece)
                self.wfile.flush()
        except OSError:
            pass  # the browser or the page has left
        finally:
            page.close()

    def log_message(self, *_: object) -> None:
        """Write no log."""
