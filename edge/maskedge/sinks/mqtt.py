"""MQTT: events that arrive once, and the newest state, for dashboards and home automation (docs/mqtt.md)."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskedge import __version__
from maskedge.errors import UsageError
from maskedge.files import slug
from maskedge.happenings import OUTPUT_BACK, OUTPUT_LOST, Happening
from maskedge.spool import Spool

from .base import Answer
from .broker import Address, BrokerLink, open_tls, split_url
from .homeassistant import alert_topic, discovery

_STATE_EVERY = 1.0
_STATE = ("version", "source", "model")
_STATISTICS = ("uptime_s", "counters", "rate", "faces", "people", "zones", "health")


@dataclass(frozen=True)
class MqttConfig:
    """The section `[mqtt]`. Its fields are described in docs/mqtt.md."""

    url: str | None = field(default=None, metadata={"help": "broker: mqtt://HOST:PORT, or mqtts:// for TLS; without it, no MQTT"})
    username: str | None = field(default=None, metadata={"help": "user name at the broker"})
    password: str | None = field(default=None, metadata={"help": "its password", "secret": True})
    password_file: Path | None = field(default=None, metadata={"help": "file that holds the password, instead of password"})
    topic: str = field(default="", metadata={"help": "prefix of all topics; empty: maskedge/HOSTNAME"})
    client_id: str = field(default="", metadata={"help": "client identifier, where the broker wants a certain one"})
    qos: int = field(default=2, metadata={"help": "quality of service of events: 2 exactly once, 1 at least once"})
    ca_file: Path | None = field(
        default=None, metadata={"help": "certificates (PEM) that sign the broker's; default: the system's"}
    )
    cert_file: Path | None = field(default=None, metadata={"help": "own certificate (PEM), for brokers that ask for one"})
    key_file: Path | None = field(default=None, metadata={"help": "key of cert_file, where it is another file"})
    insecure: bool = field(default=False, metadata={"help": "take any certificate of the broker: for trials only"})
    interval: float = field(default=10.0, metadata={"help": "seconds between two statistics"})
    discovery: bool = field(default=False, metadata={"help": "announce sensors to Home Assistant"})
    discovery_prefix: str = field(default="homeassistant", metadata={"help": "where Home Assistant listens for discovery"})
    spool: Path | None = field(default=None, metadata={"help": "folder where events wait for the broker"})
    spool_mb: float = field(default=64.0, metadata={"help": "megabytes that may wait there"})


class MqttSink:
    """Publishes to a broker. Never waits for it: events go to a spool on disk, and a thread of its own hands them over.

    Args:
        config: The section `[mqtt]`, with a `url`.
        source: What the user called the source, without name and password.
        snapshot: Gives the state of the run (`RunState.snapshot`); called on another thread.
        announce: Takes happenings of this sink (`output_lost`, `output_back`); called on another thread.
        labels: Labels that are counted, for discovery.
        alerts: Names of the rules whose actions hold `mqtt`.

    Raises:
        UsageError: The configuration makes no sense.
        OutputError: The spool cannot be opened.
        ImportError: paho-mqtt is missing (extra `mqtt`).
    """

    name = "mqtt"

    def __init__(
        self,
        config: MqttConfig,
        *,
        source: str,
        snapshot: Callable[[], Mapping[str, Any]],
        announce: Callable[[Happening], None] = lambda _: None,
        labels: Sequence[str] = (),
        alerts: Sequence[str] = (),
    ) -> None:
        import paho.mqtt.client  # noqa: F401  (before anything is opened)

        self._topic = _topic(config.topic)
        self._source = source
        self._snapshot = snapshot
        self._announce = announce
        self._interval = config.interval
        self._state = ""
        self._state_due = self._statistics_due = 0.0
        if config.qos not in (1, 2):
            raise UsageError(f"[mqtt] qos is 1 or 2, got {config.qos}: events are confirmed, so that none is lost.")
        if config.interval <= 0 or config.spool_mb <= 0:
            raise UsageError("[mqtt] interval and spool_mb are above 0.")
        address = _address(config)
        self._spool = Spool(config.spool or _state_folder() / slug(self._topic), int(config.spool_mb * 1e6))
        self._link = BrokerLink(
            address,
            self._spool,
            f"{self._topic}/events",
            qos=config.qos,
            availability=f"{self._topic}/availability",
            on_state=self._on_state,
            on_tick=self._on_tick,
        )
        for rule in alerts:
            self.set_alert(rule, on=False)
        if config.discovery:
            messages = discovery(
                config.discovery_prefix,
                self._topic,
                labels=labels,
                alerts=alerts,
                version=__version__,
                expire=round(max(60, 3 * config.interval)),
            )
            for topic, payload in messages.items():
                self._link.say(topic, payload, retain=True)
        self._link.start()

    @property
    def problem(self) -> str | None:
        """Why the broker is away, None while it is there."""
        return self._link.problem

    @property
    def delivered(self) -> int:
        """Number of events that the broker has confirmed, in this run."""
        return self._link.delivered

    @property
    def waiting(self) -> int:
        """Number of events that the broker has not confirmed."""
        return len(self._spool)

    def write(self, answer: Answer) -> bool:
        """Put the happenings of a frame into the spool.

        Raises:
            OutputError: The disk or the spool is full; none was added.
        """
        if answer.happenings:
            self._spool.add(happening.to_json() for happening in answer.happenings)
        return True

    def tell(self, happening: Happening) -> None:
        """Put what happened between two frames into the spool.

        Raises:
            OutputError: The disk or the spool is full.
        """
        self._spool.add([happening.to_json()])

    def set_alert(self, rule: str, *, on: bool) -> None:
        """Say whether the alert of a rule lasts, on the topic of that rule."""
        self._link.say(alert_topic(self._topic, rule), "ON" if on else "OFF", retain=True)

    def close(self) -> None:
        """Hand over what can be within half a second; the rest waits on disk for the next start."""
        self._link.close()
        self._spool.close()

    def _on_state(self, problem: str | None) -> None:
        details = {"output": self.name} | ({"error": problem} if problem else {})
        self._announce(Happening(OUTPUT_LOST if problem else OUTPUT_BACK, time.time(), self._source, details))

    def _on_tick(self) -> None:
        """Say the state when it changed, and the statistics when it is time."""
        now = time.monotonic()
        if now < self._state_due:
            return
        self._state_due = now + min(_STATE_EVERY, self._interval)
        snapshot = self._snapshot()
        state = json.dumps(
            {name: snapshot[name] for name in _STATE if name in snapshot}
            # Their details change with every frame.
            | {"alerts": [{"rule": alert["rule"], "since": alert["since"]} for alert in snapshot.get("alerts", ())]}
        )
        if state != self._state:
            self._state = state
            self._link.say(f"{self._topic}/state", state, retain=True)
        if now >= self._statistics_due:
            self._statistics_due = now + self._interval
            statistics = {name: snapshot[name] for name in _STATISTICS if name in snapshot}
            self._link.say(f"{self._topic}/statistics", json.dumps(statistics), retain=False)


def _topic(prefix: str) -> str:
    topic = (prefix or f"maskedge/{socket.gethostname()}").strip("/")
    if not topic or any(sign in topic for sign in "#+\0") or len(topic.encode()) > 1000 or topic.startswith("$"):
        raise UsageError("[mqtt] topic is a prefix such as maskedge/door, without '#', '+' and a '$' in front.")
    return topic


def _state_folder() -> Path:
    """Give the folder for what outlives a run: that of the service, else that of the user."""
    service = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    user = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "maskedge"
    return (Path(service) if service else user) / "mqtt"


def _address(config: MqttConfig) -> Address:
    if not config.url:
        raise UsageError("say which broker: mqtt://HOST:PORT ([mqtt] url).")
    host, port, encrypted = split_url(config.url)
    tls = None
    if encrypted:
        tls = open_tls(config.ca_file, config.cert_file, config.key_file, insecure=config.insecure)
    elif config.ca_file or config.cert_file or config.insecure:
        raise UsageError("[mqtt] has certificates, but the url begins with mqtt://: mqtts:// turns TLS on.")
    password = config.password
    if config.password_file:
        try:
            password = config.password_file.expanduser().read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(f"the password file {config.password_file} cannot be read ({reason}).") from error
    if password is not None and not config.username:
        raise UsageError("[mqtt] has a password and no username: give both or none.")
    return Address(host, port, tls, config.username, password, config.client_id)
