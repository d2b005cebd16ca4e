"""The fleet mode of the MQTT output: its section `[fleet]`, counts by minute, and confirmations."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from maskedge.errors import UsageError
from maskedge.history.records import Count
from maskedge.settings import check_settings, shown
from maskedge.support.text import read_json, utc

COMMANDS = ("reload", "restart", "snapshot", "privacy", "log_level", "update_model")
"""Commands that a device can allow. `update_model` allows `revert_model` as well."""
_LARGEST_CONFIRMATION = 65536
"""Maximum size of a confirmation in bytes."""
_MOST_ENTRIES = 500
"""Maximum number of counts that wait in memory while the spool is full. The oldest are lost."""


@dataclass(frozen=True)
class FleetConfig:
    """The section `[fleet]` (docs/fleet-device.md)."""

    enabled: bool = field(
        default=False,
        metadata={"help": "deliver events and statistics to a fleet: they wait in the spool until edge-fleet confirms them"},
    )
    commands: tuple[str, ...] = field(
        default=(), metadata={"help": f"commands of the fleet that this device takes, of {', '.join(COMMANDS)}; empty: none"}
    )
    trusted_keys: tuple[Path, ...] = field(
        default=(), metadata={"help": "public keys (PEM, Ed25519) whose signed commands are taken"}
    )

    def __post_init__(self) -> None:
        check_settings(self, "fleet")
        for name in self.commands:
            if name not in COMMANDS:
                raise UsageError(f"fleet.commands takes {', '.join(COMMANDS)}; got {shown(name)}.")
        if self.commands and not self.enabled:
            raise UsageError("fleet.commands needs the fleet mode: set [fleet] enabled = true, or remove the commands.")
        if self.commands and not self.trusted_keys:
            raise UsageError("fleet.commands needs the public key of the fleet: set [fleet] trusted_keys, or remove the commands.")


@dataclass(frozen=True)
class FleetMode:
    """What the MQTT output needs to know about the fleet.

    Attributes:
        instance: Random identity of this installation.
        commands: Commands that the device takes.
    """

    instance: str
    commands: Sequence[str] = ()


class _Place(NamedTuple):
    """The subject of the counts of a minute, in the order of time."""

    minute: int
    zone: str
    line: str
    direction: str


class _Amounts:
    """The counts of a minute."""

    def __init__(self) -> None:
        self.observed_s = 0.0
        self.face_s: dict[str, float] = {}
        self.people: dict[str, int] = {}


class MinuteCounts:
    """Adds up counts by minute until they are taken. Safe on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[_Place, _Amounts] = {}

    def add(self, time: float, counts: Iterable[Count]) -> None:
        """Add counts.

        Args:
            time: Their time in seconds since the epoch.
            counts: The counts.
        """
        minute = int(time // 60)
        with self._lock:
            for (_, zone, line, direction, label), seconds, people in counts:
                if not seconds and not people:
                    continue
                amounts = self._waiting.setdefault(_Place(minute, zone, line, direction), _Amounts())
                if not label:
                    amounts.observed_s += seconds
                    continue
                if seconds:
                    amounts.face_s[label] = amounts.face_s.get(label, 0.0) + seconds
                if people:
                    amounts.people[label] = amounts.people.get(label, 0) + people
            for place in sorted(self._waiting)[: max(0, len(self._waiting) - _MOST_ENTRIES)]:
                del self._waiting[place]

    def take(self) -> dict[_Place, _Amounts]:
        """Return the counts since the last call, and begin anew."""
        with self._lock:
            taken, self._waiting = self._waiting, {}
        return taken

    def put_back(self, taken: dict[_Place, _Amounts]) -> None:
        """Return counts that could not be stored. They are part of the next `take`."""
        with self._lock:
            newer, self._waiting = self._waiting, taken
            for place, amounts in newer.items():
                kept = self._waiting.setdefault(place, _Amounts())
                kept.observed_s += amounts.observed_s
                for label, seconds in amounts.face_s.items():
                    kept.face_s[label] = kept.face_s.get(label, 0.0) + seconds
                for label, people in amounts.people.items():
                    kept.people[label] = kept.people.get(label, 0) + people


def to_minutes(counts: dict[_Place, _Amounts]) -> list[dict[str, Any]]:
    """Return counts in JSON types, as in the key `minutes` of the statistics (docs/contracts.md)."""
    return [
        {
            "minute": utc(60.0 * place.minute).replace(".000Z", "Z"),
            "zone": place.zone,
            "line": place.line,
            "direction": place.direction,
            "observed_s": round(amounts.observed_s, 3),
            "face_s": {label: round(seconds, 3) for label, seconds in amounts.face_s.items()},
            "people": amounts.people,
        }
        for place, amounts in sorted(counts.items())
    ]


def read_confirmation(payload: bytes, spool: str) -> list[tuple[int, int]]:
    """Return the ranges of numbers that a message on the topic `received` confirms, both ends included.

    Args:
        payload: The message. One that is invalid or about another spool confirms nothing.
        spool: Identity of the spool.
    """
    if len(payload) > _LARGEST_CONFIRMATION:
        return []
    try:
        content = read_json(payload.decode())
    except ValueError:
        return []
    if not isinstance(content, dict) or content.get("spool") != spool or not isinstance(content.get("ranges"), list):
        return []
    return [
        (pair[0], pair[1])
        for pair in content["ranges"]
        if isinstance(pair, list) and len(pair) == 2 and all(type(number) is int for number in pair)
    ]


def check_fleet_topic(topic: str, *, named: bool) -> None:
    """Refuse a prefix that the server of a fleet would not find.

    Args:
        topic: Prefix of the camera.
        named: True for a named camera, whose name is the last level.

    Raises:
        UsageError: The prefix has another number of levels than ROOT/DEVICE.
    """
    levels = topic.split("/")
    if len(levels) != (3 if named else 2) or not all(levels):
        kept = "/".join(levels[:-1] if named else levels)
        raise UsageError(f"[fleet] needs an [mqtt] topic of two levels, such as maskedge/door, got {shown(kept)}.")
