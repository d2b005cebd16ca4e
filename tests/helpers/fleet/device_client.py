"""The server's side of a fleet in tests: the delivered broker configuration, `edge-fleet ingest`, and a device."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from helpers.brokers import Mosquitto, wait_for
from helpers.support import ROOT, command_line, environment

_OWN = ("listener", "persistence", "max_queued_messages", "allow_anonymous", "password_file", "acl_file")
"""Options of the delivered configuration that a test replaces."""


def fleet_broker(folder: Path, *, users: Iterable[str] = ()) -> Mosquitto:
    """Start a broker with deploy/mosquitto/fleet.conf.

    Args:
        folder: Folder for its files.
        users: Users, with their name as password, and with deploy/mosquitto/fleet.acl. Without any, everything is allowed.
    """
    lines = [
        line
        for line in (ROOT / "deploy" / "mosquitto" / "fleet.conf").read_text().splitlines()
        if line and not line.startswith("#") and not line.startswith(_OWN)
    ]
    users = list(users)
    if not users:
        return Mosquitto(folder, "allow_anonymous true", *lines)
    folder.mkdir(exist_ok=True)
    passwords, acl = folder / "passwd", folder / "acl"
    passwords.touch(mode=0o600)
    program = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"
    for user in users:
        subprocess.run([program, "-b", passwords, user, user], check=True, capture_output=True)
    acl.write_text((ROOT / "deploy" / "mosquitto" / "fleet.acl").read_text())
    return Mosquitto(folder, "allow_anonymous false", f"password_file {passwords}", f"acl_file {acl}", *lines)


class Ingest:
    """A process of `edge-fleet ingest`. As a context, it is running."""

    def __init__(self, port: int, database: str, folder: Path, *options: str, name: str = "ingest") -> None:
        self._name = name
        self._log = folder / f"{name}.log"
        self._command = command_line(
            [
                "edge-fleet",
                "ingest",
                "--broker",
                f"mqtt://127.0.0.1:{port}",
                "--database",
                database,
                "--client-id",
                name,
                *options,
            ]
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Ingest:
        """Start the process."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment())
        return self

    def wait_until_subscribed(self, broker: Mosquitto) -> None:
        """Wait until the broker has confirmed the subscriptions."""
        wait_for(lambda: f"Sending SUBACK to {self._name}\n" in broker.log(), "the subscription")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(60)
        self.process = None
        return code

    def log(self) -> str:
        """Return what it logged."""
        return self._log.read_text(errors="replace")

    def __enter__(self) -> Ingest:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class FleetDevice:
    """A device that sends its messages again until the fleet confirms them, sooner than a real one.

    Attributes:
        waiting: Messages that are not confirmed, by their number.
    """

    def __init__(
        self, port: int, name: str, *, spool: str = "1a2b3c4d", again_s: float = 1.0, window: int = 200, username: str = ""
    ) -> None:
        self.name, self.spool = name, spool
        self.prefix = f"maskedge/{name}"
        self.waiting: dict[int, tuple[str, bytes]] = {}
        self._sent: dict[int, float] = {}
        self._last = 0
        self._again_s, self._window = again_s, window
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, f"{name}-{spool}", protocol=MQTTv5)
        self._client.reconnect_delay_set(0.1, 0.2)  # type: ignore[arg-type]
        self._client.max_queued_messages_set(1000)
        if username:
            self._client.username_pw_set(username, username)
        self._client.on_connect = lambda client, *_: client.subscribe(f"{self.prefix}/received", qos=1)
        self._client.on_message = self._confirm
        self._client.on_disconnect = lambda *_: self._sent.clear()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        wait_for(self._client.is_connected, "the connection of the device")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, kind: str, content: Mapping[str, Any]) -> str:
        """Add a message to the spool, and return its id."""
        with self._lock:
            self._last += 1
            message_id = f"{self.spool}-{self._last}"
            self.waiting[self._last] = kind, json.dumps({"id": message_id, **content}).encode()
        return message_id

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False, sent: float | None = None) -> None:
        """Publish a message that is not in the spool."""
        self._client.publish(f"{self.prefix}/{topic}", payload, 1, retain, properties=_properties(sent)).wait_for_publish(10)

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            now = time.monotonic()
            with self._lock:
                due = [
                    (number, message)
                    for number, message in list(self.waiting.items())[: self._window]
                    if now - self._sent.get(number, -1e9) > self._again_s
                ]
            if not self._client.is_connected():
                continue
            for number, (kind, payload) in due:
                self._sent[number] = now
                self._client.publish(f"{self.prefix}/{kind}", payload, 1, properties=_properties(time.time()))

    def _confirm(self, client: Client, data: object, message: MQTTMessage) -> None:
        confirmed = json.loads(message.payload)
        if confirmed["spool"] == self.spool:
            with self._lock:
                for first, last in confirmed["ranges"]:
                    for number in range(first, last + 1):
                        self.waiting.pop(number, None)

    def close(self) -> None:
        """Disconnect."""
        self._stop.set()
        self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()


def _properties(sent: float | None) -> Properties | None:
    if sent is None:
        return None
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = [("sent", f"{sent:.3f}")]
    return properties


def iso(time_of_day: datetime) -> str:
    """Format a time as a device does."""
    return time_of_day.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(number: int = 0, kind: str = "face_appeared", time_of_day: datetime | None = None, **details: Any) -> dict[str, Any]:
    """Return an event as a device sends it."""
    time_of_day = time_of_day or datetime.now(timezone.utc) - timedelta(seconds=1)
    return {
        "event": kind,
        "source": "0",
        "camera": "camera",
        "device": "door",
        "time": iso(time_of_day),
        "track": number,
        **details,
    }


def statistics(time_of_day: datetime, seconds: float = 10.0, zone: str = "", **people: int) -> dict[str, Any]:
    """Return statistics as a device sends them, with the counts of a part of a minute."""
    minute = iso(time_of_day.replace(second=0, microsecond=0))
    counts = {"minute": minute, "zone": zone, "line": "", "direction": "", "observed_s": seconds}
    return {
        "time": iso(time_of_day),
        "minutes": [{**counts, "face_s": {"with_mask": seconds}, "people": people}],
        "uptime_s": 10.0,
        "health": {"temperature_c": 50.0},
    }
