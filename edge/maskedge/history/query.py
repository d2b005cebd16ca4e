"""Queries of the history: counts by bucket of the calendar, and events."""

from __future__ import annotations

import itertools
import json
import re
import sqlite3
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from maskedge.errors import OutputError, UsageError
from maskedge.support.text import utc

from .buckets import BUCKETS, EARLIEST, LATEST, bucket_edges, choose_bucket, local_time_zone
from .records import Series
from .schema import MINUTES, QUARTER, failure, open_reader, unpack

MASKED = "with_mask"
"""The label whose share is the compliance."""
_MASK_LABELS = frozenset({MASKED, "without_mask", "incorrect_mask"})
ALL = "*"
"""Zone or line that stands for all of them. No zone or line has this name."""
MOST_ROWS = 20_000
"""Maximum number of rows of an answer."""
MOST_EVENTS = 1000
DEFAULT_RANGE = 86400.0
_KEYS = ("camera", "zone", "line", "from", "to", "bucket", "format", "events")
_TIMEOUT = 5.0
"""Maximum time of a query in seconds."""


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """A query of the history.

    Attributes:
        start: Start in seconds since the epoch.
        end: End in seconds since the epoch.
        bucket: One of `BUCKETS`; empty for the shortest that suits the range.
        camera: Name of a camera; None for all.
        zone: Name of a zone, empty for the whole picture, `*` for all zones.
        line: Name of a line, empty for faces in view, `*` for all lines.
    """

    start: float
    end: float
    bucket: str = ""
    camera: str | None = None
    zone: str = ""
    line: str = ""


@dataclass(slots=True)
class _Sum:
    seconds: float = 0.0
    faces: dict[str, float] = field(default_factory=dict)
    people: dict[str, int] = field(default_factory=dict)


def parse_request(fields: Mapping[str, str], zone: tzinfo | None = None, *, now: float | None = None) -> HistoryRequest:
    """Parse the fields of a query.

    Args:
        fields: `camera`, `zone`, `line`, `from`, `to` and `bucket`, all optional. Times are ISO 8601
            or seconds since the epoch. By default, the range is the last 24 hours.
        zone: Time zone of times without an offset; None for that of the device.
        now: The present in seconds since the epoch; None for the clock.

    Raises:
        UsageError: A field is unknown or invalid.
    """
    unknown = sorted(fields.keys() - set(_KEYS))
    if unknown:
        raise UsageError(f"{unknown[0][:60]!r} is not a field of a query: the fields are {', '.join(_KEYS)}.")
    zone = zone or local_time_zone()
    end = _moment("to", fields["to"], zone) if fields.get("to") else time.time() if now is None else now
    start = _moment("from", fields["from"], zone) if fields.get("from") else end - DEFAULT_RANGE
    bucket = fields.get("bucket", "")
    if bucket and bucket not in BUCKETS:
        raise UsageError(f"bucket is one of {', '.join(BUCKETS)}.")
    return HistoryRequest(start, end, bucket, fields.get("camera") or None, fields.get("zone", ""), fields.get("line", ""))


def read_history(path: Path, request: HistoryRequest, zone: tzinfo | None = None) -> dict[str, Any]:
    """Return the counts of a range in JSON types (docs/contracts.md).

    Args:
        path: The file of the history.
        request: The query.
        zone: Time zone of the buckets; None for that of the device.

    Raises:
        OutputError: The file cannot be read.
        UsageError: The range has too many buckets, or the answer too many rows.
    """
    zone = zone or local_time_zone()
    bucket = request.bucket or choose_bucket(request.start, request.end)
    edges = bucket_edges(request.start, request.end, bucket, zone)
    with _reading(path) as base:
        known = _series(base)
        wanted = {number: series for number, series in known.items() if _is_wanted(series, request)}
        read = _minutes if bucket == "minute" else _quarters
        sums: dict[tuple[int, Series], _Sum] = {}
        observed: dict[tuple[int, str], float] = {}
        for place, number, tenths, people in read(base, edges, wanted):
            series = wanted[number]
            if not series.label:
                observed[place, series.camera] = observed.get((place, series.camera), 0.0) + tenths / 10
                continue
            one = sums.setdefault((place, series._replace(label="")), _Sum())
            one.faces[series.label] = one.faces.get(series.label, 0.0) + tenths / 10
            one.people[series.label] = one.people.get(series.label, 0) + people
            if len(sums) > MOST_ROWS:
                raise UsageError(
                    f"the answer has over {MOST_ROWS} rows: give a shorter range, a longer bucket, or one camera, zone or line."
                )
    # A place without a face in an observed bucket has a row of zeros. A bucket that nobody observed
    # has no row.
    places = sorted({series._replace(label="") for series in wanted.values() if series.label})
    if not (request.zone or request.line):
        places = sorted({*places, *(Series(camera) for _, camera in observed)})
    for (place, camera), seconds in observed.items():
        for series in places:
            if series.camera == camera:
                sums.setdefault((place, series), _Sum()).seconds = seconds
    if len(sums) > MOST_ROWS:
        raise UsageError(
            f"the answer has over {MOST_ROWS} rows: give a shorter range, a longer bucket, or one camera, zone or line."
        )
    labels = sorted({series.label for series in wanted.values() if series.label})
    return {
        "from": _iso(edges[0], zone),
        "to": _iso(edges[-1], zone),
        "bucket": bucket,
        "time_zone": str(getattr(zone, "key", None) or zone),
        "cameras": sorted({series.camera for series in known.values()}),
        "labels": labels,
        "rows": [
            _row(_iso(edges[place], zone), series, sums[place, series], labels)
            for place, series in sorted(sums, key=lambda key: (key[0], key[1]))
        ],
    }


def read_events(path: Path, request: HistoryRequest) -> dict[str, Any]:
    """Return the newest events of a range in JSON types, the oldest first (docs/contracts.md).

    Args:
        path: The file of the history.
        request: Range and camera.

    Raises:
        OutputError: The file cannot be read.
        UsageError: The range is reversed or too far from the present.
    """
    if not EARLIEST <= request.start < request.end <= LATEST:
        raise UsageError("the range is empty or outside the years 1970 to 2099: give from before to.")
    with _reading(path) as base:
        rows = base.execute(
            "SELECT event.time, camera.text, kind.text, details FROM event JOIN name AS camera ON camera.id = event.camera "
            "JOIN name AS kind ON kind.id = event.kind WHERE event.time >= :start AND event.time < :end "
            "AND (:camera IS NULL OR camera.text = :camera) ORDER BY event.time DESC, number DESC LIMIT :most",
            {
                "start": round(1000 * request.start),
                "end": round(1000 * request.end),
                "camera": request.camera,
                "most": MOST_EVENTS,
            },
        ).fetchall()
    return {
        "from": utc(request.start),
        "to": utc(request.end),
        "events": [
            {"event": kind, "camera": camera, "time": utc(moment / 1000), **json.loads(details)}
            for moment, camera, kind, details in reversed(rows)
        ],
    }


def share_masked(amounts: Mapping[str, float]) -> float | None:
    """Return the share of faces or people with a mask, 0 to 1; None without any, and for a model with other labels.

    Args:
        amounts: Amount by label.
    """
    total = sum(amounts.values())
    # A label that has never been counted is not in the file.
    return round(amounts.get(MASKED, 0.0) / total, 4) if total and _MASK_LABELS & amounts.keys() else None


def _row(moment: str, series: Series, amounts: _Sum, labels: Iterable[str]) -> dict[str, Any]:
    faces = {label: round(amounts.faces.get(label, 0.0), 1) for label in labels}
    people = {label: amounts.people.get(label, 0) for label in labels}
    return {
        "time": moment,
        "camera": series.camera,
        "zone": series.zone,
        "line": series.line,
        "direction": series.direction,
        "observed_s": round(amounts.seconds, 1),
        "face_s": faces,
        "people": people,
        # A line counts people and no time.
        "share_masked": share_masked(people if series.line else faces),
    }


def _is_wanted(series: Series, request: HistoryRequest) -> bool:
    if request.camera is not None and series.camera != request.camera:
        return False
    if not series.label:
        return True
    if bool(series.line) != bool(request.line):
        return False
    if request.line:
        return request.line in (ALL, series.line)
    return series.zone == request.zone or (request.zone == ALL and bool(series.zone))


def _quarters(base: sqlite3.Connection, edges: Sequence[int], wanted: Mapping[int, Series]) -> Iterator[tuple[int, int, int, int]]:
    """Yield bucket, series, tenths of a second and people."""
    for place, (start, end) in enumerate(itertools.pairwise(edges)):
        found = base.execute(
            "SELECT series, sum(tenths), sum(people) FROM quarter WHERE quarter >= ? AND quarter < ? GROUP BY series",
            (start // QUARTER, end // QUARTER),
        )
        for number, tenths, people in found:
            if number in wanted:
                yield place, number, tenths, people


def _minutes(base: sqlite3.Connection, edges: Sequence[int], wanted: Mapping[int, Series]) -> Iterator[tuple[int, int, int, int]]:
    """Yield minute, series, tenths of a second and people."""
    found = base.execute(
        "SELECT quarter, series, minutes FROM quarter WHERE quarter >= ? AND quarter <= ?",
        (edges[0] // QUARTER, edges[-1] // QUARTER),
    )
    for quarter, number, content in found:
        if number not in wanted:
            continue
        for minute, (tenths, people) in enumerate(unpack(content), quarter * MINUTES):
            place = bisect_right(edges, minute * 60) - 1
            if (tenths or people) and 0 <= place < len(edges) - 1:
                yield place, number, tenths, people


def _series(base: sqlite3.Connection) -> dict[int, Series]:
    names = dict(base.execute("SELECT id, text FROM name"))
    rows = base.execute("SELECT id, camera, zone, line, direction, label FROM series")
    return {number: Series(*(names[part] for part in parts)) for number, *parts in rows}


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file for one consistent and limited read."""
    base = open_reader(path)
    end = time.monotonic() + _TIMEOUT
    base.set_progress_handler(lambda: time.monotonic() > end, 1000)
    try:
        base.execute("BEGIN")
        yield base
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            raise UsageError(f"the query took over {_TIMEOUT:g} s: give a shorter range.") from error
        raise failure(path, error, "read") from error
    except (sqlite3.Error, KeyError, ValueError) as error:
        raise OutputError(f"the history {path} is damaged ({error}): move it away, and a new one is begun.") from error
    finally:
        base.close()


def names_of(path: Path) -> dict[str, list[str]]:
    """Return the names of which the history has counts, by `camera`, `zone` and `line`.

    Args:
        path: The file of the history.

    Raises:
        OutputError: The file cannot be read.
    """
    with _reading(path) as base:
        known = _series(base).values()
    return {kind: sorted({getattr(series, kind) for series in known} - {""}) for kind in ("camera", "zone", "line")}


def _moment(name: str, text: str, zone: tzinfo) -> float:
    text = text.strip()
    # Dates of ISO 8601 without hyphens. As seconds, they would be in 1970.
    if basic := re.fullmatch(r"(\d{4})(\d{2})(\d{2})", text):
        text = "-".join(basic.groups())
    try:
        try:
            moment = -1.0 if re.fullmatch(r"\d{4}", text) else float(text)
        except ValueError:
            local = datetime.fromisoformat(text.replace("Z", "+00:00"))
            moment = (local if local.tzinfo else local.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        moment = -1.0
    if not EARLIEST <= moment <= LATEST:
        raise UsageError(
            f"{name} is a time from 1970 to 2099, as 2026-01-31, 2026-01-31T12:00 or seconds since the epoch; got {text[:60]!r}."
        )
    return moment


def _iso(moment: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(moment, zone).isoformat(timespec="seconds")
