"""An HTTP server that takes notifications of Apprise (json://)."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class HttpReceiver:
    """A server on loopback.

    Attributes:
        messages: Content of the messages that it has accepted.
        status: Status of its answers.
        delay: Seconds until it answers.
        attempts: Number of requests.
    """

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status, self.delay, self.attempts = 200, 0.0, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.attempts += 1
                time.sleep(outer.delay)
                if outer.status == 200:
                    outer.messages.append(content)
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its address for Apprise, with a password in it."""
        return f"json://user:geheim7@127.0.0.1:{self._server.server_address[1]}/path"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
