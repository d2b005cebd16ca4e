"""Devices that take commands: rows of the database, and a scripted device at a real broker."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jwt
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from helpers.brokers import wait_for
from helpers.fleet.data import add_device, add_site
from maskedge.modelfile.signature import key_id, load_public_key
from maskedge_fleet.database.tables import Camera, Command, Device, MinuteCounts, Series, Site, Statistics

ALL_COMMANDS = ["reload", "restart", "snapshot", "privacy", "log_level", "update_model"]
OLD, NEW = "0" * 64, "f" * 64
"""SHA-256 of a model before and after an update."""
START = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)

Reply = dict[str, Any]
"""Status, and optionally stage, sentence and details of an answer."""


def add_devices(
    engine: Engine,
    *names: str,
    online: bool = True,
    site: str | None = None,
    group: str = "",
    seen: datetime = START,
    release: int = 1,
) -> dict[str, int]:
    """Add devices with one camera each. Return their ids by name."""
    with Session(engine) as session, session.begin():
        place = None
        if site is not None:
            place = session.scalar(select(Site).where(Site.name == site)) or add_site(session, site)
        for name in names:
            model = {"sha256": OLD, "release": release}
            columns = {
                "online": online,
                "group": group,
                "created": seen,
                "seen": seen,
                "commands": list(ALL_COMMANDS),
                "model": model,
            }
            add_device(session, name, site=place, **columns)
        return {row.name: row.id for row in session.execute(select(Device.name, Device.id)) if row.name in names}


def change_device(engine: Engine, name: str, **values: Any) -> None:
    """Change columns of a device."""
    with engine.begin() as connection:
        connection.execute(update(Device).where(Device.name == name).values(values))


def add_minutes(engine: Engine, name: str, start: datetime, minutes: int, *, masked: float, unmasked: float) -> None:
    """Add counts to each of some minutes of a device: seconds of masked and unmasked faces."""
    with Session(engine) as session, session.begin():
        series = session.scalars(select(Series.id).join(Camera).join(Device).where(Device.name == name)).one()
        session.add_all(
            MinuteCounts(
                start=start + timedelta(minutes=index), series_id=series, observed_s=60.0, masked_s=masked, unmasked_s=unmasked
            )
            for index in range(minutes)
        )


def add_statistics(engine: Engine, name: str, start: datetime, count: int, *, latency: float, dropped: int = 0) -> None:
    """Add messages of statistics, one a minute with 600 frames and some dropped ones each."""
    with Session(engine) as session, session.begin():
        camera = session.scalars(select(Camera.id).join(Device).where(Device.name == name)).one()
        for index in range(count):
            content = {
                "started": start.isoformat(),
                "rate": {"latency_ms": {"total": {"p50": latency, "p95": 2 * latency}}},
                "counters": {"captured": 600 * index, "dropped": dropped * index},
            }
            moment = start + timedelta(minutes=index)
            session.add(Statistics(time=moment, camera_id=camera, message_id=f"{index}", content=content, received=moment))


def commands_of(engine: Engine, name: str) -> list[Command]:
    """Return the commands to a device, in their order."""
    with Session(engine, expire_on_commit=False) as session:
        return list(session.scalars(select(Command).join(Device).where(Device.name == name).order_by(Command.sequence)))


def answer_command(engine: Engine, command: str, status: str, now: datetime, stage: str | None = None, sentence: str = "") -> None:
    """Store an answer, as the ingest does."""
    answer = {"id": command, "status": status, "sentence": sentence} | ({"stage": stage} if stage else {})
    with engine.begin() as connection:
        connection.execute(update(Command).where(Command.id == command).values(state=status, answer=answer, answered=now))


class ScriptedDevice:
    """A device at a broker that verifies commands as a real one does, and answers by a script.

    Args:
        port: Port of the broker.
        name: Name of the device.
        public_key: Public key file of the server.
        script: Returns the answers to a command, by its kind and arguments.

    Attributes:
        accepted: Claims of the commands that it has taken.
        refused: Reasons of the commands that it has refused.
        state: Content of the next `publish_state`.
    """

    def __init__(
        self, port: int, name: str, public_key: Path, script: Callable[[str, Mapping[str, Any]], list[Reply]] | None = None
    ) -> None:
        self.name, self.prefix = name, f"maskedge/{name}"
        self.accepted: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.state: dict[str, Any] = {
            "version": "0.1.0",
            "source": {"name": "0", "state": "open"},
            "instance": "00000000000000a1",
            "commands": list(ALL_COMMANDS),
            "model": {"sha256": OLD, "release": 1},
            "alerts": [],
        }
        self._key = load_public_key(public_key)
        self._script = script or (lambda kind, arguments: [{"status": "done", "sentence": f"{kind} done"}])
        self._answers: dict[str, list[Reply]] = {}
        self._lock = threading.Lock()
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, f"scripted-{name}", protocol=MQTTv5)
        self._client.reconnect_delay_set(0.1, 0.2)  # type: ignore[arg-type]
        self._client.will_set(f"{self.prefix}/availability", "offline", qos=1, retain=True)
        self._client.on_connect = self._connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._take
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", port, clean_start=False, properties=properties)
        self._client.loop_start()
        wait_for(self._subscribed.is_set, "the subscription of the device")
        self.publish_state()

    def _connect(self, client: Client, *_: object) -> None:
        client.subscribe(f"{self.prefix}/command", qos=1)
        client.publish(f"{self.prefix}/availability", "online", qos=1, retain=True)

    def publish_state(self, **changes: Any) -> None:
        """Publish the state, with some changed keys."""
        self.state |= changes
        self._client.publish(f"{self.prefix}/state", json.dumps(self.state), qos=1, retain=True)

    def _take(self, client: Client, data: object, message: MQTTMessage) -> None:
        token = message.payload.decode()
        try:
            if jwt.get_unverified_header(token).get("kid") != key_id(self._key):
                raise jwt.InvalidTokenError("another key")
            claims = jwt.decode(
                token,
                self._key,
                ["EdDSA"],
                audience=self.name,
                options={"require": ["jti", "aud", "iat", "exp", "seq", "cmd", "args"]},
            )
        except jwt.InvalidTokenError as error:
            self.refused.append(str(error))
            return
        with self._lock:
            if claims["jti"] in self._answers:
                self.answer(claims["jti"], claims["cmd"], **self._answers[claims["jti"]][-1])
                return
            if self.accepted and claims["seq"] <= self.accepted[-1]["seq"]:
                self.refused.append("replay")
                return
            self.accepted.append(claims)
        self._answers[claims["jti"]] = self._script(claims["cmd"], claims["args"])
        for answer in self._answers[claims["jti"]]:
            self.answer(claims["jti"], claims["cmd"], **answer)

    def answer(self, command: str, kind: str, **answer: Any) -> None:
        """Publish an answer."""
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        content = {"id": command, "command": kind, "sentence": "", "time": now, "details": {}, **answer}
        self._client.publish(f"{self.prefix}/answer", json.dumps(content), qos=1)

    def close(self, *, clean: bool = True) -> None:
        """Disconnect. Without `clean`, the broker publishes the last will."""
        if clean:
            self._client.publish(f"{self.prefix}/availability", "offline", qos=1, retain=True).wait_for_publish(5)
            self._client.disconnect()
        else:
            self._client.socket().close()  # type: ignore[union-attr]
        self._client.loop_stop()
