"""Measures of devices in a span of time: share of masked faces, latency, dropped frames, errors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from maskedge.events import OUTPUT_LOST, SOURCE_LOST
from maskedge_fleet.database.tables import Camera, Event, MinuteCounts, Series, Statistics

_ERRORS = (SOURCE_LOST, OUTPUT_LOST)
_MOST = 1e15


@dataclass
class Measures:
    """Measures of one or several devices. They are sums, so that devices can be added.

    Attributes:
        masked_s: Seconds of masked faces.
        faces_s: Seconds of faces with a known label.
        latency_ms: Sum of the latencies of the messages of statistics, in milliseconds.
        messages: Number of messages of statistics with a latency.
        captured, dropped: Numbers of frames.
        errors: Number of losses of a camera or an output.
        hours: Hours that the devices were measured.
    """

    masked_s: float = 0.0
    faces_s: float = 0.0
    latency_ms: float = 0.0
    messages: int = 0
    captured: int = 0
    dropped: int = 0
    errors: int = 0
    hours: float = 0.0

    def add(self, other: Measures) -> None:
        """Add the measures of other devices."""
        for entry in fields(self):
            setattr(self, entry.name, getattr(self, entry.name) + getattr(other, entry.name))

    @property
    def share(self) -> float | None:
        """Share of masked faces; None without faces."""
        return self.masked_s / self.faces_s if self.faces_s > 0 else None

    @property
    def latency(self) -> float | None:
        """Mean latency of a frame in milliseconds; None if unknown."""
        return self.latency_ms / self.messages if self.messages else None

    @property
    def dropped_share(self) -> float | None:
        """Share of dropped frames; None without frames."""
        return self.dropped / self.captured if self.captured else None

    @property
    def errors_per_hour(self) -> float | None:
        """Errors of a device in an hour; None if it was not measured."""
        return self.errors / self.hours if self.hours else None

    def to_json(self) -> dict[str, float | None]:
        """Return the figures, rounded."""
        figures = {
            "share": self.share,
            "face_s": self.faces_s,
            "latency_ms": self.latency,
            "dropped_share": self.dropped_share,
            "errors_per_hour": self.errors_per_hour,
        }
        return {name: None if value is None else round(value, 4) for name, value in figures.items()}


def sum_measures(measures: Mapping[int, Measures], devices: Iterable[int]) -> Measures:
    """Return the sum of the measures of some devices."""
    total = Measures()
    for device in devices:
        if device in measures:
            total.add(measures[device])
    return total


def measure(session: Session, devices: Collection[int], start: datetime, end: datetime) -> dict[int, Measures]:
    """Return the measures of each device from `start` to `end`.

    Args:
        session: The transaction.
        devices: Ids of the devices.
        start: Start of the span. Counts begin with the next full minute.
        end: End of the span.
    """
    found = {device: Measures(hours=max(0.0, (end - start).total_seconds()) / 3600) for device in devices}
    for part in _parts(devices):
        _add_faces(session, found, part, start, end)
        _add_statistics(session, found, part, start, end)
        _add_errors(session, found, part, start, end)
    return found


def _parts(devices: Collection[int], size: int = 500) -> Iterable[list[int]]:
    """Yield the ids in parts, since a statement has a maximum number of values."""
    ids = sorted(devices)
    for begin in range(0, len(ids), size):
        yield ids[begin : begin + size]


def _add_faces(session: Session, found: dict[int, Measures], part: list[int], start: datetime, end: datetime) -> None:
    known = MinuteCounts.masked_s + MinuteCounts.unmasked_s + MinuteCounts.incorrect_s
    query = (
        select(Camera.device_id, func.sum(MinuteCounts.masked_s), func.sum(known))
        .join(Series, Series.camera_id == Camera.id)
        .join(MinuteCounts, MinuteCounts.series_id == Series.id)
        .where(Camera.device_id.in_(part), Series.zone == "", Series.line == "")
        .where(MinuteCounts.start >= start, MinuteCounts.start < end)
        .group_by(Camera.device_id)
    )
    for device, masked, faces in session.execute(query):
        found[device].masked_s, found[device].faces_s = float(masked), float(faces)


def _add_statistics(session: Session, found: dict[int, Measures], part: list[int], start: datetime, end: datetime) -> None:
    content = Statistics.content
    dialect = session.get_bind().dialect.name
    latency = _number(content["rate", "latency_ms", "total", "p50"], dialect)
    captured, dropped = (_number(content["counters", name], dialect) for name in ("captured", "dropped"))
    run = content["started"].as_string()
    # The counters of a run rise from 0, so the frames of a span are the differences of each run.
    query = (
        select(
            Camera.device_id,
            func.count(latency),
            func.sum(latency),
            func.max(captured) - func.min(captured),
            func.max(dropped) - func.min(dropped),
        )
        .join(Statistics, Statistics.camera_id == Camera.id)
        .where(Camera.device_id.in_(part), Statistics.time >= start, Statistics.time < end)
        .group_by(Camera.device_id, Camera.id, run)
    )
    for device, messages, total, frames, lost in session.execute(query):
        own = found[device]
        own.messages += messages
        own.latency_ms += float(total or 0.0)
        own.captured += int(frames or 0)
        own.dropped += int(lost or 0)


def _number(value: Any, dialect: str) -> Any:
    """Return an expression of a number that a device has sent; NULL for a value that is none, or absurd.

    PostgreSQL would end the query at the first one that it cannot convert, and with it all roll-outs.
    """
    number = value.as_float()
    is_number = func.jsonb_typeof(value) == "number" if dialect == "postgresql" else func.json_type(value).in_(("integer", "real"))
    # Nested, because the parts of an AND are evaluated in any order.
    return case((is_number, case((number.between(0, _MOST), number))))


def _add_errors(session: Session, found: dict[int, Measures], part: list[int], start: datetime, end: datetime) -> None:
    query = (
        select(Camera.device_id, func.count())
        .join(Event, Event.camera_id == Camera.id)
        .where(Camera.device_id.in_(part), Event.kind.in_(_ERRORS), Event.time >= start, Event.time < end)
        .group_by(Camera.device_id)
    )
    for device, number in session.execute(query):
        found[device].errors = number
