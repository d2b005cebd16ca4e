"""Counts by bucket of the calendar in any time zone, from the tables of days, hours and minutes.

A bucket is divided into whole days in UTC, whole hours and minutes, so that few rows are read: a
month in Europe has 30 days and 24 hours. A time zone with an offset of half an hour needs minutes at
both ends of a bucket. Where the minutes are deleted already (`[retention]`), a bucket begins and
ends with an hour; where the hours are, with a day in UTC.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any

from sqlalchemy import ARRAY, BigInteger, ColumnElement, DateTime, Double, Float, and_, cast, func, literal, or_, select
from sqlalchemy.orm import Session

from maskedge.errors import UsageError
from maskedge.history.buckets import bucket_edges, choose_bucket
from maskedge.history.query import ALL
from maskedge_fleet.database.tables import (
    COUNT_COLUMNS,
    LABEL_COLUMNS,
    Camera,
    DayCounts,
    Device,
    HourCounts,
    MinuteCounts,
    Series,
    Site,
)
from maskedge_fleet.settings import RetentionConfig

SUBJECTS = ("site", "group", "device", "camera", "zone", "line")
"""Subjects by which counts can be divided."""
LABELS = (*LABEL_COLUMNS, "other")
MOST_ROWS = 20_000
"""Maximum number of rows of an answer."""
_TABLES = {86400: DayCounts, 3600: HourCounts, 60: MinuteCounts}
_RANGES_OF_A_QUERY = 100


@dataclass(frozen=True)
class Wanted:
    """The series whose counts are added up.

    Attributes:
        site: Name of a site; empty for devices without one; None for all.
        group: Name of a group; empty for devices without one; None for all.
        device: Name of a device; None for all.
        camera: Name of a camera; None for all.
        zone: Name of a zone; empty for the whole picture; `*` for all zones.
        line: Name of a line; empty for faces in view; `*` for all lines.
        devices: Numbers of devices (`Device.id`); empty for all.
    """

    site: str | None = None
    group: str | None = None
    device: str | None = None
    camera: str | None = None
    zone: str = ""
    line: str = ""
    devices: tuple[int, ...] = ()


@dataclass(slots=True)
class Amounts:
    """Sums of counts, one attribute per column of a table of counts."""

    observed_s: float = 0.0
    masked_s: float = 0.0
    unmasked_s: float = 0.0
    incorrect_s: float = 0.0
    other_s: float = 0.0
    masked: int = 0
    unmasked: int = 0
    incorrect: int = 0
    other: int = 0

    def add(self, row: Sequence[Any]) -> None:
        """Add values in the order of `COUNT_COLUMNS`."""
        for name, value in zip(COUNT_COLUMNS, row, strict=True):
            setattr(self, name, getattr(self, name) + value)

    def share(self, *, people: bool = False) -> float | None:
        """Return the share of faces (in seconds) or people with a mask, 0 to 1; None without any."""
        total = sum(self.people().values()) if people else sum(self.face_s().values())
        return round((self.masked if people else self.masked_s) / total, 4) if total > 0 else None

    def face_s(self) -> dict[str, float]:
        """Return the seconds of faces by label."""
        return dict(zip(LABELS, (self.masked_s, self.unmasked_s, self.incorrect_s, self.other_s), strict=True))

    def people(self) -> dict[str, int]:
        """Return the people by label."""
        return dict(zip(LABELS, (self.masked, self.unmasked, self.incorrect, self.other), strict=True))


@dataclass(frozen=True)
class Counts:
    """Counts by bucket and subject.

    Attributes:
        bucket: Name of the bucket.
        edges: Edges of the buckets in seconds since the epoch.
        zone: The time zone.
        rows: Sums by start of the bucket, in seconds since the epoch, and subject. A bucket without
            counts has no row.
    """

    bucket: str
    edges: list[int]
    zone: tzinfo
    rows: dict[tuple[int, tuple[str, ...]], Amounts]


def read_counts(
    session: Session,
    wanted: Wanted,
    start: datetime,
    end: datetime,
    zone: tzinfo,
    *,
    bucket: str = "",
    by: Sequence[str] = (),
    retention: RetentionConfig | None = None,
) -> Counts:
    """Return the counts of a range by bucket. The first and the last bucket are whole.

    Args:
        session: The database.
        wanted: The series.
        start: Start of the range.
        end: End of the range.
        zone: Time zone of the buckets.
        bucket: `minute`, `hour`, `day`, `week` or `month`; empty for the shortest that suits.
        by: Subjects with rows of their own, some of `SUBJECTS`.
        retention: How long minutes and hours are kept; None for ever.

    Raises:
        UsageError: The range has too many buckets, or the answer too many rows.
    """
    first, last = start.timestamp(), end.timestamp()
    bucket = bucket or choose_bucket(first, last)
    edges = bucket_edges(first, last, bucket, zone)
    rows: dict[tuple[int, tuple[str, ...]], Amounts] = {}
    exact = _exact_edges(edges, retention, datetime.now(timezone.utc).timestamp())
    for row in _read(session, wanted, exact, by):
        place, subject, amounts = row[0], tuple(row[1 : 1 + len(by)]), row[1 + len(by) :]
        rows.setdefault((edges[place], subject), Amounts()).add(amounts)
        if len(rows) > MOST_ROWS:
            raise UsageError(f"the answer has over {MOST_ROWS} rows: give a shorter range, a longer bucket, or fewer subjects.")
    return Counts(bucket, edges, zone, dict(sorted(rows.items())))


def total_counts(
    session: Session,
    start: datetime,
    end: datetime,
    *,
    by: Sequence[str],
    wanted: Wanted | None = None,
    retention: RetentionConfig | None = None,
) -> dict[tuple[str, ...], Amounts]:
    """Return the sums of a range by subject.

    Args:
        session: The database.
        start: Start of the range, a whole minute.
        end: End of the range, a whole minute.
        by: Some of `SUBJECTS`.
        wanted: The series; None for the whole pictures of all cameras.
        retention: How long minutes and hours are kept; None for ever.
    """
    sums: dict[tuple[str, ...], Amounts] = {}
    edges = [int(start.timestamp()), int(end.timestamp())]
    exact = _exact_edges(edges, retention, datetime.now(timezone.utc).timestamp())
    for row in _read(session, wanted or Wanted(), exact, by, each=False):
        sums.setdefault(tuple(row[: len(by)]), Amounts()).add(row[len(by) :])
    return sums


def _exact_edges(edges: list[int], retention: RetentionConfig | None, now: float) -> list[int]:
    """Return the edges at which rows can be divided, as far as minutes and hours are kept."""
    if retention is None:
        return edges
    minutes = now - retention.minutes_days * 86400 if retention.minutes_days else 0
    hours = now - retention.hours_days * 86400 if retention.hours_days else 0
    return [edge // 86400 * 86400 if edge < hours else edge // 3600 * 3600 if edge < minutes else edge for edge in edges]


def _pieces(edges: Sequence[int]) -> dict[int, list[tuple[int, int]]]:
    """Return the ranges to read of each table, by seconds of its rows. Neighbours are merged."""
    pieces: dict[int, list[tuple[int, int]]] = {size: [] for size in _TABLES}
    for start, end in itertools.pairwise(edges):
        for size, low, high in _divide(start, end, (86400, 3600, 60)):
            ranges = pieces[size]
            if ranges and ranges[-1][1] == low:
                ranges[-1] = (ranges[-1][0], high)
            else:
                ranges.append((low, high))
    return pieces


def _divide(start: int, end: int, sizes: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    size, *smaller = sizes
    low, high = -(-start // size) * size, end // size * size
    if low >= high:
        if smaller and start < end:
            yield from _divide(start, end, tuple(smaller))
        return
    if smaller:
        yield from _divide(start, low, tuple(smaller))
    yield size, low, high
    if smaller:
        yield from _divide(high, end, tuple(smaller))


def _read(session: Session, wanted: Wanted, edges: Sequence[int], by: Sequence[str], *, each: bool = True) -> Iterator[Any]:
    """Yield sums: the place of the bucket if `each`, from 0, then the subjects, then the columns."""
    in_database = session.get_bind().dialect.name == "postgresql"
    for size, ranges in _pieces(edges).items():
        for number in range(0, len(ranges), _RANGES_OF_A_QUERY):
            part = ranges[number : number + _RANGES_OF_A_QUERY]
            table: Any = _TABLES[size]
            bucket = None
            if each:
                bucket = func.width_bucket(table.start, _times(edges)) - 1 if in_database else table.start
            for row in session.execute(_query(table, part, wanted, by, bucket, by_series=in_database or not each)):
                if each and not in_database:
                    yield bisect_right(edges, row[0].timestamp()) - 1, *row[1:]
                else:
                    yield row


def _query(
    table: Any, ranges: Sequence[tuple[int, int]], wanted: Wanted, by: Sequence[str], bucket: Any, *, by_series: bool
) -> Any:
    """Return the query of one table.

    Args:
        table: The table of counts.
        ranges: Ranges of its rows.
        wanted: The series.
        by: The subjects.
        bucket: Expression of the bucket; None for sums of all ranges.
        by_series: Add up each series before the names of the subjects are joined. The join then has
            few rows, if buckets have many.
    """
    times = or_(*(and_(table.start >= _utc(low), table.start < _utc(high)) for low, high in ranges))
    inside = times, table.series_id.in_(_series(wanted))
    first = [] if bucket is None else [bucket.label("bucket")]
    if not by:
        query = select(*first, *(func.sum(getattr(table, name)) for name in COUNT_COLUMNS)).where(*inside)
        return query.group_by(*first) if first else query.having(func.count() > 0)
    columns = {
        "site": func.coalesce(Site.name, ""),
        "group": Device.group,
        "device": Device.name,
        "camera": Camera.name,
        "zone": Series.zone,
        "line": Series.line + literal(" ") + Series.direction,
    }
    if by_series:
        sums = (func.sum(getattr(table, name)).label(name) for name in COUNT_COLUMNS)
        inner = select(*first, table.series_id, *sums).where(*inside)
        rows = inner.group_by(*first, table.series_id).subquery().c
        first = [rows.bucket] if first else []
        query = select().select_from(Series).join(rows.series_id.table, rows.series_id == Series.id)
    else:
        rows = table
        query = select().select_from(table).join(Series, Series.id == table.series_id).where(*inside)
    keys = [*first, *(columns[name] for name in by)]
    query = query.join(Camera, Camera.id == Series.camera_id).join(Device, Device.id == Camera.device_id)
    query = query.outerjoin(Site, Site.id == Device.site_id)
    return query.add_columns(*keys, *(_sum_of_sums(getattr(rows, name)) for name in COUNT_COLUMNS)).group_by(*keys)


def _sum_of_sums(column: Any) -> Any:
    """Return a sum of the type of its column. PostgreSQL makes it `numeric` otherwise."""
    return cast(func.sum(column), Double() if isinstance(column.type, Float) else BigInteger())


def _times(edges: Sequence[int]) -> Any:
    return cast([_utc(edge) for edge in edges], ARRAY(DateTime(timezone=True)))


def _series(wanted: Wanted) -> Any:
    query: Any = select(Series.id)
    conditions: list[ColumnElement[bool]] = []
    if wanted.line:
        conditions.append(Series.line != "" if wanted.line == ALL else Series.line == wanted.line)
    else:
        conditions += [Series.line == "", Series.zone != "" if wanted.zone == ALL else Series.zone == wanted.zone]
    if (wanted.site, wanted.group, wanted.device, wanted.camera) != (None,) * 4 or wanted.devices:
        query = query.join(Camera, Camera.id == Series.camera_id).join(Device, Device.id == Camera.device_id)
    if wanted.site is not None:
        site = select(Site.id).where(Site.name == wanted.site).scalar_subquery()
        conditions.append(Device.site_id == site if wanted.site else Device.site_id.is_(None))
    if wanted.group is not None:
        conditions.append(Device.group == wanted.group)
    if wanted.device is not None:
        conditions.append(Device.name == wanted.device)
    if wanted.camera is not None:
        conditions.append(Camera.name == wanted.camera)
    if wanted.devices:
        conditions.append(Device.id.in_(wanted.devices))
    return query.where(*conditions)


def _utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def calendar_starts(zone: tzinfo, now: datetime) -> dict[str, datetime]:
    """Return the start of the day, week and month of a moment in a time zone, in UTC.

    Args:
        zone: The time zone.
        now: The moment.
    """
    moment = now.timestamp()
    return {name: _utc(bucket_edges(moment, moment + 1, name, zone)[0]) for name in ("day", "week", "month")}


def next_hour(now: datetime) -> datetime:
    """Return the end of the hour of a moment in UTC."""
    return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
