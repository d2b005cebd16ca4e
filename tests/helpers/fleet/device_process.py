"""A real `edge-run` in fleet mode."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from types import TracebackType

from helpers.support import command_line, environment

LIVE_DEMO = '[source]\nuri = "demo"\nlive = true\nloop = true\nfps = 10\n'


class DeviceProcess:
    """`edge-run` on the demo clip, as the device `door` of a fleet.

    Args:
        folder: Folder of the edge.toml, of the state and of the log.
        port: Port of the broker.
        fleet: Further keys of the section `[fleet]`.
        more: Further sections, with the source; the demo clip by default.
    """

    def __init__(self, folder: Path, port: int, fleet: str = "", more: str = LIVE_DEMO) -> None:
        self._folder = folder
        self._port = port
        self.state = folder / "state"
        self.write(fleet, more)
        self.start()

    def write(self, fleet: str = "", more: str = LIVE_DEMO) -> None:
        """Write the edge.toml."""
        (self._folder / "edge.toml").write_text(
            f'[mqtt]\nurl = "mqtt://127.0.0.1:{self._port}"\ntopic = "maskedge/door"\ninterval = 0.5\n'
            f"[fleet]\nenabled = true\n{fleet}\n{more}",
            encoding="utf-8",
        )

    def start(self) -> None:
        """Start the process."""
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command_line(["edge-run", "--config", self._folder / "edge.toml", "--no-show"]),
                stdout=log,
                stderr=log,
                env=environment({"STATE_DIRECTORY": str(self.state)}),
            )

    def reload(self, fleet: str = "", more: str = LIVE_DEMO) -> None:
        """Write another edge.toml and send SIGHUP."""
        self.write(fleet, more)
        self.process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """Kill the process, and wait until it is gone."""
        self.process.kill()
        self.process.wait(60)

    def end(self) -> int:
        """End the process. Return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    @property
    def log(self) -> str:
        """The log so far."""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def __enter__(self) -> DeviceProcess:
        """Return the device."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the process if it still runs."""
        if self.process.poll() is None:
            self.kill()
