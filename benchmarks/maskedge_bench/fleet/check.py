"""Comparison of a simulation's record with the database, message by message."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

_IDS = "SELECT message_id FROM event UNION ALL SELECT message_id FROM statistics"
_DELAYS = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - time)::float FROM event WHERE time BETWEEN %s AND %s
UNION ALL
SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - time)::float FROM statistics WHERE time BETWEEN %s AND %s
"""
_PEOPLE = """
SELECT coalesce(sum(masked), 0), coalesce(sum(unmasked), 0), coalesce(sum(incorrect), 0)
FROM minute_counts JOIN series ON series.id = series_id WHERE zone = '' AND line = ''
"""
_LABELS = ("with_mask", "without_mask", "incorrect_mask")
_SETTLE_S = 60.0


def compare(connection: Connection, record: Path) -> dict[str, Any]:
    """Compare every message of a record with the rows of the database.

    Messages that the fleet had not confirmed at the end are still in the spools of the devices. They
    count as `left` if they are not in the database, not as lost.

    Args:
        connection: The database.
        record: The record of `edge-fleet simulate`.

    Returns:
        Numbers of messages: `messages`, `events`, `lost`, `doubled`, `left`, `wrong_kinds` (events
        that are missing or too many of a kind), `people_off` (difference of the sum of new people in
        the counts of minutes).
    """
    content = json.loads(record.read_text(encoding="utf-8"))
    expected, unconfirmed = set(), set()
    for device in content["devices"].values():
        expected |= {f"{device['spool']}-{number}" for number in range(1, device["last"] + 1)}
        unconfirmed |= {f"{device['spool']}-{number}" for number in device["unconfirmed"]}
    end = time.monotonic() + _SETTLE_S
    while True:
        rows = [message for (message,) in connection.execute(_IDS.encode())]
        stored = set(rows)
        if expected <= stored or time.monotonic() > end:
            break
        time.sleep(1.0)
    missing = expected - stored
    left = len(missing & unconfirmed)
    kinds: dict[str, int] = dict(connection.execute(b"SELECT kind, count(*) FROM event GROUP BY kind").fetchall())
    people = connection.execute(_PEOPLE.encode()).fetchone() or ()
    counted = sum(abs(have - content["people"].get(label, 0)) for label, have in zip(_LABELS, people, strict=True))
    return {
        "messages": len(expected),
        "events": sum(content["events"].values()),
        "lost": len(missing - unconfirmed),
        "left": left,
        "doubled": len(rows) - len(stored) + len(stored - expected),
        "wrong_kinds": _difference(kinds, content["events"]),
        "people_off": int(counted),
    }


def _difference(one: Mapping[str, int], other: Mapping[str, int]) -> int:
    return sum(abs(one.get(kind, 0) - other.get(kind, 0)) for kind in one.keys() | other.keys())


def row_sizes(connection: Connection) -> dict[str, float]:
    """Return the bytes of a row of `event` and `statistics`, with its part of the indexes."""
    sizes = {}
    for table in ("event", "statistics"):
        query = f"SELECT pg_total_relation_size('{table}')::float / greatest(count(*), 1) FROM {table}"  # noqa: S608  (constants)
        row = connection.execute(query.encode()).fetchone()
        sizes[table] = round(float(row[0]), 1) if row else 0.0
    return sizes


def delays(connection: Connection, start: float, end: float) -> dict[str, float]:
    """Return how long messages took from the device to the commit of their row, in seconds.

    Args:
        connection: The database.
        start: Time of the first message, in seconds since the epoch.
        end: Time of the last one.
    """
    span = [f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(moment))}+00" for moment in (start, end)]
    values = [value for (value,) in connection.execute(_DELAYS.encode(), [*span, *span]) if value is not None]
    if not values:
        return {"p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}
    figures = np.percentile(values, (50, 95, 99, 100))
    return {name: round(float(value), 3) for name, value in zip(("p50", "p95", "p99", "max"), figures, strict=True)}
