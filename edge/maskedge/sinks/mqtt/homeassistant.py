"""Home Assistant MQTT discovery: the entities, and the topic of each value.

Formats: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery and the pages of the
    platforms
`sensor`, `binary_sensor` and `image`. State classes: `measurement` for current counts, and
`total_increasing` for counts that never decrease during a run. The count of people without a mask
decreases when a person puts a mask on, so people by label have `total` with the start of the run as
`last_reset`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from maskedge.support.files import slug
from maskedge.support.text import to_json
from maskedge.tracking.lines import DIRECTIONS, IN

from .topics import alert_topic, availability_topic, node_of, picture_topic, state_topic, statistics_topic

_DIAGNOSTIC = {"entity_category": "diagnostic"}


@dataclass(frozen=True)
class Device:
    """A device in Home Assistant.

    Attributes:
        topic: Prefix of the topics of this device.
        name: Display name; empty to derive it from the topic.
        version: Version of this package.
        page: Address of the status page for other machines; None if there is none.
        host: Name of the device that runs the camera, for a named camera; empty for an unnamed one,
            which is the device itself.
    """

    topic: str
    name: str
    version: str
    page: str | None = None
    host: str = ""

    @property
    def node(self) -> str:
        """Identifier of the device: letters, digits, `_` and `-`."""
        return node_of(self.topic, named=bool(self.host))

    @property
    def host_node(self) -> str:
        """Identifier of the device that runs the camera."""
        return node_of(f"maskedge/{self.host}", named=True)

    def to_json(self) -> dict[str, Any]:
        """Return the device as part of a discovery message."""
        words = self.name or self.topic.replace("/", " ").replace("_", " ")
        return (
            {
                "identifiers": [self.node],
                "name": words[:1].upper() + words[1:],
                "manufacturer": "maskedge",
                "model": "edge-run",
                "sw_version": self.version,
            }
            | ({"configuration_url": self.page} if self.page else {})
            | ({"via_device": self.host_node} if self.host else {})
        )

    def host_topic(self, prefix: str) -> str:
        """Return the topic of the discovery message of the device that runs the camera."""
        return f"{prefix}/sensor/{self.host_node}/version/config"

    def host_message(self) -> dict[str, Any]:
        """Return the only entity of the device that runs the camera. All its cameras send the same one."""
        return {
            "unique_id": f"{self.host_node}_version",
            "name": "Version",
            "state_topic": state_topic(self.topic),
            "value_template": "{{ value_json.version }}",
            **_DIAGNOSTIC,
            "device": {
                "identifiers": [self.host_node],
                "name": self.host[:1].upper() + self.host[1:],
                "manufacturer": "maskedge",
                "model": "edge-run",
                "sw_version": self.version,
            },
            "origin": {"name": "maskedge", "sw_version": self.version},
        }


def discovery(
    prefix: str,
    device: Device,
    *,
    labels: Sequence[str],
    zones: Sequence[str],
    lines: Sequence[str],
    alerts: Iterable[str],
    picture: bool,
    expire: int,
) -> dict[str, str]:
    """Return the discovery messages by topic. They must be published as retained messages.

    Args:
        prefix: Discovery prefix of Home Assistant, `homeassistant` by default.
        device: The device of the entities.
        labels: The labels that are counted.
        zones: Names of the zones.
        lines: Names of the counting lines.
        alerts: Names of the rules with the action `mqtt`.
        picture: True if the newest picture is published.
        expire: Seconds until a value counts as unknown if it is not published again.
    """
    topic, node = device.topic, device.node
    statistics = {"state_topic": statistics_topic(topic), "expire_after": expire}
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
        for line in lines:
            for direction in DIRECTIONS:
                name = f"Line {line} {direction} {words}"
                value = f"value_json.lines.get({_text(line)}, {{}}).get({_text(direction)}, {{}}).get({key}, 0)"
                kind = f"line_{slug(line)}_{direction}_{slug(label)}"
                count(kind, name, value, "total_increasing", "mdi:location-enter" if direction == IN else "mdi:location-exit")
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
            "state_topic": state_topic(topic),
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
        "availability_topic": availability_topic(topic),
        "device": device.to_json(),
        "origin": {"name": "maskedge", "sw_version": device.version},
    }
    messages = {f"{prefix}/{path}/config": shared | entity for path, entity in entities.found.items()}
    if device.host:
        messages[device.host_topic(prefix)] = device.host_message()
    return {path: to_json(message, ensure_ascii=True) for path, message in messages.items()}


class _Entities:
    """Entities by `COMPONENT/NODE/OBJECT`, with unique identifiers."""

    def __init__(self, node: str) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self._node = node

    def add(self, component: str, kind: str, entity: dict[str, Any]) -> None:
        """Add an entity. Names with an equal identifier are numbered."""
        own, number = kind, 1
        while f"{component}/{self._node}/{own}" in self.found:
            number += 1
            own = f"{kind}_{number}"
        self.found[f"{component}/{self._node}/{own}"] = {"unique_id": f"{self._node}_{own}"} | entity


def _text(value: str) -> str:
    """Return a string literal for a template."""
    return to_json(value)
