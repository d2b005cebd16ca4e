"""Names of the MQTT topics. `prefix` is the prefix of all topics of this device."""

from __future__ import annotations

from maskedge.support.files import slug


def availability_topic(prefix: str) -> str:
    """Return the topic of the availability, `online` or `offline`. The message is retained."""
    return f"{prefix}/availability"


def events_topic(prefix: str) -> str:
    """Return the topic of the events. Each message is one event."""
    return f"{prefix}/events"


def state_topic(prefix: str) -> str:
    """Return the topic of the newest state. The message is retained."""
    return f"{prefix}/state"


def statistics_topic(prefix: str) -> str:
    """Return the topic of the statistics."""
    return f"{prefix}/statistics"


def alert_topic(prefix: str, rule: str) -> str:
    """Return the topic of a rule with the action `mqtt`.

    The message is retained: `ON` while the alert is active, otherwise `OFF`.
    """
    return f"{prefix}/alerts/{slug(rule)}"


def picture_topic(prefix: str) -> str:
    """Return the topic of the newest picture, a JPEG file."""
    return f"{prefix}/picture"
