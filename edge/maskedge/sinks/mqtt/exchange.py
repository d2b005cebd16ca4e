"""Waiting for a connection to a broker without using the processor."""

from __future__ import annotations

import os
import select
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paho.mqtt.client import Client


class Exchange:
    """Reads and writes the packets of a client when the network or another thread has something.

    paho's own loop waits with select(), which takes no more than 1024 open files.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        self._lock = threading.Lock()
        self._woken = self._closed = False

    def wake(self) -> None:
        """End the wait of `step` at once. May be called on any thread."""
        with self._lock:
            if not self._woken and not self._closed:
                self._woken = True
                os.write(self._writer, b"\0")

    def step(self, client: Client, seconds: float) -> bool:
        """Wait for the network or `wake`, then read and write what is there.

        Args:
            client: The client. Its callbacks are called here.
            seconds: Maximum time to wait.

        Returns:
            False if the client has no connection any more.
        """
        connection: Any = client.socket()
        if connection is None:
            return False
        # Bytes that TLS has decrypted are not seen by poll().
        pending, number = bool(getattr(connection, "pending", int)()), connection.fileno()
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.register(number, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
        found = dict(poll.poll(0 if pending else 1000 * max(0.0, seconds)))
        if self._reader in found:
            with self._lock:
                os.read(self._reader, 1)
                self._woken = False
        events = found.get(number, 0)
        if (pending or events & ~select.POLLOUT) and client.loop_read() != 0:
            return False
        if events & select.POLLOUT and client.loop_write() != 0:
            return False
        return client.loop_misc() == 0

    def close(self) -> None:
        """Release the files. Later calls of `wake` do nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._reader)
                os.close(self._writer)
