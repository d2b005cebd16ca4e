"""Names of the MQTT topics. `prefix` is the prefix of all topics of this device."""

from __future__ import annotations

import hashlib
import re

from maskedge.support.files import slug

EVENTS, STATISTICS = "events", "statistics"
"""Last levels of the topics whose messages may wait in the spool."""


def node_of(prefix: str, *, named: bool = False) -> str:
    """Return the identifier of a device in Home Assistant: letters, digits, `_` and `-`.

    Args:
        prefix: Prefix of the topics of the device.
        named: True for a named camera. Names in other scripts then stay apart.
    """
    if named and re.search(r"[^A-Za-z0-9_/-]", prefix):
        return f"{slug(prefix)}_{hashlib.sha256(prefix.encode()).hexdigest()[:8]}"
    return slug(prefix)


def availability_topic(prefix: str) -> str:
    """Return the topic of the availability, `online` or `offline`. The message is retained."""
    return f"{prefix}/availability"


def spooled_topic(prefix: str, last: str) -> str:
    """Return the topic of a message of the spool, by its last level: `events` or `statistics`."""
    return f"{prefix}/{last}"


def received_topic(prefix: str) -> str:
    """Return the topic on which the server of a fleet confirms messages of the spool."""
    return f"{prefix}/received"


def state_topic(prefix: str) -> str:
    """Return the topic of the newest state. The message is retained."""
    return f"{prefix}/state"


def statistics_topic(prefix: str) -> str:
    """Return the topic of the statistics."""
    return spooled_topic(prefix, STATISTICS)


def alert_topic(prefix: str, rule: str) -> str:
    """Return the topic of a rule with the action `mqtt`.

    The message is retained: `ON` while the alert is active, otherwise `OFF`.
    """
    return f"{prefix}/alerts/{slug(rule)}"


def picture_topic(prefix: str) -> str:
    """Return the topic of the newest picture, a JPEG file."""
    return f"{prefix}/picture"


def command_topic(prefix: str) -> str:
    """Return the topic on which a fleet sends signed commands. `prefix` is that of the device."""
    return f"{prefix}/command"


def answer_topic(prefix: str) -> str:
    """Return the topic of the answers to commands. `prefix` is that of the device."""
    return f"{prefix}/answer"


def snapshot_topic(prefix: str, camera: str) -> str:
    """Return the topic of a requested picture, a JPEG file. `prefix` is that of the device."""
    return f"{prefix}/snapshot/{camera}"
