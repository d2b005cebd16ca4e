"""Parameters that several endpoints share: names, times and time zones."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Path, Query

from maskedge.errors import UsageError
from maskedge.history.buckets import EARLIEST, LATEST
from maskedge.settings import shown
from maskedge_fleet.database.tables import LONGEST_NAME

# PostgreSQL has no text with NUL.
Name = Annotated[str | None, Query(max_length=LONGEST_NAME, pattern=r"^[^\x00]*$")]
PathName = Annotated[str, Path(max_length=LONGEST_NAME, pattern=r"^[^\x00]+$")]
TimeText = Annotated[
    str | None, Query(max_length=64, description="ISO 8601, such as 2026-01-31 or 2026-01-31T12:00Z, or seconds since the epoch")
]


def parse_zone(name: str) -> tzinfo:
    """Return a time zone by its name.

    Raises:
        UsageError: There is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise UsageError(f"there is no time zone {shown(name)}: give a name such as Europe/Berlin or UTC.") from None


def parse_time(name: str, text: str, zone: tzinfo) -> datetime:
    """Return a time in UTC.

    Args:
        name: Name of the parameter, for messages.
        text: ISO 8601, or seconds since the epoch.
        zone: Time zone of a time without an offset.

    Raises:
        UsageError: It is not a time from 1970 to 2099.
    """
    try:
        try:
            moment = float(text)
        except ValueError:
            # A blank is the `+` of an offset that was not encoded.
            local = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace(" ", "+" if "T" in text else " "))
            moment = (local if local.tzinfo else local.replace(tzinfo=zone)).timestamp()
        if EARLIEST <= moment <= LATEST:
            return datetime.fromtimestamp(moment, timezone.utc)
    except (ValueError, OverflowError):
        pass
    raise UsageError(
        f"{name} is a time from 1970 to 2099, as 2026-01-31, 2026-01-31T12:00 or seconds since the epoch; got {shown(text)}."
    )


def parse_range(
    start: str | None, end: str | None, zone: tzinfo, *, default: timedelta | None = timedelta(days=1)
) -> tuple[datetime, datetime]:
    """Return the range of the parameters `from` and `to`.

    Args:
        start: The start; None for `default` before the end, or for 1970.
        end: The end; None for now.
        zone: Time zone of times without an offset.
        default: Length of a range without a start; None for no limit.

    Raises:
        UsageError: A time is not valid, or the start is not before the end.
    """
    last = parse_time("to", end, zone) if end else datetime.now(timezone.utc)
    earliest = datetime.fromtimestamp(EARLIEST, timezone.utc)
    first = parse_time("from", start, zone) if start else earliest if default is None else max(last - default, earliest)
    if first >= last:
        raise UsageError("the range is empty: give from before to.")
    return first, last
