"""Removes old rows, a few thousand at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import Engine, Table, delete, inspect, select, text, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from maskedge_fleet.database.engine import begin_write
from maskedge_fleet.database.tables import Alert, Audit, DayCounts, Event, HourCounts, MinuteCounts, Reject, Snapshot, Statistics
from maskedge_fleet.database.timescale import hypertables
from maskedge_fleet.settings import RetentionConfig

RETENTION_LOCK = 7308
"""PostgreSQL's lock that one process holds while it removes rows."""
ROWS_AT_ONCE = 5000
_PAUSE_S = 0.05
_FIRST = datetime(1970, 1, 1, tzinfo=timezone.utc)


def minutes_since(settings: RetentionConfig, now: datetime) -> datetime:
    """Return the hour from which on all minutes are kept. Older hours are never summed again."""
    if not settings.minutes_days:
        return _FIRST
    return (now - timedelta(days=settings.minutes_days)).replace(minute=0, second=0, microsecond=0)


def _limits(settings: RetentionConfig, now: datetime) -> Iterator[tuple[InstrumentedAttribute[Any], datetime]]:
    """Yield columns of times, and the time before which rows are removed."""
    for column, days in (
        (Event.time, settings.events_days),
        (Statistics.time, settings.statistics_days),
        (HourCounts.start, settings.hours_days),
        (DayCounts.start, settings.days_days),
        (Alert.ended, settings.alerts_days),
        (Snapshot.time, settings.snapshots_days),
        (Reject.received, settings.rejects_days),
        (Audit.time, settings.audit_days),
    ):
        if days:
            yield column, now - timedelta(days=days)
    if settings.minutes_days:
        # A day later, so that the last changes of an hour are in its sum.
        yield MinuteCounts.start, minutes_since(settings, now) - timedelta(days=1)


def remove_old_rows(engine: Engine, settings: RetentionConfig, now: datetime, stop: threading.Event) -> int:
    """Remove rows that are older than the settings allow.

    Args:
        engine: The database.
        settings: How long rows are kept.
        now: The time.
        stop: Ends the work early.

    Returns:
        Number of rows that were removed, without those of TimescaleDB.
    """
    divided = hypertables(engine)
    removed = 0
    for column, limit in _limits(settings, now):
        table = inspect(column.class_).local_table
        assert isinstance(table, Table)  # noqa: S101  (each class is a table)
        if table.name in divided:
            with begin_write(engine) as connection:
                connection.execute(
                    text("SELECT drop_chunks(CAST(:table AS regclass), :limit)"), {"table": table.name, "limit": limit}
                )
            continue
        while not stop.is_set():
            count = _remove(engine, table, column, limit)
            removed += count
            if count < ROWS_AT_ONCE:
                break
            # Other programs write in between.
            stop.wait(_PAUSE_S)
    return removed


def _remove(engine: Engine, table: Table, column: InstrumentedAttribute[Any], limit: datetime) -> int:
    key = tuple_(*table.primary_key.columns)
    oldest = select(*table.primary_key.columns).where(column < limit).order_by(column).limit(ROWS_AT_ONCE)
    with begin_write(engine) as connection:
        if engine.dialect.name == "postgresql" and not connection.scalar(
            text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": RETENTION_LOCK}
        ):
            return 0
        return connection.execute(delete(table).where(key.in_(oldest))).rowcount
