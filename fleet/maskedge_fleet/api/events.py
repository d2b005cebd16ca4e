"""Events of cameras, the newest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from maskedge.support.text import to_json
from maskedge_fleet.database.tables import Camera, Device, Event

from .core.access import Database, ServerSettings, Viewer
from .core.csv_export import csv_response
from .core.paging import Cursor, Limit, Page, is_before, make_page, read_cursor
from .core.parameters import Name, TimeText, parse_range, parse_zone

router = APIRouter(tags=["events"])
_COLUMNS = ("time", "device", "camera", "event", "id", "received", "details")
_ROWS_OF_A_QUERY = 2000


class EventRow(BaseModel):
    """An event."""

    time: datetime = Field(description="When it happened, by the clock of the device")
    device: str
    camera: str
    event: str = Field(description="Kind of the event")
    id: str
    received: datetime
    details: dict[str, Any] = Field(description="The other keys of the event")


@router.get(
    "/events",
    response_model=Page[EventRow],
    responses={200: {"content": {"text/csv": {}}, "description": "The events, as JSON or CSV"}},
    summary="List events",
)
def read_events(
    request: Request,
    session: Database,
    caller: Viewer,
    settings: ServerSettings,
    device: Name = None,
    camera: Name = None,
    kind: Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$")] = None,
    start: Annotated[TimeText, Query(alias="from")] = None,
    end: Annotated[TimeText, Query(alias="to")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
    form: Annotated[Literal["json", "csv"], Query(alias="format", description="CSV has all events of the range")] = "json",
) -> Any:
    """Return events, the newest first."""
    first, last = parse_range(start, end, parse_zone(settings.server.time_zone), default=None)
    query = (
        select(Event, Device.name, Camera.name)
        .join(Camera, Camera.id == Event.camera_id)
        .join(Device, Device.id == Camera.device_id)
        .where(Event.time >= first, Event.time < last)
        .order_by(Event.time.desc(), Event.camera_id.desc(), Event.message_id.desc())
    )
    if device is not None or camera is not None:
        chosen = select(Camera.id).join(Device, Device.id == Camera.device_id)
        chosen = chosen.where(Device.name == device) if device is not None else chosen
        query = query.where(Event.camera_id.in_(chosen.where(Camera.name == camera) if camera is not None else chosen))
    if kind is not None:
        query = query.where(Event.kind == kind)
    if form == "csv":
        sessions: sessionmaker[Session] = request.app.state.sessions
        return csv_response("events", _COLUMNS, _lines(sessions, query))
    key = read_cursor(cursor, datetime, int, str)
    rows = session.execute(_after(query, key).limit(limit + 1)).all()
    return make_page(rows, limit, _row, _key)


def _after(query: Any, key: Sequence[Any] | None) -> Any:
    return query if key is None else query.where(is_before(key, Event.time, Event.camera_id, Event.message_id))


def _key(row: Any) -> tuple[Any, ...]:
    return row[0].time, row[0].camera_id, row[0].message_id


def _row(row: Any) -> dict[str, Any]:
    event, device, camera = row
    return {
        "time": event.time,
        "device": device,
        "camera": camera,
        "event": event.kind,
        "id": event.message_id,
        "received": event.received,
        "details": event.details,
    }


def _lines(sessions: sessionmaker[Session], query: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the lines of the CSV. Each part has a short read of its own, so that a slow client blocks nothing."""
    key = None
    while True:
        with sessions() as session:
            rows = session.execute(_after(query, key).limit(_ROWS_OF_A_QUERY)).all()
        for row in map(_row, rows):
            times = row["time"].isoformat(timespec="milliseconds"), row["received"].isoformat(timespec="milliseconds")
            yield times[0], row["device"], row["camera"], row["event"], row["id"], times[1], to_json(row["details"])
        if len(rows) < _ROWS_OF_A_QUERY:
            return
        key = _key(rows[-1])
