"""Sums minutes to hours, and hours to days. A sum is computed anew whenever its parts have changed."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Engine, delete, select, text, tuple_

from maskedge_fleet.database.engine import begin_write
from maskedge_fleet.database.tables import COUNT_COLUMNS, StaleHour
from maskedge_fleet.ingest.bulk import Bulk

ROLLUP_LOCK = 7307
"""PostgreSQL's lock that one process holds while it sums."""
HOURS_AT_ONCE = 1000
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_MOST_PEOPLE = 2**31 - 1
"""Largest number of people in an hour or a day."""


def _sum(target: str, source: str) -> Bulk:
    """Return a statement that sums rows of `source` in spans of time (series, start, end)."""
    names = ", ".join(f'"{name}"' for name in COUNT_COLUMNS)
    every = {name: f'sum(m."{name}")' for name in COUNT_COLUMNS}
    sums = ", ".join(every.values())
    # PostgreSQL's integers end there. Absurd counts of one device must not hold up the sums of the others.
    bounded = ", ".join(one if name.endswith("_s") else f"least({one}, {_MOST_PEOPLE})" for name, one in every.items())
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in COUNT_COLUMNS)
    conflict = f"ON CONFLICT (start, series_id) DO UPDATE SET {changes}"
    insert = f"INSERT INTO {target} (series_id, start, {names})"
    return Bulk(
        {"series_id": "integer", "start": "timestamptz", "stop": "timestamptz"},
        f"{insert} SELECT r.series_id, r.start, {bounded} FROM {{rows}} JOIN {source} AS m "  # noqa: S608  (names of this program)
        f"ON m.series_id = r.series_id AND m.start >= r.start AND m.start < r.stop GROUP BY r.series_id, r.start {conflict}",
        f"{insert} SELECT :series_id, :start, {sums} FROM {source} AS m "  # noqa: S608
        f"WHERE m.series_id = :series_id AND m.start >= :start AND m.start < :stop GROUP BY m.series_id {conflict}",
    )


_HOURS = _sum("hour_counts", "minute_counts")
_DAYS = _sum("day_counts", "hour_counts")


def roll_up(engine: Engine, since: datetime) -> int:
    """Sum hours whose minutes have changed, and their days. The newest are first.

    Several processes may call it: one of them works, the others return at once.

    Args:
        engine: The database.
        since: Hours before this time keep their sums, because their minutes are no longer complete.

    Returns:
        Number of hours that were looked at; fewer than `HOURS_AT_ONCE` if none is left.
    """
    with begin_write(engine) as connection:
        if engine.dialect.name == "postgresql" and not connection.scalar(
            text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": ROLLUP_LOCK}
        ):
            return 0
        # An hour that the ingest is changing is left for the next time.
        stale = connection.execute(
            select(StaleHour.series_id, StaleHour.start)
            .order_by(StaleHour.start.desc(), StaleHour.series_id)
            .limit(HOURS_AT_ONCE)
            .with_for_update(skip_locked=True)
        ).all()
        if not stale:
            return 0
        keys = [(row.series_id, row.start) for row in stale]
        connection.execute(delete(StaleHour).where(tuple_(StaleHour.series_id, StaleHour.start).in_(keys)))
        hours = sorted(key for key in keys if key[1] >= since)
        _HOURS.run(connection, [(series, start, start + _HOUR) for series, start in hours])
        days = sorted({(series, start.replace(hour=0)) for series, start in hours})
        _DAYS.run(connection, [(series, start, start + _DAY) for series, start in days])
    return len(stale)
