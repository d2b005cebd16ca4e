"""Buckets of the calendar in a time zone. A day of daylight saving has 23 or 25 hours."""

from __future__ import annotations

import io
import os
import struct
import time
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from maskedge.errors import UsageError

BUCKETS = {"minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400, "month": 30 * 86400}
"""The buckets, the shortest first, and about how many seconds each has."""
MOST_BUCKETS = 2000
"""Maximum number of buckets of an answer."""
_GOOD_BUCKETS = 750
EARLIEST, LATEST = 0.0, 4102444800.0
"""Bounds of times in seconds since the epoch: the years 1970 to 2099."""
_LOCALTIME = Path("/etc/localtime")


def local_time_zone() -> tzinfo:
    """Return the time zone of the device: that of TZ, or of /etc/localtime, or UTC."""
    name = os.environ.get("TZ", "").removeprefix(":")
    try:
        if name and not name.startswith("/"):
            return ZoneInfo(name)
        path = Path(name) if name else _LOCALTIME
        key = str(path.resolve()).rpartition("/zoneinfo/")[2]
        with path.open("rb") as file:
            return ZoneInfo.from_file(file, key=key)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        return _zone_of_rule(name) if name else timezone.utc


def _zone_of_rule(rule: str) -> tzinfo:
    """Return the time zone of a rule of POSIX, such as `CET-1CEST,M3.5.0,M10.5.0/3`, which small systems have in TZ.

    A text that is no complete rule gives the present offset of the system, and an offset of a day or more gives UTC.
    """
    # The standard library reads a rule only at the end of a file of a zone (RFC 8536), here one without transitions.
    block = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + struct.pack(">lbB", 0, 0, 0) + b"UTC\0"
    try:
        zone: tzinfo = ZoneInfo.from_file(io.BytesIO(2 * block + f"\n{rule}\n".encode()), key=rule)
    except ValueError:
        zone = _zone_of_offset(time.localtime().tm_gmtoff)
    try:
        datetime.now(zone).utcoffset()
    except ValueError:
        return timezone.utc
    return zone


def _zone_of_offset(seconds: int) -> tzinfo:
    return timezone(timedelta(seconds=seconds)) if abs(seconds) < 86400 else timezone.utc


def choose_bucket(start: float, end: float) -> str:
    """Return the shortest bucket of which a range has not too many.

    Args:
        start: Seconds since the epoch.
        end: Seconds since the epoch.
    """
    return next((name for name, seconds in BUCKETS.items() if (end - start) / seconds <= _GOOD_BUCKETS), "month")


def bucket_edges(start: float, end: float, bucket: str, zone: tzinfo) -> list[int]:
    """Return the edges of the buckets that cover a range, in seconds since the epoch.

    Args:
        start: Seconds since the epoch. The first edge is at or before it.
        end: Seconds since the epoch. The last edge is at or after it.
        bucket: One of `BUCKETS`.
        zone: The time zone of days, weeks and months.

    Raises:
        UsageError: There is no such bucket, the range is reversed, or it has too many buckets.
    """
    if bucket not in BUCKETS:
        raise UsageError(f"bucket is one of {', '.join(BUCKETS)}.")
    if not EARLIEST <= start < end <= LATEST:
        raise UsageError("the range is empty or outside the years 1970 to 2099: give from before to.")
    if (end - start) / BUCKETS[bucket] > MOST_BUCKETS:
        raise UsageError(
            f"the range has over {MOST_BUCKETS} buckets of a {bucket}: give a shorter range, or a longer bucket "
            f"({choose_bucket(start, end)})."
        )
    edges = [_floor(start, bucket, zone)]
    while edges[-1] < end:
        edges.append(_next(edges[-1], bucket, zone))
    return edges


def _floor(moment: float, bucket: str, zone: tzinfo) -> int:
    if bucket == "minute":
        return int(moment // 60) * 60
    if bucket == "hour":
        shift = _offset(moment, zone) % 3600
        return int((moment + shift) // 3600) * 3600 - shift
    local = datetime.fromtimestamp(moment, zone)
    return _midnight(_first(local, bucket), zone)


def _first(local: datetime, bucket: str) -> datetime:
    """Return the first day of the bucket, without time zone."""
    day = datetime(local.year, local.month, local.day)
    if bucket == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if bucket == "month" else day


def _next(edge: int, bucket: str, zone: tzinfo) -> int:
    if bucket == "minute":
        return edge + 60
    if bucket == "hour":
        # In a zone whose daylight saving is half an hour, an hour of the change is shorter or longer.
        following = _floor(edge + 3600, bucket, zone)
        return following if following > edge else following + 3600
    # An edge may be an hour late where midnight does not exist: the date is that of noon.
    day = _first(datetime.fromtimestamp(edge + 43200, zone), bucket)
    if bucket == "month":
        return _midnight((day + timedelta(days=31)).replace(day=1), zone)
    return _midnight(day + timedelta(days=7 if bucket == "week" else 1), zone)


def _midnight(day: datetime, zone: tzinfo) -> int:
    return int(day.replace(tzinfo=zone).timestamp())


def _offset(moment: float, zone: tzinfo) -> int:
    offset = datetime.fromtimestamp(moment, zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0
