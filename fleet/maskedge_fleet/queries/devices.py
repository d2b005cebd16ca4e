"""Devices as the page lists them, and the summary of the fleet. The number of queries is fixed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone, tzinfo
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from maskedge_fleet.database.tables import Alert, Camera, Device, Site

from .counts import Wanted, calendar_starts, next_hour, total_counts

STATES = ("online", "lost", "offline")
"""States of a device. `lost` is online with a camera that delivers no frames."""
_LOST = "lost"
_FEW_DEVICES = 500
"""Up to this number, only the counts of these devices are read; otherwise those of all."""
_MODEL_KINDS = {"file": str, "sha256": str, "release": int}
_WILD = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})


def is_lost() -> ColumnElement[bool]:
    """Return the condition that a camera delivers no frames. One that was removed is not connected, and keeps its last state."""
    return and_(Camera.state == _LOST, Camera.online)


def lost_camera() -> ColumnElement[bool]:
    """Return the condition that a device has a camera that delivers no frames."""
    return select(Camera.id).where(Camera.device_id == Device.id, is_lost()).exists()


def state_is(state: str) -> ColumnElement[bool]:
    """Return the condition that a device has one of `STATES`."""
    if state == "offline":
        return Device.online.is_(False)
    return and_(Device.online, lost_camera() if state == "lost" else ~lost_camera())


def name_contains(text: str) -> ColumnElement[bool]:
    """Return the condition that name, group, site or note of a device contain a text, in any case."""
    pattern = f"%{text.lower().translate(_WILD)}%"
    return or_(
        *(func.lower(column).like(pattern, escape="\\") for column in (Device.name, Device.group, Device.note)),
        Device.site_id.in_(select(Site.id).where(func.lower(Site.name).like(pattern, escape="\\"))),
    )


def list_devices(
    session: Session, zone: tzinfo, conditions: Sequence[ColumnElement[bool]] = (), *, limit: int | None = None
) -> list[dict[str, Any]]:
    """Return devices in the order of their names, as JSON types.

    Args:
        session: The database.
        zone: Time zone of today.
        conditions: Conditions on `Device`.
        limit: Maximum number.
    """
    columns = (
        *(Device.id, Device.name, Site.name.label("site"), Device.group, Device.note, Device.online, Device.seen),
        *(Device.version, Device.health, Device.model),
    )
    query = select(*columns).outerjoin(Site, Site.id == Device.site_id).where(*conditions).order_by(Device.name)
    rows = session.execute(query if limit is None else query.limit(limit)).all()
    # Without a condition, the other queries read all devices too: no list of their numbers is sent.
    chosen = select(Device.id).where(*conditions)
    if limit is not None:
        chosen = chosen.order_by(Device.name).limit(limit)
    inside = [] if limit is None and not conditions else [chosen]
    cameras: dict[int, list[dict[str, Any]]] = {}
    of_cameras = select(Camera.device_id, Camera.name, Camera.state, Camera.online).order_by(Camera.name)
    for device, name, state, online in session.execute(of_cameras.where(*(Camera.device_id.in_(part) for part in inside))):
        cameras.setdefault(device, []).append({"name": name, "state": state, "online": online})
    of_alerts = select(Alert.device_id, func.count()).where(Alert.ended.is_(None), Alert.device_id.is_not(None))
    of_alerts = of_alerts.where(*(Alert.device_id.in_(part) for part in inside)).group_by(Alert.device_id)
    alerts = {row[0]: row[1] for row in session.execute(of_alerts)}
    few = Wanted(devices=tuple(row.id for row in rows)) if len(rows) <= _FEW_DEVICES else None
    shares = shares_today(session, zone, by="device", wanted=few) if rows else {}
    return [
        {
            "name": row.name,
            "site": row.site or "",
            "group": row.group,
            "note": row.note,
            "state": _state(row.online, cameras.get(row.id, [])),
            "online": row.online,
            "seen": row.seen,
            "version": row.version,
            "model": {name: _of_kind(row.model.get(name), kind) for name, kind in _MODEL_KINDS.items()},
            "temperature_c": _of_kind(row.health.get("temperature_c"), int | float),
            "cameras": cameras.get(row.id, []),
            "alerts": alerts.get(row.id, 0),
            "share_today": shares.get(row.name),
        }
        for row in rows
    ]


def _of_kind(value: Any, kind: Any) -> Any:
    """Return a value that a device has sent, or None if it has another type than the API describes."""
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def _state(online: bool, cameras: Sequence[dict[str, Any]]) -> str:
    if not online:
        return "offline"
    return "lost" if any(camera["state"] == _LOST and camera["online"] for camera in cameras) else "online"


def shares_today(session: Session, zone: tzinfo, *, by: str, wanted: Wanted | None = None) -> dict[str, float | None]:
    """Return the share of masked faces since midnight, 0 to 1, by subject.

    Args:
        session: The database.
        zone: Time zone of midnight.
        by: One of `maskedge_fleet.queries.counts.SUBJECTS`.
        wanted: The series; None for the whole pictures of all cameras.
    """
    now = datetime.now(timezone.utc)
    sums = total_counts(session, calendar_starts(zone, now)["day"], next_hour(now), by=(by,), wanted=wanted)
    return {subject: amounts.share() for (subject,), amounts in sums.items()}


def summarise(session: Session, zone: tzinfo) -> dict[str, Any]:
    """Return the number of devices by state, of lost cameras and of open alerts, and today's share.

    Args:
        session: The database.
        zone: Time zone of today.
    """
    total, online = session.execute(select(func.count(), func.count().filter(Device.online)).select_from(Device)).one()
    online_lost = session.scalar(select(func.count()).select_from(Device).where(state_is("lost"))) or 0
    cameras, lost = session.execute(select(func.count(), func.count().filter(is_lost())).select_from(Camera)).one()
    active, unacknowledged = session.execute(
        select(func.count(), func.count().filter(Alert.acknowledged.is_(None))).where(Alert.ended.is_(None))
    ).one()
    now = datetime.now(timezone.utc)
    today = total_counts(session, calendar_starts(zone, now)["day"], next_hour(now), by=()).get(())
    return {
        "devices": {"total": total, "online": online - online_lost, "lost": online_lost, "offline": total - online},
        "cameras": {"total": cameras, "lost": lost},
        "alerts": {"active": active, "open": unacknowledged},
        "share_today": today.share() if today else None,
        "time": now,
    }
