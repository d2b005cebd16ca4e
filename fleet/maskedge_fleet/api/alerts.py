"""Alerts of devices and of the fleet."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import func, select, update

from maskedge_fleet.access.audit import record
from maskedge_fleet.database.tables import Alert, Camera, Device, Site

from .core.access import Database, Operator, Viewer
from .core.errors import CONFLICT, NOT_FOUND
from .core.paging import Cursor, Limit, Page, is_before, make_page, read_cursor
from .core.parameters import Name

router = APIRouter(prefix="/alerts", tags=["alerts"])


class AlertRow(BaseModel):
    """An alert."""

    id: int
    rule: str
    source: Literal["device", "fleet"]
    subject: str
    device: str | None
    camera: str | None
    site: str | None
    since: datetime
    ended: datetime | None = Field(description="null while it is active")
    sentence: str
    details: dict[str, Any]
    acknowledged: datetime | None
    acknowledged_by: str


def alert_query() -> Any:
    """Return the query of alerts with the names of device, camera and site."""
    return (
        select(Alert, Device.name, Camera.name, Site.name)
        .outerjoin(Device, Device.id == Alert.device_id)
        .outerjoin(Camera, Camera.id == Alert.camera_id)
        .outerjoin(Site, Site.id == func.coalesce(Alert.site_id, Device.site_id))
    )


def alert_row(row: Any) -> dict[str, Any]:
    """Return an alert of `alert_query` as JSON types and times."""
    alert, device, camera, site = row
    names = ("id", "rule", "source", "subject", "since", "ended", "sentence", "details", "acknowledged", "acknowledged_by")
    return {**{name: getattr(alert, name) for name in names}, "device": device, "camera": camera, "site": site}


@router.get("", response_model=Page[AlertRow], summary="List alerts")
def read_alerts(
    session: Database,
    caller: Viewer,
    state: Literal["open", "active", "all"] = "active",
    device: Name = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Any:
    """Return alerts, the newest first. `open`: active and not acknowledged; `active`: not ended."""
    query = alert_query().order_by(Alert.since.desc(), Alert.id.desc())
    if state != "all":
        query = query.where(Alert.ended.is_(None))
    if state == "open":
        query = query.where(Alert.acknowledged.is_(None))
    if device is not None:
        query = query.where(Device.name == device)
    key = read_cursor(cursor, datetime, int)
    if key is not None:
        query = query.where(is_before(key, Alert.since, Alert.id))
    rows = session.execute(query.limit(limit + 1)).all()
    return make_page(rows, limit, alert_row, lambda row: (row[0].since, row[0].id))


@router.post("/{number}/acknowledge", response_model=AlertRow, responses={**NOT_FOUND, **CONFLICT}, summary="Acknowledge an alert")
def acknowledge(number: int, session: Database, caller: Operator) -> Any:
    """Record that someone takes care of an alert. It stays active until its cause ends."""
    number = number if 0 < number < 2**63 else 0
    # One statement, so that of two requests at the same time the first one counts.
    taken = (
        update(Alert)
        .where(Alert.id == number, Alert.acknowledged.is_(None))
        .values(acknowledged=datetime.now(timezone.utc), acknowledged_by=caller.name)
        .returning(Alert.id)
    )
    is_taken = session.scalar(taken) is not None
    row = session.execute(alert_query().where(Alert.id == number)).one_or_none()
    if row is None:
        raise HTTPException(404, "There is no alert of this number.")
    alert = row[0]
    if not is_taken:
        raise HTTPException(409, f"The alert was acknowledged by {alert.acknowledged_by} already.")
    record(session, caller, "alert.acknowledge", alert.subject, {"id": number, "rule": alert.rule})
    session.commit()
    return alert_row(row)
