"""The MQTT output. It publishes events exactly once, and the newest state (docs/mqtt.md)."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from maskedge.errors import OutputError, UsageError
from maskedge.events import LINE_CROSSED, OUTPUT_BACK, OUTPUT_LOST, SOURCE_LOST, UNNAMED, Event
from maskedge.history.counting import FrameCounter
from maskedge.rendering.jpeg import encode_jpeg
from maskedge.results import FrameResult
from maskedge.settings import Range, check_settings
from maskedge.sinks.base import RunNames, Sink, SinkContext
from maskedge.sinks.web.config import is_loopback
from maskedge.support.files import MAX_SECRET_BYTES, read_text
from maskedge.support.text import to_json, utc
from maskedge.system.state_folder import instance_id, state_folder
from maskedge.version import VERSION

from .fleet import FleetMode, MinuteCounts, check_fleet_topic, read_confirmation, to_minutes
from .homeassistant import Device, discovery
from .topics import STATISTICS, alert_topic, availability_topic, node_of, picture_topic, state_topic, statistics_topic

if TYPE_CHECKING:
    from .connection import Address

_log = logging.getLogger(__name__)

_STATE_EVERY = 1.0
_STATE = ("version", "camera", "device", "source", "model")
_RETIRE_SECONDS = 3.0
"""Maximum time to clear the retained messages of a camera that is removed."""
_PICTURE_WIDTH, _PICTURE_QUALITY = 640, 80
_STATISTICS = ("started", "uptime_s", "counters", "rate", "faces", "people", "zones", "lines", "health")


@dataclass(frozen=True)
class MqttConfig:
    """The section `[mqtt]`. Its fields are described in docs/mqtt.md."""

    url: str | None = field(default=None, metadata={"help": "broker: mqtt://HOST:PORT, or mqtts:// for TLS; unset: no MQTT"})
    username: str | None = field(default=None, metadata={"help": "user name for the broker"})
    password: str | None = field(default=None, metadata={"help": "password for the broker", "secret": True})
    password_file: Path | None = field(default=None, metadata={"help": "file that holds the password, instead of password"})
    topic: str = field(
        default="", metadata={"help": "prefix of all topics; empty: maskedge/DEVICE; a named camera adds its name", "camera": "/"}
    )
    client_id: str = field(
        default="", metadata={"help": "client identifier, for brokers that require a certain one", "camera": "-"}
    )
    qos: int = field(
        default=2, metadata={"help": "quality of service of events: 2 exactly once, 1 at least once", "range": Range(1, 2)}
    )
    ca_file: Path | None = field(
        default=None, metadata={"help": "certificates (PEM) that sign the broker's certificate; default: the system's"}
    )
    cert_file: Path | None = field(default=None, metadata={"help": "client certificate (PEM), for brokers that require one"})
    key_file: Path | None = field(default=None, metadata={"help": "key of cert_file, if it is in another file"})
    insecure: bool = field(default=False, metadata={"help": "accept any certificate of the broker; for tests only"})
    interval: float = field(
        default=10.0, metadata={"help": "seconds between two messages of statistics", "range": Range(0.01, 86400)}
    )
    discovery: bool = field(default=False, metadata={"help": "publish discovery messages for Home Assistant"})
    discovery_prefix: str = field(default="homeassistant", metadata={"help": "prefix of Home Assistant's discovery topics"})
    device_name: str = field(
        default="", metadata={"help": "name of the device in Home Assistant; empty: derived from the topic", "camera": " "}
    )
    picture: bool = field(default=False, metadata={"help": "also publish the newest picture as JPEG, every interval seconds"})
    spool: Path | None = field(default=None, metadata={"help": "folder where events wait for the broker", "camera": "folder"})
    spool_mb: float = field(
        default=64.0, metadata={"help": "size limit of the spool in megabytes", "range": Range(0.001, 1_000_000)}
    )

    def __post_init__(self) -> None:
        check_settings(self, "mqtt")


class MqttSink(Sink):
    """Publishes to a broker without waiting for the broker.

    Events are added to a spool on disk. A separate thread sends them.

    Args:
        config: The section `[mqtt]`, with a `url`.
        source: Display name of the source, without user name and password.
        snapshot: Returns the state of the run (`RunState.snapshot`); called on another thread.
        publish_event: Receives `output_lost` and `output_back` of this sink; called on another
            thread.
        labels: Labels that are counted, for discovery.
        alerts: Names of the rules with the action `mqtt`.
        zones: Names of the zones, for discovery.
        lines: Names of the counting lines, for discovery.
        device: Name of the device, for the default topic; empty: the host name.
        camera: Name of the camera, for the default topic and discovery; empty if it has none.
        fleet: The fleet mode; None to publish without it.

    Raises:
        UsageError: The configuration is invalid.
        OutputError: The spool cannot be opened.
        ImportError: paho-mqtt is missing (extra `mqtt`).
    """

    name = "mqtt"
    section = "mqtt"
    settings_class = MqttConfig
    queue_capacity = 64

    def __init__(
        self,
        config: MqttConfig,
        *,
        source: str,
        snapshot: Callable[[], Mapping[str, Any]],
        publish_event: Callable[[Event], None] = lambda _: None,
        labels: Sequence[str] = (),
        alerts: Sequence[str] = (),
        zones: Sequence[str] = (),
        device: str = "",
        camera: str = "",
        lines: Sequence[str] = (),
        fleet: FleetMode | None = None,
    ) -> None:
        import paho.mqtt.client  # noqa: F401  (before anything is opened)

        # Imported here: TLS and SQLite are loaded only for a broker.
        from .connection import BrokerLink
        from .delivery import Delivery, FleetDelivery
        from .spool import Spool

        self._config = config
        device = device or socket.gethostname()
        self._host = device if camera else ""
        own = f"/{camera}" if camera and not config.topic else ""
        self._topic = device_topic(config, device) + own
        if fleet is not None:
            check_fleet_topic(self._topic, named=bool(camera))
        _discovery_prefix(config.discovery_prefix)
        self._fleet = fleet
        self._counter, self._minutes = FrameCounter(camera or UNNAMED), MinuteCounts()
        self._commands = () if fleet is None else fleet.commands
        self._full = False
        self._labels = labels
        self._lasting: set[str] = set()
        self._retired = self._closed = False
        self._newest: FrameResult | None = None
        self._forgotten = 0.0
        self._page: str | None = None
        self._address: str | None = None
        self._described: tuple[Sequence[str], ...] = (alerts, zones, lines)
        self._source = source
        self._snapshot = snapshot
        self._publish_event = publish_event
        self._interval = config.interval
        self._state = ""
        self._state_due = self._statistics_due = 0.0
        address = broker_address(config)
        folder = config.spool or state_folder() / "mqtt" / node_of(self._topic, named=bool(camera))
        self._spool = Spool(folder, int(config.spool_mb * 1e6))
        self._delivery = Delivery(self._spool, config.qos) if fleet is None else FleetDelivery(self._spool)
        self._link = BrokerLink(
            address,
            self._delivery,
            self._topic,
            on_state=self._on_state,
            on_tick=self._on_tick,
            on_cleared=self._spool.forget_retained,
            on_received=None if fleet is None else self._on_received,
        )
        self.describe(alerts, zones, lines)
        self._link.start()

    @classmethod
    def is_wanted(cls, settings: MqttConfig) -> bool:
        """Return True if a broker is set."""
        return bool(settings.url)

    @classmethod
    def validate(cls, settings: MqttConfig) -> None:
        """Refuse an address, a topic, certificates and passwords that cannot be used."""
        import paho.mqtt.client  # noqa: F401

        device_topic(settings, "device")
        _discovery_prefix(settings.discovery_prefix)
        broker_address(settings)

    @classmethod
    def open(cls, settings: MqttConfig, context: SinkContext) -> Sink | None:
        """Open the spool and start to connect."""
        names = context.names()
        return cls(
            settings,
            source=context.source.name,
            snapshot=context.snapshot,
            publish_event=context.publish_event,
            labels=context.labels,
            alerts=_mqtt_rules(names),
            zones=names.zones,
            device=context.device,
            camera=context.camera if context.named else "",
            lines=names.lines,
            fleet=FleetMode(instance_id(state_folder()), names.commands) if context.fleet else None,
        )

    def forget_pictures(self) -> None:
        """Publish no picture before the next frame."""
        self._forgotten = time.perf_counter()
        self._newest = None

    def update_names(self, names: RunNames) -> None:
        """Publish topics and discovery messages for the new rules, zones and lines after a reload."""
        self._commands = names.commands
        self.describe(_mqtt_rules(names), names.zones, names.lines)

    def describe(self, alerts: Sequence[str], zones: Sequence[str] = (), lines: Sequence[str] = ()) -> None:
        """Publish topics and discovery messages for rules, zones and lines.

        An alert that is active stays `ON`. Retained messages of removed rules, zones and lines are
        cleared.

        Args:
            alerts: Names of the rules with the action `mqtt`.
            zones: Names of the zones.
            lines: Names of the counting lines.
        """
        self._described = alerts, zones, lines
        self._lasting &= set(alerts)
        states = {alert_topic(self._topic, rule): "ON" if rule in self._lasting else "OFF" for rule in alerts}
        messages = states | self._discovery()
        own = {*messages, availability_topic(self._topic), state_topic(self._topic)}
        # The topics are stored before they are published, so that the next run can clear the
        # messages that a killed run leaves at the broker.
        with contextlib.suppress(OutputError):
            self._spool.note_retained(own)
        for topic in self._spool.retained() - own:
            self._link.publish_value(topic, "", retain=True)
        for topic, payload in messages.items():
            self._link.publish_value(topic, payload, retain=True)

    def retire(self) -> None:
        """Clear the retained messages of the camera, so that it disappears from Home Assistant."""
        prefix = _discovery_prefix(self._config.discovery_prefix)
        shared = Device(self._topic, "", VERSION, host=self._host).host_topic(prefix) if self._host else ""
        kept = {availability_topic(self._topic), shared}
        self._retired = True
        for topic in self._spool.retained() - kept:
            self._link.publish_value(topic, "", retain=True)
        end = time.monotonic() + _RETIRE_SECONDS
        while self.problem is None and not self._link.is_idle and time.monotonic() < end:
            time.sleep(_RETIRE_SECONDS / 100)

    def set_page(self, url: str) -> None:
        """Publish the address of the status page to Home Assistant.

        Args:
            url: Address of the page on this machine. A loopback address is not published. In an
                address on all interfaces, the host is replaced by the address in the broker's
                network.
        """
        self._page = url
        self._publish_page()

    def _publish_page(self) -> None:
        if self._page is not None:
            for topic, payload in self._discovery().items():
                self._link.publish_value(topic, payload, retain=True)

    def _discovery(self) -> dict[str, str]:
        config, (alerts, zones, lines) = self._config, self._described
        if not config.discovery:
            return {}
        page = reachable_page(self._page, self._address) if self._page else None
        return discovery(
            _discovery_prefix(config.discovery_prefix),
            Device(self._topic, config.device_name, VERSION, page, self._host),
            labels=self._labels,
            zones=zones,
            lines=lines,
            alerts=alerts,
            picture=config.picture,
            expire=round(max(60, 3 * config.interval)),
        )

    @property
    def problem(self) -> str | None:
        """Reason for the missing connection; None while connected."""
        return self._link.problem

    @property
    def delivered(self) -> int:
        """Number of messages of the spool that the broker, or the fleet, has confirmed in this run."""
        return self._delivery.delivered

    @property
    def waiting(self) -> int:
        """Number of messages of the spool that the broker, or the fleet, has not confirmed."""
        return len(self._spool)

    def write(self, result: FrameResult) -> bool:
        """Add the events of a frame to the spool.

        Raises:
            OutputError: The disk or the spool is full. No event is added.
        """
        if self._config.picture and result.frame.arrival >= self._forgotten:
            self._newest = result
        if result.events:
            self._add_events(result.events)
        if self._fleet is not None:
            # Last, because a result whose events cannot be stored is written again.
            counts = self._counter.count_frame(result.frame.arrival, result.faces, result.zones, result.people)
            self._minutes.add(result.frame.time, counts)
        return True

    def handle_event(self, event: Event) -> None:
        """Add an event that occurred between two frames to the spool.

        Raises:
            OutputError: The disk or the spool is full.
        """
        self._add_events([event])
        if event.kind == SOURCE_LOST:
            self._counter.forget_last()

    def _add_events(self, events: Sequence[Event]) -> None:
        self._spool.add(event.to_json() for event in events)
        self._link.wake()
        for event in events:
            if event.kind == LINE_CROSSED:
                self._minutes.add(event.time, [self._counter.count_crossing(event.details)])

    def set_alert(self, rule: str, *, on: bool) -> None:
        """Publish the state of an alert on the topic of its rule."""
        (self._lasting.add if on else self._lasting.discard)(rule)
        self._link.publish_value(alert_topic(self._topic, rule), "ON" if on else "OFF", retain=True)

    def close(self) -> None:
        """Send events for half a second. The remaining events stay on disk for the next run.

        Every alert becomes `OFF`.
        """
        for rule in list(self._lasting):
            self.set_alert(rule, on=False)
        if self._fleet is not None and not self._closed:
            self._add_statistics(self._snapshot())
        self._closed = True
        self._link.close()
        self._spool.close()

    def _on_state(self, problem: str | None) -> None:
        details = {"output": self.name} | ({"error": problem} if problem else {})
        self._publish_event(Event(OUTPUT_LOST if problem else OUTPUT_BACK, time.time(), self._source, details))

    def _on_received(self, payload: bytes) -> None:
        self._delivery.confirm_numbers(read_confirmation(payload, self._spool.identity))

    def _on_tick(self) -> float:
        """Publish the state if it has changed, and the statistics if they are due.

        Returns:
            Seconds until the next time.
        """
        now = time.monotonic()
        if now < self._state_due or self._retired:
            return max(0.0, self._state_due - now) or _STATE_EVERY
        self._state_due = now + min(_STATE_EVERY, self._interval)
        if self._address != (address := self._link.local_address):
            # The address is known only while connected, and changes with the network.
            self._address = address
            self._publish_page()
        snapshot = self._snapshot()
        state = to_json(self._state_of(snapshot))
        if state != self._state:
            self._state = state
            self._link.publish_value(state_topic(self._topic), state, retain=True)
        if now >= self._statistics_due:
            self._statistics_due = now + self._interval
            if self._fleet is not None:
                self._add_statistics(snapshot)
            else:
                statistics = {name: snapshot[name] for name in _STATISTICS if name in snapshot}
                self._link.publish_value(statistics_topic(self._topic), to_json(statistics), retain=False)
            # A reload may discard the picture at any time.
            newest, self._newest = self._newest, None
            if newest is not None:
                jpeg = encode_jpeg(newest.picture, _PICTURE_QUALITY, width=_PICTURE_WIDTH)
                if newest.frame.arrival >= self._forgotten:
                    # The message is not retained, so that the broker does not keep the picture.
                    self._link.publish_value(picture_topic(self._topic), jpeg, retain=False)
        return min(_STATE_EVERY, self._interval)

    def _state_of(self, snapshot: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of a snapshot that is published as the state."""
        state = {name: snapshot[name] for name in _STATE if name in snapshot}
        # Details of alerts are left out, because they change with every frame.
        state["alerts"] = [{"rule": alert["rule"], "since": alert["since"]} for alert in snapshot.get("alerts", ())]
        if self._fleet is not None:
            state |= {"instance": self._fleet.instance, "commands": list(self._commands)}
            for kind in ("model", "detector_model"):
                if kind in snapshot:
                    state[kind] = {**snapshot[kind], "file": snapshot[kind].get("name")}
        return state

    def _add_statistics(self, snapshot: Mapping[str, Any]) -> None:
        """Add statistics and the counts since the last ones to the spool."""
        taken = self._minutes.take()
        message = {"time": utc(time.time())} | {name: snapshot[name] for name in _STATISTICS if name in snapshot}
        try:
            self._spool.add([message | {"minutes": to_minutes(taken)}], STATISTICS)
        except OutputError as error:
            self._minutes.put_back(taken)
            if not self._full:
                _log.warning("%s", error)
            self._full = True
        else:
            self._full = False
            self._link.wake()


def reachable_page(url: str, own_address: str | None) -> str | None:
    """Return the address of the status page for other machines; None if they cannot reach it.

    Args:
        url: Address on which the page is served.
        own_address: Address of this machine in the network; None if unknown.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host):
        return None
    if host in ("0.0.0.0", "::"):  # noqa: S104  (compared, not bound)
        if own_address is None or is_loopback(own_address):
            return None
        host = f"[{own_address}]" if ":" in own_address else own_address
        return urlunsplit(parts._replace(netloc=f"{host}:{parts.port}"))
    return url


def _mqtt_rules(names: RunNames) -> list[str]:
    return [rule for rule, actions in names.rules.items() if "mqtt" in actions]


def device_topic(config: MqttConfig, device: str) -> str:
    """Return the prefix of all topics. That of a named camera is part of the setting `topic`, if that is set.

    Args:
        config: The section `[mqtt]`.
        device: Name of the device.

    Raises:
        UsageError: The setting `topic` is not a prefix.
    """
    topic = (config.topic or f"maskedge/{device}").strip("/")
    if not _is_topic(topic):
        raise UsageError("[mqtt] topic is a prefix such as maskedge/door, without '#', '+' and a '$' in front.")
    return topic


def _discovery_prefix(prefix: str) -> str:
    topic = prefix.strip("/")
    if not _is_topic(topic):
        raise UsageError("[mqtt] discovery_prefix is a prefix such as homeassistant, without '#', '+' and a '$' in front.")
    return topic


def _is_topic(topic: str) -> bool:
    return bool(topic) and not any(sign in topic for sign in "#+\0") and len(topic.encode()) <= 1000 and not topic.startswith("$")


def broker_address(config: MqttConfig) -> Address:
    """Return the address and the credentials of the broker.

    Raises:
        UsageError: The settings are invalid, or a file cannot be read.
    """
    from .connection import Address, open_tls, split_url

    if not config.url:
        raise UsageError("no broker is set: mqtt://HOST:PORT ([mqtt] url).")
    host, port, encrypted = split_url(config.url)
    tls = None
    if encrypted:
        tls = open_tls(config.ca_file, config.cert_file, config.key_file, insecure=config.insecure)
    elif config.ca_file or config.cert_file or config.insecure:
        raise UsageError("[mqtt] has certificates, but the url begins with mqtt://: use mqtts:// for TLS.")
    password = config.password
    if config.password_file:
        try:
            password = read_text(config.password_file.expanduser(), MAX_SECRET_BYTES).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(f"{config.password_file} cannot be read ({reason}): check mqtt.password_file.") from error
    if password is not None and not config.username:
        raise UsageError("[mqtt] has a password and no username: give both or none.")
    return Address(host, port, tls, config.username, password, config.client_id)
