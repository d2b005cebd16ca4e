"""Home Assistant's MQTT discovery: which entities it shows, and where each finds its value.

Formats: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery and the pages of the platforms `sensor`, `binary_sensor`
and `image`. State classes: `measurement` for what is counted now, `total_increasing` for what never falls in a run, and `total`
with the start of the run as `last_reset` for people by label, which falls when a person puts a mask on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from maskedge.support.files import slug
from maskedge.support.text import to_json

_DIAGNOSTIC = {"entity_category": "diagnostic"}


@dataclass(frozen=True)
class Device:
    """What Home Assistant shows as one device.

    Attributes:
        topic: Our own prefix.
        name: What people call it; empty: from the topic.
        version: Version of this package.
        page: Address of the status page, as other machines reach it; None without one.
    """

    topic: str
    name: str
    version: str
    page: str | None = None

    @property
    def node(self) -> str:
        """Its identifier: letters, digits, `_` and `-`."""
        return slug(self.topic)

    def to_json(self) -> dict[str, Any]:
        """Give it as it stands in a discovery message."""
        words = self.name or self.topic.replace("/", " ").replace("_", " ")
        return {
            "identifiers": [self.node],
            "name": words[:1].upper() + words[1:],
            "manufacturer": "maskedge",
            "model": "edge-run",
            "sw_version": self.version,
        } | ({"configuration_url": self.page} if self.page else {})


def discovery(
    prefix: str,
    device: Device,
    *,
    labels: Sequence[str],
    zones: Sequence[str],
    alerts: Iterable[str],
    picture: bool,
    expire: int,
) -> dict[str, str]:
    """Give the discovery messages, by topic. They are to be retained.

    Args:
        prefix: Where Home Assistant listens, `homeassistant` unless it was changed there.
        device: What the entities belong to.
        labels: The labels that are counted.
        zones: Names of the zones.
        alerts: Names of the rules that have a topic of their own.
        picture: Whether the newest picture is published.
        expire: Seconds after which a value that was not published again counts as unknown.
    """
    topic, node = device.topic, device.node
    statistics = {"state_topic": f"{topic}/statistics", "expire_after": expire}
    entities = _Entities(node)

    def count(kind: str, name: str, value: str, state_class: str, icon: str, **more: Any) -> None:
        own = {"name": name, "value_template": f"{{{{ {value} }}}}", "state_class": state_class, "icon": icon}
        entities.add("sensor", kind, statistics | own | more)

    for label in labels:
        words, key = label.replace("_", " "), _text(label)
        count(f"faces_{slug(label)}", f"Faces {words}", f"value_json.faces.get({key}, 0)", "measurement", "mdi:face-mask-outline")
        count(
            f"people_{slug(label)}",
            f"People {words}",
            f"value_json.people.get({key}, 0)",
            "total",
            "mdi:account-group",
            last_reset_value_template="{{ value_json.started }}",
        )
        for zone in zones:
            value = f"value_json.zones.get({_text(zone)}, {{}}).get({key}, 0)"
            count(f"zone_{slug(zone)}_{slug(label)}", f"Zone {zone} {words}", value, "measurement", "mdi:select-marker")
    count("people", "People", "value_json.people.values() | sum", "total_increasing", "mdi:account-group")
    for kind, name, icon in (
        ("dropped", "Dropped frames", "mdi:image-remove"),
        ("reconnects", "Camera reconnects", "mdi:camera-retake"),
    ):
        count(kind, name, f"value_json.counters.{kind}", "total_increasing", icon, **_DIAGNOSTIC)
    entities.add(
        "sensor",
        "rate",
        statistics
        | {
            "name": "Frames per second",
            "value_template": "{{ value_json.rate.frames_per_second }}",
            "unit_of_measurement": "fps",
            "state_class": "measurement",
        }
        | _DIAGNOSTIC,
    )
    entities.add(
        "sensor",
        "temperature",
        statistics
        | {
            "name": "Temperature",
            "value_template": "{{ value_json.health.temperature_c | default(none) }}",
            "device_class": "temperature",
            "unit_of_measurement": "°C",
            "state_class": "measurement",
        }
        | _DIAGNOSTIC,
    )
    entities.add(
        "binary_sensor",
        "camera",
        {
            "name": "Camera",
            "state_topic": f"{topic}/state",
            "value_template": "{{ 'ON' if value_json.source.state == 'open' else 'OFF' }}",
            "device_class": "connectivity",
        },
    )
    if picture:
        entities.add("image", "picture", {"name": "Picture", "image_topic": picture_topic(topic), "content_type": "image/jpeg"})
    for name in alerts:
        own = {"name": f"Alert {name}", "state_topic": alert_topic(topic, name), "device_class": "problem"}
        entities.add("binary_sensor", f"alert_{slug(name)}", own)
    shared = {
        "availability_topic": f"{topic}/availability",
        "device": device.to_json(),
        "origin": {"name": "maskedge", "sw_version": device.version},
    }
    return {f"{prefix}/{path}/config": to_json(shared | entity, ensure_ascii=True) for path, entity in entities.found.items()}


class _Entities:
    """Entities by `COMPONENT/NODE/OBJECT`, each with an identifier of its own."""

    def __init__(self, node: str) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self._node = node

    def add(self, component: str, kind: str, entity: dict[str, Any]) -> None:
        """Add an entity. Names that differ only in what an identifier cannot hold are numbered."""
        own, number = kind, 1
        while f"{component}/{self._node}/{own}" in self.found:
            number += 1
            own = f"{kind}_{number}"
        self.found[f"{component}/{self._node}/{own}"] = {"unique_id": f"{self._node}_{own}"} | entity


def _text(value: str) -> str:
    """Give a string of a template."""
    return to_json(value)


def alert_topic(topic: str, rule: str) -> str:
    """Give the topic of a rule with the action `mqtt`: `ON` while its alert lasts, else `OFF`, retained."""
    return f"{topic}/alerts/{slug(rule)}"


def picture_topic(topic: str) -> str:
    """Give the topic of the newest picture, a JPEG file."""
    return f"{topic}/picture"
