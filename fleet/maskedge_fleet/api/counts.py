"""Counts by bucket of the calendar."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from maskedge.errors import UsageError
from maskedge_fleet.queries.counts import LABELS, SUBJECTS, Amounts, Counts, Wanted, read_counts

from .core.access import Database, ServerSettings, Viewer
from .core.csv_export import csv_response
from .core.parameters import Name, TimeText, parse_range, parse_zone

router = APIRouter(tags=["counts"])
_COLUMNS = ("time", *SUBJECTS, "observed_s", "label", "face_s", "people", "share_masked")


class CountsRow(BaseModel):
    """Counts of a bucket."""

    time: datetime = Field(description="Start of the bucket, in the time zone of the answer")
    site: str | None = Field(None, description="Only if counts are divided by site; likewise the next ones")
    group: str | None = None
    device: str | None = None
    camera: str | None = None
    zone: str | None = None
    line: str | None = Field(None, description="Name and direction")
    observed_s: float = Field(description="Seconds observed, summed over the cameras")
    face_s: dict[str, float] = Field(description="Seconds in which faces were in view, summed over the faces, by label")
    people: dict[str, int] = Field(description="New people by label; of a line, people who crossed it")
    share_masked: float | None = Field(description="Share of masked faces (of a line: of masked people), 0 to 1; null without any")


class CountsAnswer(BaseModel):
    """Counts of a range. A bucket without counts has no row."""

    start: datetime = Field(alias="from", description="Start of the first bucket")
    end: datetime = Field(alias="to", description="End of the last bucket")
    bucket: str
    time_zone: str
    labels: list[str]
    rows: list[CountsRow]


@router.get(
    "/counts",
    response_model=CountsAnswer,
    responses={200: {"content": {"text/csv": {}}, "description": "The counts, as JSON or CSV"}},
    summary="Counts by bucket of the calendar",
)
def read(
    session: Database,
    caller: Viewer,
    settings: ServerSettings,
    site: Name = None,
    group: Name = None,
    device: Name = None,
    camera: Name = None,
    zone: Annotated[
        str, Query(max_length=200, pattern=r"^[^\x00]*$", description="A zone, or * for all; empty: whole pictures")
    ] = "",
    line: Annotated[
        str, Query(max_length=200, pattern=r"^[^\x00]*$", description="A line, or * for all; empty: faces in view")
    ] = "",
    start: Annotated[TimeText, Query(alias="from")] = None,
    end: Annotated[TimeText, Query(alias="to")] = None,
    bucket: Annotated[
        Literal["minute", "hour", "day", "week", "month"] | None, Query(description="Default: as suits the range")
    ] = None,
    by: Annotated[str, Query(max_length=100, description=f"Divide by any of {', '.join(SUBJECTS)}, with commas")] = "",
    tz: Annotated[str | None, Query(max_length=64, description="Time zone of buckets and of times without an offset")] = None,
    form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
) -> Any:
    """Return the sums of counts. The default range is the last 24 hours; the default time zone is the server's.

    Counts of hours and days include new minutes within some seconds (`retention.every_s`).
    """
    if zone and line:
        raise UsageError("give a zone or a line, not both.")
    place = parse_zone(tz or settings.server.time_zone)
    subjects = tuple(part.strip() for part in by.split(",") if part.strip())
    if any(name not in SUBJECTS for name in subjects) or len(set(subjects)) < len(subjects):
        raise UsageError(f"by is some of {', '.join(SUBJECTS)}, each once and with commas between them.")
    first, last = parse_range(start, end, place)
    wanted = Wanted(site, group, device, camera, zone, line)
    counts = read_counts(session, wanted, first, last, place, bucket=bucket or "", by=subjects, retention=settings.retention)
    rows = [
        _row(counts, moment, dict(zip(subjects, names, strict=True)), sums, line) for (moment, names), sums in counts.rows.items()
    ]
    if form == "csv":
        lines = (
            [*(row.get(name, "") for name in _COLUMNS[:-4]), label, row["face_s"][label], row["people"][label], row["share_masked"]]
            for row in rows
            for label in LABELS
        )
        return csv_response("counts", _COLUMNS, lines)
    # The rows have the types of the model already: checking 20,000 of them would take a second.
    return JSONResponse(
        {
            "from": _local(counts, counts.edges[0]),
            "to": _local(counts, counts.edges[-1]),
            "bucket": counts.bucket,
            "time_zone": str(place),
            "labels": list(LABELS),
            "rows": rows,
        }
    )


def _row(counts: Counts, moment: int, names: dict[str, str], sums: Amounts, line: str) -> dict[str, Any]:
    return {
        "time": _local(counts, moment),
        **names,
        "observed_s": round(sums.observed_s, 1),
        "face_s": {label: round(seconds, 1) for label, seconds in sums.face_s().items()},
        "people": sums.people(),
        # A line counts people and no time.
        "share_masked": sums.share(people=bool(line)),
    }


def _local(counts: Counts, moment: int) -> str:
    return datetime.fromtimestamp(moment, counts.zone).isoformat(timespec="seconds")
