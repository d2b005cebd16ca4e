"""Topics of devices: which device, camera and kind of message a topic belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from maskedge.events import UNNAMED
from maskedge_fleet.database.tables import LONGEST_NAME

AVAILABILITY, STATE, EVENTS, STATISTICS, ANSWER, SNAPSHOT = "availability", "state", "events", "statistics", "answer", "snapshot"
ALERTS = "alerts"
_OF_CAMERAS = (AVAILABILITY, STATE, EVENTS, STATISTICS)
SHARED = (f"+/{EVENTS}", f"+/+/{EVENTS}", f"+/{STATISTICS}", f"+/+/{STATISTICS}", f"+/{ANSWER}", f"+/{SNAPSHOT}/+")
"""Topics below the root that the processes share: each message goes to one of them."""
OWN = (f"+/{AVAILABILITY}", f"+/+/{AVAILABILITY}", f"+/{STATE}", f"+/+/{STATE}")
"""Topics below the root that each process receives, because brokers send no retained message to a shared subscription."""
SHARED_GROUP = "fleet"


@dataclass(frozen=True, slots=True)
class Place:
    """The camera that a topic belongs to.

    Attributes:
        prefix: Prefix of the topics of the camera.
        device_prefix: Prefix of the topics of the device. A device without named cameras has one
            camera, with the same prefix.
        device: Name of the device.
        camera: Name of the camera.
    """

    prefix: str
    device_prefix: str
    device: str
    camera: str


class TopicError(ValueError):
    """A topic that no message of a device has. The message is the reason."""


def subscriptions(root: str) -> tuple[list[str], list[str]]:
    """Return the shared filters of topics, and those of each process alone."""
    return [f"$share/{SHARED_GROUP}/{root}/{topic}" for topic in SHARED], [f"{root}/{topic}" for topic in OWN]


def state_topics(root: str, device: str) -> list[str]:
    """Return the filters of the retained topics of a device and its cameras."""
    return [f"{root}/{device}/{topic.removeprefix('+/')}" for topic in OWN]


def split_topic(topic: str, root: str, payload: bytes) -> tuple[str, Place]:
    """Return the kind of a message, and its camera.

    Answers belong to a device; their place is that of the unnamed camera.

    Args:
        topic: The topic.
        root: First part of all topics.
        payload: The message. A picture is told from an event of a camera named `snapshot` by it.

    Raises:
        TopicError: The topic has another form, or a name that is too long.
    """
    if not topic.startswith(f"{root}/"):
        raise TopicError(f"the topic does not begin with {root}/")
    parts = topic[len(root) + 1 :].split("/")
    for part in parts:
        if not part or len(part) > LONGEST_NAME:
            raise TopicError(f"a name in the topic is empty or has more than {LONGEST_NAME} characters")
        if part in (".", ".."):
            raise TopicError("a name in the topic is '.' or '..', which no address of the page can contain")
        if not part.isprintable():
            raise TopicError("a name in the topic contains a character that cannot be shown")
    device, kind = parts[0], parts[-1]
    own = f"{root}/{device}"
    if len(parts) == 2 and kind in (*_OF_CAMERAS, ANSWER):
        return kind, Place(own, own, device, UNNAMED)
    if len(parts) == 3 and parts[1] == SNAPSHOT and (kind not in _OF_CAMERAS or payload[:2] == b"\xff\xd8"):
        # The picture of an unnamed camera has its name in the topic, too.
        return SNAPSHOT, Place(f"{own}/{kind}", own, device, kind)
    if len(parts) == 3 and kind in _OF_CAMERAS:
        return kind, Place(f"{own}/{parts[1]}", own, device, parts[1])
    raise TopicError("no message of a device has such a topic")
