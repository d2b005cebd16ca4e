"""Words to systemd: ready, alive, reloading, stopping (sd_notify, by a plain datagram socket)."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping


class SystemdNotifier:
    """Speaks to the service manager that started this process; without one it does nothing.

    Args:
        environment: Variables; the process's own when left out.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        if self._address.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            # A manager that does not read must not hold us up.
            self._socket.setblocking(False)
        try:
            interval = int(environment.get("WATCHDOG_USEC", "0")) / 1e6
            meant = int(environment.get("WATCHDOG_PID", str(os.getpid()))) == os.getpid()
        except ValueError:
            interval, meant = 0.0, False
        self.interval = interval / 2 if meant else 0.0
        """Seconds between two signs of life; 0 where none is wanted."""
        self._due = 0.0
        self._ready = False

    def ready(self) -> None:
        """Say that the work goes on; the first time that it has begun."""
        if not self._ready:
            self._ready = True
            self.send("READY=1")

    def alive(self) -> None:
        """Give a sign of life, when it is time. Cheap: to be called in every frame."""
        now = time.monotonic()
        if self.interval and now >= self._due:
            self._due = now + self.interval
            self.send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Say in a line how it goes, for `systemctl status`."""
        self.send("STATUS=" + " ".join(text.split()))

    def reloading(self) -> None:
        """Say that the configuration is read again; `reloaded` says that this is over."""
        self.send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def reloaded(self) -> None:
        """Say that the configuration was read."""
        self.send("READY=1")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self.send("STOPPING=1")

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, message: str) -> None:
        """Send a message of lines `NAME=value`. What fails is not worth a word."""
        if self._socket is None:
            return
        # An address that begins with '@' stands for one of Linux's abstract ones.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError):
            self._socket.sendto(message.encode(), address)
