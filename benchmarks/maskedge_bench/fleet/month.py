"""A month of counts of many devices in PostgreSQL, and the time of the queries of the page."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskedge.system.host import host_state

from .load import Progress
from .stack import Stack

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

_SITES = 20
_ROUNDS = 20
_SUMS = ("observed_s", "masked_s", "unmasked_s", "incorrect_s", "other_s", "masked", "unmasked", "incorrect", "other")
_DEVICES = """
INSERT INTO site (name) SELECT 'site ' || lpad(n::text, 2, '0') FROM generate_series(1, %(sites)s) n;
INSERT INTO device (name, prefix, site_id, "group", note, online, created, seen, version, instance,
                    health, model, detector, commands, sequence)
SELECT 'device-' || lpad(n::text, 5, '0'), 'maskedge/device-' || lpad(n::text, 5, '0'),
       site.id, '', '', true, now(), now(), '0.1.0', '', '{"temperature_c": 51.2}', '{"sha256": "00", "release": 1}', '{}', '[]', 0
FROM generate_series(1, %(devices)s) n JOIN site ON site.name = 'site ' || lpad((n %% %(sites)s + 1)::text, 2, '0');
INSERT INTO camera (device_id, name, prefix, online, state, source, statistics, alerts)
SELECT id, 'camera', prefix, true, 'open', '0', '{}', '[]' FROM device;
INSERT INTO series (camera_id, zone, line, direction) SELECT id, '', '', '' FROM camera;
"""
_MINUTES = """
INSERT INTO minute_counts (start, series_id, observed_s, masked_s, unmasked_s, incorrect_s, other_s,
                           masked, unmasked, incorrect, other)
SELECT m, s.id, 60, x * 40, x * 12, x * 4, 0, (x * 5)::int, (x * 2)::int, (x * 0.6)::int, 0
FROM generate_series(%(start)s::timestamptz, %(end)s::timestamptz - interval '1 minute', interval '1 minute') m
CROSS JOIN series s
CROSS JOIN LATERAL (SELECT CASE WHEN extract(hour FROM m AT TIME ZONE 'UTC') BETWEEN 7 AND 21 THEN random() ELSE 0 END AS x
                    WHERE s.id IS NOT NULL) r
"""


def measure_month(devices: int, days: int, keep: Path | None, progress: Progress) -> dict[str, Any]:
    """Fill a database with the counts of a month, and time the queries of the API.

    Every device has one camera with the counts of the whole picture, in every minute.

    Args:
        devices: Number of devices.
        days: Days of the counts, up to now.
        keep: Folder in which files and logs are kept; None for a temporary one.
        progress: Called with the name of each step.

    Returns:
        Rows, gigabytes, seconds of the generation, and the time of each query in milliseconds.
    """
    before = host_state()
    with Stack(keep) as stack:
        started = time.monotonic()
        with stack.connect() as connection:
            _fill(connection, devices, days, progress)
            filled = time.monotonic() - started
            rows, size = connection.execute(
                "SELECT (SELECT count(*) FROM minute_counts), pg_database_size('fleet') / 1e9"
            ).fetchone() or (0, 0)
        token = stack.run("edge-fleet", "token", "create", "bench", "--role", "viewer", "--database", stack.url)
        stack.web.start()
        progress("queries")
        queries = [_time(stack.web_url, token, name, path, parameters) for name, path, parameters in _queries(days)]
    return {
        "devices": devices,
        "days": days,
        "minute_rows": int(rows),
        "gigabytes": round(float(size), 2),
        "fill_seconds": round(filled, 1),
        "load_before": before.get("load"),
        "queries": queries,
    }


def _fill(connection: Connection, devices: int, days: int, progress: Progress) -> None:
    end = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
    numbers = {"devices": devices, "sites": min(_SITES, devices)}
    for statement in _DEVICES.strip().split(";\n"):
        _execute(connection, statement.rstrip(";"), numbers)
    # Indexes are made once, after the rows.
    indexes = [
        (name, definition)
        for name, definition in connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'minute_counts' AND indexname NOT LIKE 'pk%'"
        )
    ]
    for name, _ in indexes:
        _execute(connection, f'DROP INDEX "{name}"')
    for day in range(days, 0, -1):
        progress(f"day {days - day + 1} of {days}")
        span = {"start": end - timedelta(days=day), "end": end - timedelta(days=day - 1)}
        _execute(connection, _MINUTES, span)
    progress("indexes and sums")
    for _, definition in indexes:
        _execute(connection, definition)
    sums = ", ".join(f"sum({name})" for name in _SUMS)
    for fine, coarse in (("minute", "hour"), ("hour", "day")):
        _execute(
            connection,
            f"INSERT INTO {coarse}_counts (start, series_id, {', '.join(_SUMS)}) "  # noqa: S608  (constants)
            f"SELECT date_trunc('{coarse}', start, 'UTC'), series_id, {sums} FROM {fine}_counts GROUP BY 1, 2",
        )
    _execute(connection, "ANALYZE")


def _execute(connection: Connection, statement: str, values: dict[str, Any] | None = None) -> None:
    connection.execute(statement.encode(), values)


def _queries(days: int) -> list[tuple[str, str, dict[str, str]]]:
    end = datetime.now(timezone.utc)
    month = {"from": (end - timedelta(days=days)).isoformat(), "to": end.isoformat()}
    day = {"from": (end - timedelta(days=1)).isoformat(), "to": end.isoformat()}
    return [
        ("a site's month by day", "counts", {"site": "site 01", "bucket": "day", **month}),
        ("a site's month by hour", "counts", {"site": "site 01", "bucket": "hour", **month}),
        ("a site's day by minute", "counts", {"site": "site 01", "bucket": "minute", **day}),
        ("every site's month by day", "counts", {"by": "site", "bucket": "day", **month}),
        ("a device's month by hour", "counts", {"device": "device-00001", "bucket": "hour", **month}),
        ("the list of all devices", "devices", {"limit": "1000"}),
        ("the sums of the fleet", "summary", {}),
        ("the sites with their shares", "sites", {}),
    ]


def _time(url: str, token: str, name: str, path: str, parameters: dict[str, str]) -> dict[str, Any]:
    address = f"{url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})  # noqa: S310  (loopback)
    times, size, rows = [], 0, 0
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
            content = answer.read()
        times.append(1000 * (time.perf_counter() - started))
        size = len(content)
        found = json.loads(content)
        rows = len(found.get("rows") or found.get("items") or [found])
    p50, p95 = np.percentile(times, (50, 95))
    return {
        "name": name,
        "rows": rows,
        "kilobytes": round(size / 1000, 1),
        "first_ms": round(times[0], 1),
        "p50_ms": round(float(p50), 1),
        "p95_ms": round(float(p95), 1),
    }
