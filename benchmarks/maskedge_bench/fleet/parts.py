"""The parts of a fleet as processes: what they need to start, and how they are killed and measured."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskedge.errors import OutputError, UsageError

DATABASE_USER = "postgres"
_READY_S = 120.0
_END_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Cost of a part.

    Attributes:
        cpu_s: CPU seconds of all its processes so far.
        memory_mb: Memory of its processes in megabytes. A page that several share counts once.
    """

    cpu_s: float
    memory_mb: float


def wait_until(condition: Callable[[], object], what: str, seconds: float = _READY_S, every: float = 0.1) -> None:
    """Wait until a condition holds.

    Raises:
        OutputError: It did not hold in time.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise OutputError(f"waited {seconds:g} s for {what}: see the logs with --keep.")
        time.sleep(every)


def free_port() -> int:
    """Return an unused port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Part:
    """A program with all its processes.

    Args:
        name: Name of the part, and of its log.
        command: Command line.
        folder: Folder for its log.
        is_ready: Returns True when it has started.
        user: User of the process; None for the own one.
        output: File for its standard output; None for the log.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        is_ready: Callable[[], object] = lambda: True,
        *,
        user: str | None = None,
        output: Path | None = None,
    ) -> None:
        self.name = name
        self._command = [*command]
        self._folder = folder
        self._is_ready = is_ready
        self._user = user
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None
        self._before = 0.0

    def start(self) -> None:
        """Start the program, and wait until it is ready.

        Raises:
            OutputError: It ended at once, or was not ready in time.
        """
        log = self._folder / f"{self.name}.log"
        with log.open("ab") as errors, (self._output or log).open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603  (a program of this benchmark)
                self._command, stdout=output, stderr=errors, cwd=self._folder, user=self._user, group=self._user,
                extra_groups=[] if self._user else None,
            )  # fmt: skip
        end = time.monotonic() + _READY_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                last = log.read_text(errors="replace").strip().splitlines()[-1:]
                raise OutputError(f"{self.name} did not start ({''.join(last):.200}): see {log} with --keep.")
            time.sleep(0.05)

    @property
    def is_running(self) -> bool:
        """True while the program runs."""
        return self._process is not None and self._process.poll() is None

    def wait(self, seconds: float) -> None:
        """Wait for the end of the program.

        Raises:
            OutputError: It did not end in time, or failed.
        """
        assert self._process is not None  # noqa: S101  (started)
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise OutputError(f"{self.name} did not end within {seconds:g} s: see its log with --keep.") from error
        if code:
            raise OutputError(f"{self.name} failed with exit code {code}: see its log with --keep.")

    def request_end(self) -> None:
        """Ask the program to end."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """Kill the program with SIGKILL, as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop the program cleanly."""
        self._end(number)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self._before = self.usage().cpu_s
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def usage(self) -> Usage:
        """Return CPU time and memory of the program and its children."""
        if not self.is_running or self._process is None:
            return Usage(self._before, 0.0)
        ticks, kilobytes = 0, 0
        for number in _tree(self._process.pid):
            try:
                fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
                rollup = Path(f"/proc/{number}/smaps_rollup").read_text()
            except (OSError, ValueError):
                continue  # it has just ended
            # Own time, and that of children that have ended.
            ticks += sum(int(value) for value in fields[11:15])
            kilobytes += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        return Usage(self._before + ticks / _TICKS, kilobytes / 1024)


def _tree(root: int) -> list[int]:
    """Return the numbers of a process and of all its descendants."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, left = [], [root]
    while left:
        number = left.pop()
        found.append(number)
        left += children.get(number, [])
    return found


def find_program(name: str) -> str:
    """Return the path of a program.

    Raises:
        UsageError: It is not installed.
    """
    servers = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4]))
    own = Path(sys.executable).parent / name
    program = (
        str(servers[-1]) if servers else str(own) if own.exists() else shutil.which(name) or shutil.which(name, path="/usr/sbin")
    )
    if program is None:
        packages = {"initdb": "postgresql", "postgres": "postgresql", "edge-fleet": "the extra fleet"}
        raise UsageError(f"{name} is not installed: install {packages.get(name, name)}.")
    return program


def database_user() -> str | None:
    """Return the user that runs PostgreSQL, which refuses root; None for the own one.

    Raises:
        UsageError: This user is root, and there is no user for PostgreSQL.
    """
    if os.getuid() != 0:
        return None
    try:
        pwd.getpwnam(DATABASE_USER)
    except KeyError as error:
        raise UsageError(f"PostgreSQL does not run as root, and there is no user {DATABASE_USER}: run as another user.") from error
    return DATABASE_USER
