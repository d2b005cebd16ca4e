"""Home Assistant's MQTT discovery: which sensors it shows, and where each finds its value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from maskedge.files import slug
from maskedge.jsontext import to_json_text


def discovery(
    prefix: str, topic: str, *, labels: Sequence[str], alerts: Iterable[str], version: str, expire: int
) -> dict[str, str]:
    """Give the discovery messages, by topic. They are to be retained.

    Args:
        prefix: Where Home Assistant listens, `homeassistant` unless it was changed there.
        topic: Our own prefix.
        labels: The labels that are counted.
        alerts: Names of the rules that have a topic of their own.
        version: Version of this package.
        expire: Seconds after which a value that was not said again counts as unknown.
    """
    node = slug(topic)
    shared: dict[str, Any] = {
        "availability_topic": f"{topic}/availability",
        "device": {"identifiers": [node], "name": topic, "manufacturer": "maskedge", "model": "edge-run", "sw_version": version},
        "origin": {"name": "maskedge", "sw_version": version},
    }
    statistics = {"state_topic": f"{topic}/statistics", "expire_after": expire}
    sensors: dict[str, dict[str, Any]] = {}
    for label in labels:
        words = label.replace("_", " ")
        sensors[f"sensor/{node}/faces_{slug(label)}"] = statistics | {
            "name": f"Faces {words}",
            "value_template": f"{{{{ value_json.faces.get('{label}', 0) }}}}",
            "state_class": "measurement",
            "icon": "mdi:face-mask-outline",
        }
        sensors[f"sensor/{node}/people_{slug(label)}"] = statistics | {
            "name": f"People {words}",
            "value_template": f"{{{{ value_json.people.get('{label}', 0) }}}}",
            "state_class": "total_increasing",
            "icon": "mdi:account-group",
        }
    sensors[f"sensor/{node}/rate"] = statistics | {
        "name": "Frames per second",
        "value_template": "{{ value_json.rate.frames_per_second }}",
        "unit_of_measurement": "fps",
        "state_class": "measurement",
        "entity_category": "diagnostic",
    }
    sensors[f"sensor/{node}/temperature"] = statistics | {
        "name": "Temperature",
        "value_template": "{{ value_json.health.temperature_c | default(none) }}",
        "device_class": "temperature",
        "unit_of_measurement": "°C",
        "state_class": "measurement",
        "entity_category": "diagnostic",
    }
    sensors[f"binary_sensor/{node}/camera"] = {
        "name": "Camera",
        "state_topic": f"{topic}/state",
        "value_template": "{{ 'ON' if value_json.source.state == 'open' else 'OFF' }}",
        "device_class": "connectivity",
    }
    for name in alerts:
        sensors[f"binary_sensor/{node}/alert_{slug(name)}"] = {
            "name": f"Alert {name}",
            "state_topic": alert_topic(topic, name),
            "device_class": "problem",
        }
    return {
        f"{prefix}/{path}/config": to_json_text(shared | {"unique_id": path.partition("/")[2].replace("/", "_")} | sensor)
        for path, sensor in sensors.items()
    }


def alert_topic(topic: str, rule: str) -> str:
    """Give the topic of a rule with the action `mqtt`: `ON` while its alert lasts, else `OFF`, retained."""
    return f"{topic}/alerts/{slug(rule)}"
