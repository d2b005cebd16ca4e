"""Devices: the list, each in full, and changes of site, group and note."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from maskedge.settings import check_name
from maskedge_fleet.access.audit import record
from maskedge_fleet.database.tables import LONGEST_NAME, Camera, Device, Site, Snapshot
from maskedge_fleet.queries.devices import list_devices, name_contains, state_is, summarise
from maskedge_fleet.settings import Settings

from .core.access import Admin, Database, Operator, ServerSettings, Viewer
from .core.errors import CONFLICT, NOT_FOUND
from .core.paging import Cursor, Limit, Page, read_cursor, write_cursor
from .core.parameters import Name, PathName, parse_zone

router = APIRouter(tags=["devices"])
State = Literal["online", "lost", "offline"]


class CameraState(BaseModel):
    """A camera in the list of devices."""

    name: str
    state: str = Field(description="State of its source: opening, open, lost or ended; empty if unknown")
    online: bool = Field(description="Its connection to the broker")


class ModelState(BaseModel):
    """The classifier of a device."""

    file: str | None
    sha256: str | None
    release: int | None


class DeviceRow(BaseModel):
    """A device in the list."""

    name: str
    site: str = Field(description="Name of its site; empty for none")
    group: str = Field(description="Name of its group; empty for none")
    note: str
    state: State = Field(description="lost: online, but a camera delivers no frames")
    online: bool
    seen: datetime | None = Field(description="When its last message arrived")
    version: str
    model: ModelState
    temperature_c: float | None
    cameras: list[CameraState]
    alerts: int = Field(description="Number of active alerts")
    share_today: float | None = Field(description="Share of masked faces since midnight, 0 to 1; null without faces")


class FullCamera(BaseModel):
    """A camera of a device."""

    name: str
    prefix: str = Field(description="Prefix of its topics")
    online: bool
    state: str
    since: datetime | None
    source: str
    seen: datetime | None
    statistics: dict[str, Any] = Field(description="The newest statistics of the device")
    statistics_time: datetime | None
    alerts: list[Any] = Field(description="Active alerts, as the device reports them")
    snapshot: datetime | None = Field(description="Time of its last picture; null for none")


class FullDevice(DeviceRow):
    """A device in full."""

    prefix: str = Field(description="Prefix of its topics")
    created: datetime
    instance: str = Field(description="Identity of its installation")
    duplicate_seen: datetime | None = Field(description="When two installations last used its name at the same time")
    clock_offset_s: float | None = Field(description="Seconds that its clock is behind the server's")
    health: dict[str, Any]
    model_details: dict[str, Any] = Field(description="All that the device reports about its model")
    detector: dict[str, Any] = Field(description="All that the device reports about its face detector")
    commands: list[Any] = Field(description="Commands that the device allows")
    full_cameras: list[FullCamera]


class DeviceChange(BaseModel, extra="forbid"):
    """Values to change. Others remain."""

    site: str | None = Field(None, max_length=LONGEST_NAME, description="Name of a site; empty for none")
    group: str | None = Field(None, max_length=LONGEST_NAME, description="Name of a group; empty for none")
    note: str | None = Field(None, max_length=4096)


class DeviceCounts(BaseModel):
    """Number of devices by state."""

    total: int
    online: int
    lost: int
    offline: int


class CameraCounts(BaseModel):
    """Number of cameras."""

    total: int
    lost: int


class AlertCounts(BaseModel):
    """Number of alerts."""

    active: int
    open: int = Field(description="Active and not acknowledged")


class Summary(BaseModel):
    """The fleet at a glance."""

    devices: DeviceCounts
    cameras: CameraCounts
    alerts: AlertCounts
    share_today: float | None = Field(description="Share of masked faces since midnight, 0 to 1; null without faces")
    time: datetime


@router.get("/summary", response_model=Summary, summary="The fleet at a glance")
def read_summary(session: Database, caller: Viewer, settings: ServerSettings) -> Any:
    """Return the number of devices by state, lost cameras, open alerts and today's share of masked faces."""
    return summarise(session, parse_zone(settings.server.time_zone))


@router.get("/devices", response_model=Page[DeviceRow], summary="List devices")
def read_devices(
    session: Database,
    caller: Viewer,
    settings: ServerSettings,
    site: Name = None,
    group: Name = None,
    state: State | None = None,
    q: Annotated[
        str | None, Query(max_length=100, pattern=r"^[^\x00]*$", description="Part of a name, site, group or note")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 200,
) -> Any:
    """Return devices in the order of their names. An empty site or group selects devices without one."""
    conditions = []
    if site is not None:
        wanted = select(Site.id).where(Site.name == site).scalar_subquery()
        conditions.append(Device.site_id == wanted if site else Device.site_id.is_(None))
    if group is not None:
        conditions.append(Device.group == group)
    if state is not None:
        conditions.append(state_is(state))
    if q:
        conditions.append(name_contains(q))
    key = read_cursor(cursor, str)
    if key is not None:
        conditions.append(Device.name > key[0])
    rows = list_devices(session, parse_zone(settings.server.time_zone), conditions, limit=limit + 1)
    return {"items": rows[:limit], "next": write_cursor(rows[limit - 1]["name"]) if len(rows) > limit else None}


@router.get("/devices/{name}", response_model=FullDevice, responses=NOT_FOUND, summary="A device in full")
def read_device(name: PathName, session: Database, caller: Viewer, settings: ServerSettings) -> Any:
    """Return a device with its cameras and their newest statistics."""
    device = get_device(session, name)
    row = _row(session, device, settings)
    cameras = session.execute(
        select(Camera, Snapshot.time)
        .outerjoin(Snapshot, Snapshot.camera_id == Camera.id)
        .where(Camera.device_id == device.id)
        .order_by(Camera.name)
    ).all()
    names = ("prefix", "created", "instance", "duplicate_seen", "clock_offset_s", "health", "detector", "commands")
    parts = ("name", "prefix", "online", "state", "since", "source", "seen", "statistics", "statistics_time", "alerts")
    return {
        **row,
        **{name: getattr(device, name) for name in names},
        "model_details": device.model,
        "full_cameras": [{**{part: getattr(camera, part) for part in parts}, "snapshot": time} for camera, time in cameras],
    }


@router.patch(
    "/devices/{name}", response_model=DeviceRow, responses={**NOT_FOUND, **CONFLICT}, summary="Change site, group or note"
)
def change_device(name: PathName, change: DeviceChange, session: Database, caller: Operator, settings: ServerSettings) -> Any:
    """Move a device to a site or group, or change its note."""
    device = get_device(session, name)
    given = {key: value for key, value in change.model_dump(exclude_unset=True).items() if value is not None}
    if "site" in given:
        device.site_id = _find_site(session, given["site"]) if given["site"] else None
    if "group" in given:
        device.group = check_name(given["group"], "group") if given["group"] else ""
    if "note" in given:
        device.note = given["note"].replace("\0", "")
    record(session, caller, "device.change", name, given)
    session.commit()
    return _row(session, device, settings)


@router.delete("/devices/{name}", status_code=204, responses=NOT_FOUND, summary="Delete a device with all its data")
def delete_device(name: PathName, session: Database, caller: Admin) -> Response:
    """Delete a device, its counts, events and alerts. If it still sends, its next message creates it again."""
    if session.scalar(delete(Device).where(Device.name == name).returning(Device.id)) is None:
        raise _missing()
    record(session, caller, "device.delete", name)
    session.commit()
    return Response(status_code=204)


@router.get(
    "/cameras/{device}/{camera}/snapshot",
    response_class=Response,
    responses={**NOT_FOUND, 200: {"content": {"image/jpeg": {}}, "description": "The picture"}},
    summary="The last picture of a camera",
)
def read_snapshot(device: PathName, camera: PathName, session: Database, caller: Operator) -> Response:
    """Return the picture that the last command `snapshot` brought, as JPEG. Each request is in the audit log."""
    query = select(Snapshot).join(Camera, Camera.id == Snapshot.camera_id).join(Device, Device.id == Camera.device_id)
    snapshot = session.scalar(query.where(Device.name == device, Camera.name == camera))
    if snapshot is None:
        raise HTTPException(404, "There is no picture of this camera: send the device the command snapshot.")
    record(session, caller, "snapshot.view", f"{device}/{camera}")
    session.commit()
    return Response(
        snapshot.content, media_type="image/jpeg", headers={"Last-Modified": f"{snapshot.time:%a, %d %b %Y %H:%M:%S} GMT"}
    )


def get_device(session: Session, name: str) -> Device:
    """Return a device by its name.

    Raises:
        HTTPException: There is none (404).
    """
    device = session.scalar(select(Device).where(Device.name == name))
    if device is None:
        raise _missing()
    return device


def _missing() -> HTTPException:
    return HTTPException(404, "There is no device of this name.")


def _row(session: Session, device: Device, settings: Settings) -> dict[str, Any]:
    """Return a device as in the list, unless it was deleted since it was read."""
    rows = list_devices(session, parse_zone(settings.server.time_zone), [Device.id == device.id])
    if not rows:
        raise _missing()
    return rows[0]


def _find_site(session: Session, name: str) -> int:
    site = session.scalar(select(Site.id).where(Site.name == name))
    if site is None:
        raise HTTPException(404, "There is no site of this name: create it first.")
    return site
