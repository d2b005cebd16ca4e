"""Parsing and checking of messages. A message that is refused has a reason."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from maskedge.support.text import read_json, to_json
from maskedge_fleet.database.tables import COUNT_COLUMNS, LABEL_COLUMNS, LONGEST_NAME

from .topics import ALERTS, ANSWER, AVAILABILITY, EVENTS, SNAPSHOT, STATE, Place, split_topic

PROTOCOL = 1
"""Version of the messages, the optional key `protocol`."""
MAX_BYTES = 256 * 1024
"""Largest message in bytes."""
MAX_PICTURE_BYTES = 4 * 1024 * 1024
"""Largest snapshot in bytes."""
MAX_MINUTES = 20_000
KEPT_BYTES = 2000
"""Bytes of a refused message that are kept."""
EARLIEST = datetime(2020, 1, 1, tzinfo=timezone.utc)
"""Messages from before were sent with a wrong clock."""
FUTURE = timedelta(days=1)
"""How far the clock of a device may be ahead."""
_MOST_PEOPLE, _MOST_SECONDS = 1_000_000, 1e6
_MOST_LEVELS = 50
"""How deep a message may be nested. What reads it from the database later can take about 250 levels."""
_MOST_INTEGER = 2**63
_LARGE = re.compile(r"\d{19}|[eE]\+?\d{3}")
"""What a number has that may be too large. Most messages have none, and need no closer look."""
_ID = re.compile(r'^\s*\{\s*"id"\s*:\s*"([0-9a-f]{8}-[1-9][0-9]{0,17})"')
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""The escape of NUL, not after a backslash that is escaped itself."""
_SPOOLED = re.compile(r"([0-9a-f]{8})-([1-9][0-9]{0,17})")


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as it arrived.

    Attributes:
        topic: The topic.
        payload: Content. Of one that is too large, only the first bytes.
        size: Size of the whole payload in bytes.
        received: When it arrived.
        sent: When it was sent, in seconds since the epoch by the clock of the device; None if unknown.
        retained: The broker had kept it.
        repeated: The broker may have sent it before.
        number: Number for the acknowledgement; 0 if none is needed.
        connection: Number of the connection on which it arrived.
    """

    topic: str
    payload: bytes
    size: int
    received: datetime
    sent: float | None = None
    retained: bool = False
    repeated: bool = False
    number: int = 0
    connection: int = 0


@dataclass(frozen=True, slots=True)
class Minute:
    """Counts of a minute. `counts` has the columns of `COUNT_COLUMNS`, in this order."""

    start: datetime
    zone: str
    line: str
    direction: str
    counts: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A message that was checked.

    Attributes:
        raw: The message as it arrived.
        place: Its camera.
        kind: Kind of message (`topics`).
        content: Its JSON object; empty for others.
        time: When it was made, by the clock of the device; when it arrived if it has none.
        id: Its `id`; empty if it has none.
        minutes: Counts of minutes.
        is_duplicate: Of a state: two installations use the name of the device alternately.
    """

    raw: RawMessage
    place: Place
    kind: str
    content: Mapping[str, Any] = field(default_factory=dict)
    time: datetime = EARLIEST
    id: str = ""
    minutes: tuple[Minute, ...] = ()
    is_duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that was not accepted, its reason, and its `id` if it can be read."""

    raw: RawMessage
    reason: str
    id: str = ""
    place: Place | None = None


class _RefusedError(ValueError):
    pass


def spool_number(message_id: str) -> tuple[str, int] | None:
    """Return spool and number of a message that waits in a spool until it is confirmed; None for others."""
    match = _SPOOLED.fullmatch(message_id)
    return (match[1], int(match[2])) if match else None


class Parser:
    """Parses messages in the order of their arrival.

    Args:
        root: First part of all topics.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._instances: dict[str, tuple[str, str]] = {}

    def parse(self, raw: RawMessage) -> Parsed | Refused | None:
        """Parse and check a message (`parse_message`), and recognize two devices of one name."""
        parsed = parse_message(raw, self._root)
        if isinstance(parsed, Parsed) and parsed.kind == STATE and self._is_duplicate(parsed):
            return replace(parsed, is_duplicate=True)
        return parsed

    def _is_duplicate(self, state: Parsed) -> bool:
        """Return True if an installation is back after another one took its name.

        After a new installation, the old one does not come back.
        """
        instance, raw = state.content.get("instance") or "", state.raw
        newest, before = self._instances.get(state.place.prefix, ("", ""))
        # A retained state may be old, and one that the broker repeats was counted.
        if not instance or instance == newest or (newest and (raw.retained or raw.repeated)):
            return False
        self._instances[state.place.prefix] = instance, newest
        return bool(instance == before)


def parse_message(raw: RawMessage, root: str) -> Parsed | Refused | None:
    """Parse and check a message.

    Args:
        raw: The message.
        root: First part of all topics.

    Returns:
        The message; `Refused` with the reason; None for a message that does not concern the server.
    """
    place: Place | None = None
    try:
        kind, place = split_topic(raw.topic, root, raw.payload)
        if kind == AVAILABILITY:
            if raw.payload not in (b"online", b"offline", b""):
                raise _RefusedError("it is neither online nor offline")
            return Parsed(raw, place, kind) if raw.payload else None
        if kind == SNAPSHOT:
            return _picture(raw, place)
        if not raw.payload and kind == STATE:
            return None  # a retained state was cleared
        content = _object(raw)
        return _PARSERS.get(kind, _statistics)(raw, place, content)
    except (ValueError, RecursionError) as error:  # TopicError and _RefusedError among them
        if place is not None and place.camera == ALERTS:
            return None  # a topic of an alert, whose rule is named like a kind of message
        match = _ID.match(raw.payload[:100].decode("utf-8", "replace"))
        return Refused(raw, str(error), match[1] if match else "", place)


def _picture(raw: RawMessage, place: Place) -> Parsed:
    if raw.size > MAX_PICTURE_BYTES:
        raise _RefusedError(f"the picture has {raw.size} bytes: {MAX_PICTURE_BYTES} are allowed")
    if raw.payload[:3] != b"\xff\xd8\xff":
        raise _RefusedError("the picture is no JPEG file")
    return Parsed(raw, place, SNAPSHOT, time=raw.received)


def _object(raw: RawMessage) -> dict[str, Any]:
    if raw.size > MAX_BYTES:
        raise _RefusedError(f"it has {raw.size} bytes: {MAX_BYTES} are allowed")
    try:
        text = raw.payload.decode()
        content = read_json(text)
    except UnicodeDecodeError:
        raise _RefusedError("it is not UTF-8") from None
    except ValueError as error:
        raise _RefusedError(f"it is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise _RefusedError("it is not a JSON object")
    if "\\u0000" in text and _NUL.search(text):
        raise _RefusedError("a text contains the character NUL")
    if _LARGE.search(text) or text.count("[") + text.count("{") > _MOST_LEVELS:
        _check_values(content, 1)
    if "\\ud" in text.lower():
        content = read_json(to_json_text(content))  # lone surrogates
    if content.get("protocol", PROTOCOL) != PROTOCOL:
        raise _RefusedError(f"its protocol is {content['protocol']!r:.40}: this server knows {PROTOCOL}")
    checked: dict[str, Any] = content
    return checked


def _check_values(value: Any, level: int) -> None:
    """Refuse what JSON can express, but neither the database nor the API."""
    if isinstance(value, dict | list):
        if level > _MOST_LEVELS:
            raise _RefusedError(f"it is nested more than {_MOST_LEVELS} levels deep")
        for inner in value.values() if isinstance(value, dict) else value:
            _check_values(inner, level + 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _RefusedError("a number in it is too large")
    elif isinstance(value, int) and not -_MOST_INTEGER <= value < _MOST_INTEGER:
        raise _RefusedError("a number in it is too large")


def to_json_text(value: Any) -> str:
    """Return JSON that a database accepts. Lone surrogates, which stand for bytes of a file name, become `?`."""
    text = to_json(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "replace").decode()
    return text


def _text(content: Mapping[str, Any], key: str, most: int = LONGEST_NAME, default: str | None = None) -> str:
    value = content.get(key, default)
    if not isinstance(value, str):
        raise _RefusedError(f"{key} is not a text" if key in content else f"{key} is missing")
    if len(value) > most:
        raise _RefusedError(f"{key} has more than {most} characters")
    return value


def _number(value: Any, key: str, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _RefusedError(f"{key} is not a number")
    if not 0 <= value <= most:
        raise _RefusedError(f"{key} is not between 0 and {most:g}")
    return value


def _time(content: Mapping[str, Any], key: str, received: datetime) -> datetime:
    text = _text(content, key, 40)
    try:
        # Python 3.10 does not know the suffix Z.
        time = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    except ValueError:
        raise _RefusedError(f"{key} is not a time: {text!r}") from None
    if time.tzinfo is None:
        raise _RefusedError(f"{key} has no time zone: {text!r}")
    try:
        time = time.astimezone(timezone.utc)
    except (OverflowError, ValueError):
        raise _RefusedError(f"{key} is not a time: {text!r}") from None
    if not EARLIEST <= time <= received + FUTURE:
        raise _RefusedError(f"{key} is {text}: the clock of the device is wrong")
    return time


def _message_id(content: Mapping[str, Any]) -> str:
    message_id = _text(content, "id", 64)
    if not message_id or not message_id.isprintable():
        raise _RefusedError("id is empty, or contains a character that cannot be shown")
    return message_id


def _event(raw: RawMessage, place: Place, content: Mapping[str, Any]) -> Parsed:
    if not _text(content, "event", 64):
        raise _RefusedError("event is empty")
    return Parsed(raw, place, EVENTS, content, _time(content, "time", raw.received), _message_id(content))


def _statistics(raw: RawMessage, place: Place, content: Mapping[str, Any]) -> Parsed:
    if "id" not in content:
        return Parsed(raw, place, "statistics", content, raw.received)
    minutes = content.get("minutes", [])
    if not isinstance(minutes, list):
        raise _RefusedError("minutes is not a list")
    if len(minutes) > MAX_MINUTES:
        raise _RefusedError(f"minutes has {len(minutes)} items: {MAX_MINUTES} are allowed")
    time = _time(content, "time", raw.received)
    counted = tuple(_minute(entry, raw.received) for entry in minutes)
    return Parsed(raw, place, "statistics", content, time, _message_id(content), counted)


def _minute(entry: Any, received: datetime) -> Minute:
    if not isinstance(entry, dict):
        raise _RefusedError("an item of minutes is not an object")
    start = _time(entry, "minute", received).replace(second=0, microsecond=0)
    counts = dict.fromkeys(COUNT_COLUMNS, 0.0)
    counts["observed_s"] = _number(entry.get("observed_s", 0), "observed_s", _MOST_SECONDS)
    for key, suffix, most in (("face_s", "_s", _MOST_SECONDS), ("people", "", _MOST_PEOPLE)):
        values = entry.get(key, {})
        if not isinstance(values, dict):
            raise _RefusedError(f"{key} is not an object")
        for label, value in values.items():
            counts[LABEL_COLUMNS.get(label, "other") + suffix] += _number(value, key, most)
    direction = _text(entry, "direction", 8, default="")
    if direction not in ("", "in", "out"):
        raise _RefusedError("direction is not in or out")
    return Minute(
        start,
        _text(entry, "zone", default=""),
        _text(entry, "line", default=""),
        direction,
        tuple(counts.values()),
    )


def _state(raw: RawMessage, place: Place, content: Mapping[str, Any]) -> Parsed:
    for key, kind, name in (
        ("version", str, "a text"),
        ("instance", str, "a text"),
        ("model", dict, "an object"),
        ("detector_model", dict, "an object"),
        ("source", dict, "an object"),
        ("commands", list, "a list"),
        ("alerts", list, "a list"),
    ):
        if content.get(key) is not None and not isinstance(content[key], kind):
            raise _RefusedError(f"{key} is not {name}")
    for key in ("version", "instance"):
        _text({key: content.get(key) or ""}, key)
    source = content.get("source") or {}
    for key, most in (("state", 16), ("name", 4096)):
        _text({key: source.get(key) or ""}, key, most)
    if any(not isinstance(alert, dict) or not isinstance(alert.get("rule"), str) for alert in content.get("alerts") or ()):
        raise _RefusedError("an item of alerts has no rule")
    return Parsed(raw, place, STATE, content, raw.received)


def _answer(raw: RawMessage, place: Place, content: Mapping[str, Any]) -> Parsed:
    if _text(content, "status", 16) not in ("done", "refused", "failed", "progress"):
        raise _RefusedError("status is not done, refused, failed or progress")
    for key in ("stage", "sentence", "time"):
        if content.get(key) is not None and not isinstance(content[key], str):
            raise _RefusedError(f"{key} is not a text")
    return Parsed(raw, place, ANSWER, content, raw.received, _text(content, "id", 36))


def optional_time(value: Any, received: datetime) -> datetime | None:
    """Return a time of a message; None if it is missing or invalid."""
    try:
        return _time({"time": value}, "time", received)
    except _RefusedError:
        return None


_PARSERS = {EVENTS: _event, STATE: _state, ANSWER: _answer}
