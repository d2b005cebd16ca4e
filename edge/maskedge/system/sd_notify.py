"""Notifications to systemd (sd_notify): ready, watchdog, status, reloading, stopping."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping

from ..support.text import to_bytes


class SystemdNotifier:
    """Sends notifications to the service manager of this process. Without one it does nothing.

    Args:
        environment: Environment variables, by default those of the process.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        if self._address.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            # The loop must not block when the manager does not read its socket.
            self._socket.setblocking(False)
        try:
            interval = int(environment.get("WATCHDOG_USEC", "0")) / 1e6
            meant = int(environment.get("WATCHDOG_PID", str(os.getpid()))) == os.getpid()
        except ValueError:
            interval, meant = 0.0, False
        self.interval = interval / 2 if meant else 0.0
        """Seconds between two watchdog notifications, 0 without a watchdog."""
        self._due = 0.0
        self._ready = False

    def ready(self) -> None:
        """Report that startup is complete. Only the first call sends a notification."""
        if not self._ready:
            self._ready = True
            self.send("READY=1")

    def alive(self) -> None:
        """Send a watchdog notification if one is due. It may be called for every frame."""
        now = time.monotonic()
        if self.interval and now >= self._due:
            self._due = now + self.interval
            self.send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Set the status line that `systemctl status` shows."""
        self.send("STATUS=" + " ".join(text.split()))

    def reloading(self) -> None:
        """Report that a reload of the configuration begins. `reloaded` reports that it ends."""
        self.send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def reloaded(self) -> None:
        """Report that the reload is complete."""
        self.send("READY=1")

    def stopping(self, *, restart: bool = False) -> None:
        """Report that shutdown begins.

        Args:
            restart: The process starts again by itself. For the manager this is a reload, because
                it would kill a process that lives on after its shutdown.
        """
        if restart:
            self.reloading()
        else:
            self.send("STOPPING=1")

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, message: str) -> None:
        """Send a message of lines `NAME=value`.

        A failure is ignored, because notifications are optional.
        """
        if self._socket is None:
            return
        # An address that begins with '@' is an abstract socket of Linux.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError):
            self._socket.sendto(to_bytes(message), address)


class LoopNotifier(SystemdNotifier):
    """Notes what one loop of several reports. `LoopsNotifier` sends it on."""

    def __init__(self) -> None:
        super().__init__({})
        self.beaten = False
        """True if the loop has reported since the last watchdog notification."""
        self.beaten_at = time.monotonic()
        """Time of the last report, in seconds of `time.monotonic`."""
        self.is_ready = False
        self.text = ""

    def ready(self) -> None:
        """Note that the loop has started."""
        self.is_ready = True

    def alive(self) -> None:
        """Note that the loop runs."""
        self.beaten, self.beaten_at = True, time.monotonic()

    def status(self, text: str) -> None:
        """Note the state of the source."""
        self.text = text

    def send(self, message: str) -> None:
        """Send nothing."""


class LoopsNotifier:
    """Sends the notifications of several loops.

    The process is ready when every loop is. The watchdog is fed when every loop has reported since
    the last time, so that one loop that hangs is found.

    Args:
        systemd: Sends the notifications.
    """

    def __init__(self, systemd: SystemdNotifier) -> None:
        self._systemd = systemd
        self._text = ""

    def tick(self, loops: Mapping[str, LoopNotifier]) -> None:
        """Send what is due.

        Args:
            loops: The loops that run, by the name of their camera.
        """
        if all(loop.beaten for loop in loops.values()):
            for loop in loops.values():
                loop.beaten = False
            self._systemd.alive()
        if all(loop.is_ready for loop in loops.values()):
            self._systemd.ready()
        text = "; ".join(f"{name}: {loop.text}" for name, loop in loops.items() if loop.text)
        if text != self._text:
            self._text = text
            self._systemd.status(text)
