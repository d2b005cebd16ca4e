"""A real PostgreSQL server in a temporary folder, on a Unix socket."""

from __future__ import annotations

import atexit
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

USER = "postgres"


def _program(name: str) -> str:
    """Return the path of a program of PostgreSQL, and skip the test if it is missing."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4].partition(".")[0]))
    program = str(found[-1]) if found else shutil.which(name)
    if program is None:
        pytest.skip("PostgreSQL is not installed")
    return program


def _as_user() -> list[str]:
    """Return a command line that runs another one as a user who is not root, which PostgreSQL requires."""
    if os.getuid() != 0:
        return []
    try:
        pwd.getpwnam(USER)
    except KeyError:
        pytest.skip(f"PostgreSQL does not run as root, and there is no user {USER}")
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]


class PostgreSQL:
    """A server. Its data survive `kill` and a restart.

    Args:
        settings: Settings of the server, such as `fsync=on`.
    """

    def __init__(self, *settings: str) -> None:
        initdb, self._server = _program("initdb"), _program("postgres")
        self._prefix = _as_user()
        # Not pytest's folder: other users may not enter it, and its path is too long for a socket.
        self.folder = Path(tempfile.mkdtemp(prefix="maskedge-pg-"))
        if self._prefix:
            shutil.chown(self.folder, USER)
        self._data = self.folder / "data"
        self._settings = ("fsync=off", "max_connections=60", *settings)
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.remove)
        options = ["-D", str(self._data), "-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        self._run([initdb, *options])
        self.start()

    def _run(self, command: Sequence[str]) -> None:
        result = subprocess.run([*self._prefix, *command], capture_output=True, cwd=self.folder, check=False)
        assert result.returncode == 0, result.stderr.decode(errors="replace")

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        settings = [f"-c{setting}" for setting in ("listen_addresses=", f"unix_socket_directories={self.folder}", *self._settings)]
        end = time.monotonic() + 60
        while True:
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [*self._prefix, self._server, "-D", str(self._data), *settings], stdout=log, stderr=log, cwd=self.folder
                )
            while self._process.poll() is None:
                try:
                    psycopg.connect(self._address("postgres"), connect_timeout=2).close()
                except psycopg.OperationalError:
                    assert time.monotonic() < end, self.log()
                    time.sleep(0.05)
                else:
                    return
            # After a kill, the processes of the old server must end first.
            assert time.monotonic() < end, self.log()
            time.sleep(0.1)

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop the server, by default at once and cleanly."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def kill(self) -> None:
        """Kill the server as a crash does."""
        self.stop(signal.SIGKILL)

    def remove(self) -> None:
        """Stop the server, and remove its folder."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """Return the log of the server."""
        return (self.folder / "log").read_text(errors="replace")

    def _address(self, database: str) -> str:
        return f"host={self.folder} user={USER} dbname={database}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Execute a statement outside a transaction."""
        with psycopg.connect(self._address(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def create_database(self, template: str = "template1") -> str:
        """Create a database as a copy of another one, by default an empty one, and return its URL."""
        name = f"fleet_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return f"postgresql+psycopg://{USER}@/{name}?host={self.folder}"

    def drop_database(self, url: str) -> None:
        """Remove a database that `create_database` made."""
        self.execute(f"DROP DATABASE {url.partition('@/')[2].partition('?')[0]} WITH (FORCE)")
