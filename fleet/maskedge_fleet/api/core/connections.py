"""Connections of clients that hold a place, and those that are closed for others."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from weakref import WeakKeyDictionary

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_WAITING = 250
"""Maximum number of connections on which the server waits for the client, and of those that begin with TLS."""
_beginning: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[asyncio.Task[Any], None]] = WeakKeyDictionary()
"""The tasks of asyncio that take a connection, the oldest first. Each ends with the handshake of TLS."""


class Connection(H11Protocol):
    """A connection. If the server waits for too many clients, the one that it has waited for longest is closed.

    Otherwise clients that send or read nothing would take all places, and nobody else could be served.
    """

    _since = 0.0

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        task = asyncio.current_task()
        if task is None or not self.config.is_ssl:
            return
        # Until the handshake is complete, uvicorn knows nothing of the connection.
        tasks = _beginning.setdefault(self.loop, {})
        tasks[task] = None
        task.add_done_callback(lambda done: tasks.pop(done, None))
        if len(tasks) > MOST_WAITING:
            oldest = next(iter(tasks))
            del tasks[oldest]
            oldest.cancel()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, if necessary that of another client."""
        super().connection_made(transport)
        self._since = time.monotonic()
        waiting = [other for other in self.connections if isinstance(other, Connection) and other._waits_for_client()]
        if len(waiting) > MOST_WAITING:
            oldest = min(waiting, key=lambda other: other._since)
            self.connections.discard(oldest)
            oldest.transport.abort()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._since = time.monotonic()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Wait until the client has read. One that reads slowly does so again and again."""
        self._since = time.monotonic()
        super().pause_writing()

    def _waits_for_client(self) -> bool:
        """Return True while the client has to send a request, the rest of one, or read."""
        cycle = self.cycle
        return cycle is None or cycle.response_complete or cycle.more_body or self.flow.write_paused
