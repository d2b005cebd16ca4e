"""Settings of a simulation, and the names of its devices."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

DEVICES_A_PROCESS = 125
"""Maximum number of devices of a process. Each has a thread and seven open files."""


@dataclass(frozen=True)
class Plan:
    """Settings of a simulation.

    Attributes:
        devices: Number of devices.
        broker: `mqtt://HOST:PORT` or `mqtts://HOST:PORT`.
        folder: Folder of the spools, one folder in it per device.
        root: First level of all topics.
        events_per_s: Mean number of events a second, of all devices together.
        interval: Seconds between two messages of statistics of a device.
        seconds: Seconds in which people are simulated; None: until the end is requested.
        drain_s: Maximum time at the end to wait for confirmations, in seconds.
        processes: Number of processes; 0 for as many as are needed.
        sites: Number of sites among which the devices are divided.
        seed: Start of the random numbers.
        username: User name at the broker; None to connect anonymously.
        password: Its password.
        ca_file: Certificates (PEM) that sign the broker's certificate; None for the system's.
        command_key: Public key (PEM) whose signed commands the devices take; None for no commands.
    """

    devices: int
    broker: str
    folder: Path
    root: str = "maskedge"
    events_per_s: float = 200.0
    interval: float = 10.0
    seconds: float | None = None
    drain_s: float = 60.0
    processes: int = 0
    sites: int = 10
    seed: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    command_key: Path | None = None

    @property
    def parts(self) -> list[range]:
        """Indices of the devices of each process."""
        count = max(self.processes, -(-self.devices // DEVICES_A_PROCESS))
        return [range(number, self.devices, count) for number in range(min(count, self.devices))]

    def site_of(self, index: int) -> str:
        """Return the name of the site of a device."""
        return f"site {index % self.sites + 1:02}"

    def name_of(self, index: int) -> str:
        """Return the name of a device. It begins with the number of its site."""
        return f"site{index % self.sites + 1:02}-{index:05}"
