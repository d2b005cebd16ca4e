"""Settings of the upkeep: how long rows are kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta

from maskedge.errors import UsageError
from maskedge.settings import Range, check_settings

_DAYS = Range(1, 36_500)


@dataclass(frozen=True)
class UpkeepSettings:
    """Days for which rows are kept. Days of counts are kept for ever.

    Attributes:
        minutes: Counts of minutes.
        hours: Counts of hours.
        events: Events.
        statistics: Messages of statistics.
        alerts: Alerts that have ended.
        snapshots: Pictures that operators asked for.
        rejects: Messages that were refused.
        audit: Actions of tokens.
        every_s: Seconds between two roll-ups.

    Raises:
        UsageError: A number of days is out of bounds, or hours are kept for a shorter time than minutes.
    """

    minutes: float = field(default=90, metadata={"range": _DAYS})
    hours: float = field(default=3 * 365, metadata={"range": _DAYS})
    events: float = field(default=365, metadata={"range": _DAYS})
    statistics: float = field(default=7, metadata={"range": _DAYS})
    alerts: float = field(default=3 * 365, metadata={"range": _DAYS})
    snapshots: float = field(default=30, metadata={"range": _DAYS})
    rejects: float = field(default=30, metadata={"range": _DAYS})
    audit: float = field(default=3 * 365, metadata={"range": _DAYS})
    every_s: float = field(default=15.0, metadata={"range": Range(0.05, 3600)})

    def __post_init__(self) -> None:
        check_settings(self, "keep")
        if self.hours < self.minutes + 2:
            raise UsageError("hours are kept for at least two days more than minutes: change keep.hours or keep.minutes (--keep).")


KEPT = tuple(entry.name for entry in fields(UpkeepSettings) if entry.name != "every_s")
"""Kinds of rows whose days can be set."""


def parse_keep(values: Iterable[str]) -> UpkeepSettings:
    """Return the settings for values of the option `--keep`, such as `events=30`.

    Raises:
        UsageError: A value has another form, or is out of bounds.
    """
    days = {}
    for value in values:
        name, _, number = value.partition("=")
        try:
            days[name] = float(number)
        except ValueError:
            name = ""
        if name not in KEPT:
            raise UsageError(f"--keep takes KIND=DAYS, with one of {', '.join(KEPT)}; got {value!r:.80}.")
    return UpkeepSettings(**days)


def minutes_since(settings: UpkeepSettings, now: datetime) -> datetime:
    """Return the hour from which on all minutes are kept. Older hours are never summed again."""
    return (now - timedelta(days=settings.minutes)).replace(minute=0, second=0, microsecond=0)
