"""Broker, database, ingest and server of a fleet on this machine, in a temporary folder."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from maskedge.errors import OutputError

from .parts import DATABASE_USER, Part, Usage, database_user, find_program, free_port, wait_until

if TYPE_CHECKING:
    import psycopg
    from paho.mqtt.client import Client

_BROKER = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {folder}/
autosave_interval 60
max_inflight_messages 5000
max_queued_messages 0
max_queued_bytes 1000000000
message_size_limit 5000000
"""
"""As deploy/mosquitto/fleet.conf, without passwords and TLS."""
_ANSWER_S = 30.0
_DATABASE = (
    *("listen_addresses=", "shared_buffers=512MB", "max_wal_size=2GB", "maintenance_work_mem=1GB", "max_connections=60"),
    # The time of the commit of each row.
    "track_commit_timestamp=on",
)
"""Settings of PostgreSQL. fsync and synchronous_commit stay on."""


class Stack:
    """The parts of a fleet. It is a context manager, which starts broker and database.

    Args:
        keep: Folder for all files and logs, which is kept; None for a temporary one.

    Attributes:
        folder: Folder of files and logs.
        broker, database, ingest, web: The parts.
        mqtt: URL of the broker.
        url: URL of the database.

    Raises:
        UsageError: A program is missing.
    """

    def __init__(self, keep: Path | None = None) -> None:
        for name in ("mosquitto", "postgres", "edge-fleet"):
            find_program(name)
        self._temporary = keep is None
        # The user of PostgreSQL must be able to enter it.
        self.folder = Path(tempfile.mkdtemp(prefix="maskedge-fleet-", dir=keep))
        self.folder.chmod(0o755)
        self._data = self.folder / "database"
        self.mqtt_port, web_port = free_port(), free_port()
        self.mqtt = f"mqtt://127.0.0.1:{self.mqtt_port}"
        self.url = f"postgresql+psycopg://{DATABASE_USER}@/fleet?host={self._data}"
        self.web_url = f"http://127.0.0.1:{web_port}"
        self.broker = self._broker()
        user = database_user()
        options = [f"-c{setting}" for setting in (*_DATABASE, f"unix_socket_directories={self._data}")]
        self.database = Part(
            "database", [find_program("postgres"), "-D", str(self._data / "data"), *options], self.folder, self._answers, user=user
        )
        fleet = [find_program("edge-fleet")]
        database = ["--database", self.url]
        self.ingest = Part("ingest", [*fleet, "ingest", "--broker", self.mqtt, *database, "--client-id", "bench"], self.folder)
        serve = ["--serve", f"127.0.0.1:{web_port}"]
        self.web = Part("web", [*fleet, "web", *database, *serve], self.folder, lambda: _listens(web_port))
        self.simulator: Part | None = None

    def __enter__(self) -> Stack:
        """Start broker and database, and create the tables."""
        try:
            self._initialise()
            self.database.start()
            self.run("createdb", "-h", str(self._data), "-U", DATABASE_USER, "fleet")
            self.run("edge-fleet", "migrate", "--database", self.url)
            self.broker.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop everything, and remove the folder."""
        self.close()

    def close(self) -> None:
        """Stop everything. Remove the folder unless it is kept."""
        for part in (self.simulator, self.web, self.ingest, self.broker):
            if part is not None:
                part.stop()
        self.database.stop(signal.SIGINT)
        shutil.rmtree(self._data, ignore_errors=True)
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a connection to the database, in autocommit mode."""
        import psycopg

        return psycopg.connect(f"host={self._data} user={DATABASE_USER} dbname=fleet connect_timeout=5", autocommit=True)

    def simulate(self, devices: int, record: Path, **options: object) -> Part:
        """Return simulated devices, not started. They end by themselves after `seconds`.

        Args:
            devices: Number of devices.
            record: File for the record.
            options: Options of `edge-fleet simulate`, as `events_per_s`.
        """
        given = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        spools = tempfile.mkdtemp(prefix="spools-", dir=self.folder)
        command = ["simulate", str(devices), "--broker", self.mqtt, "--record", str(record), "--folder", spools, *given]
        self.simulator = Part("simulator", [find_program("edge-fleet"), *command], self.folder)
        return self.simulator

    def usage(self) -> dict[str, Usage]:
        """Return the cost of each part that runs, by name."""
        parts = [part for part in (self.broker, self.database, self.ingest, self.simulator) if part is not None]
        return {part.name: part.usage() for part in parts}

    def run(self, name: str, *arguments: str) -> str:
        """Run a program, and return its output.

        Raises:
            OutputError: It failed.
        """
        done = subprocess.run([find_program(name), *arguments], capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise OutputError(f"{name} failed ({done.stderr.strip().splitlines()[-1:]}): check the installation.")
        return done.stdout.strip()

    def start_ingest(self) -> None:
        """Start the ingest, and wait until it has subscribed: it then stores a retained message."""
        name = "bench-probe"
        topic = f"maskedge/{name}/availability"
        with self.client() as client, self.connect() as connection:
            client.publish(topic, "online", 1, retain=True).wait_for_publish(_ANSWER_S)
            self.ingest.start()
            query = "SELECT count(*) FROM device WHERE name = %s"
            wait_until(lambda: connection.execute(query, [name]).fetchone() == (1,), "the ingest")
            connection.execute("DELETE FROM device WHERE name = %s", [name])
            client.publish(topic, b"", 1, retain=True).wait_for_publish(_ANSWER_S)

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """Connect a client to the broker, which publishes on a thread of its own."""
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion

        client = Client(CallbackAPIVersion.VERSION2, "bench-client", protocol=MQTTv5)
        client.max_inflight_messages_set(1000)
        client.connect("127.0.0.1", self.mqtt_port)
        client.loop_start()
        try:
            yield client
        finally:
            client.disconnect()
            client.loop_stop()

    def await_devices(self, count: int, seconds: float = 300.0) -> None:
        """Wait until the database has a number of connected devices."""
        with self.connect() as connection:
            query = "SELECT count(*) FROM device WHERE online"
            wait_until(lambda: connection.execute(query).fetchone() == (count,), f"{count} devices", seconds, 0.5)

    def _initialise(self) -> None:
        self._data.mkdir()
        user = database_user()
        if user is not None:
            shutil.chown(self._data, user)
        arguments = ("-D", str(self._data / "data"), "-U", DATABASE_USER, "--auth=trust", "--encoding=UTF8", "--locale=C")
        done = subprocess.run(  # noqa: S603
            [find_program("initdb"), *arguments], capture_output=True, text=True, check=False, user=user, cwd=self._data
        )
        if done.returncode:
            raise OutputError(f"initdb failed ({done.stderr.strip()[-200:]}): check the disk.")

    def _broker(self) -> Part:
        folder = self.folder / "broker"
        folder.mkdir()
        path = folder / "mosquitto.conf"
        user = "user root\n" if database_user() else ""
        path.write_text(user + _BROKER.format(port=self.mqtt_port, folder=folder))
        return Part("broker", [find_program("mosquitto"), "-c", str(path)], self.folder, lambda: _listens(self.mqtt_port))

    def _answers(self) -> bool:
        import psycopg

        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(f"host={self._data} user={DATABASE_USER} dbname=postgres connect_timeout=2").close()
            return True
        return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def kill_and_restart(part: Part, away_s: float, attempts: int = 10) -> None:
    """Kill a part as a crash does, and start it again.

    Args:
        part: The part.
        away_s: Seconds before it is started again.
        attempts: Maximum number of starts.

    Raises:
        OutputError: It does not start again.
    """
    part.kill()
    time.sleep(away_s)
    for attempt in range(attempts):
        try:
            part.start()
        except OutputError:
            # The processes of the old server must end first.
            if attempt == attempts - 1:
                raise
            part.stop()
        else:
            return


PARTS: Sequence[str] = ("broker", "database", "ingest")
"""The parts that are killed."""
