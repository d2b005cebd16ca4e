"""Rows of the fleet's database for tests, and its counts of hours and days summed from the minutes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import Session

from maskedge_fleet.access.tokens import ROLES, create_token
from maskedge_fleet.database.tables import (
    COUNT_COLUMNS,
    Camera,
    DayCounts,
    Device,
    Event,
    HourCounts,
    MinuteCounts,
    Series,
    Site,
)

NOON = datetime(2026, 3, 14, 12, tzinfo=timezone.utc)


def create_tokens(engine: Engine) -> dict[str, str]:
    """Create a token of each role, with the name of the role."""
    with Session(engine) as session:
        secrets = {role: create_token(session, role, role) for role in ROLES}
        session.commit()
    return secrets


def add_site(session: Session, name: str) -> Site:
    """Add a site."""
    site = Site(name=name)
    session.add(site)
    session.flush()
    return site


def add_device(
    session: Session, name: str, *, site: Site | None = None, cameras: Sequence[str] = ("camera",), **values: Any
) -> Device:
    """Add a device with cameras, whose whole pictures have series."""
    given = {"online": True, "seen": NOON, "created": NOON, **values}
    device = Device(name=name, prefix=f"maskedge/{name}", site_id=site.id if site else None, **given)
    session.add(device)
    session.flush()
    for camera in cameras:
        row = Camera(device_id=device.id, name=camera, prefix=f"maskedge/{name}/{camera}", online=True, state="open", seen=NOON)
        session.add(row)
        session.flush()
        session.add(Series(camera_id=row.id))
    session.flush()
    return device


def camera_of(session: Session, device: str, camera: str = "camera") -> Camera:
    """Return a camera."""
    return session.scalars(
        select(Camera).join(Device, Device.id == Camera.device_id).where(Device.name == device, Camera.name == camera)
    ).one()


def series_of(session: Session, device: str, camera: str = "camera", **place: str) -> int:
    """Return the number of the series of a camera, its zone or its line. It is added if there is none."""
    wanted = {"zone": "", "line": "", "direction": "", **place}
    row = camera_of(session, device, camera)
    found = session.scalar(
        select(Series.id).where(Series.camera_id == row.id, *(getattr(Series, k) == v for k, v in wanted.items()))
    )
    if found is not None:
        return found
    series = Series(camera_id=row.id, **wanted)
    session.add(series)
    session.flush()
    return series.id


def add_minutes(session: Session, series: int, rows: Iterable[tuple[datetime, dict[str, float]]]) -> None:
    """Add counts of minutes to a series."""
    empty = dict.fromkeys(COUNT_COLUMNS, 0)
    content = [{**empty, "series_id": series, "start": start, **values} for start, values in rows]
    if content:
        session.execute(insert(MinuteCounts), content)


def sum_hours_and_days(session: Session) -> None:
    """Replace the counts of hours and days by the sums of the minutes."""
    session.query(HourCounts).delete()
    session.query(DayCounts).delete()
    sums: dict[tuple[Any, datetime, int], dict[str, float]] = {}
    for row in session.scalars(select(MinuteCounts)):
        hour = row.start.replace(minute=0)
        for table, start in ((HourCounts, hour), (DayCounts, hour.replace(hour=0))):
            one = sums.setdefault((table, start, row.series_id), dict.fromkeys(COUNT_COLUMNS, 0))
            for name in COUNT_COLUMNS:
                one[name] += getattr(row, name)
    for (table, start, series), values in sums.items():
        session.add(table(start=start, series_id=series, **values))
    session.flush()


def add_events(session: Session, camera: Camera, number: int, *, start: datetime = NOON, **values: Any) -> None:
    """Add events of a camera, one per second."""
    for index in range(number):
        moment = start + timedelta(seconds=index)
        given = {"kind": "detection", "details": {"number": index}, **values}
        session.add(Event(time=moment, camera_id=camera.id, message_id=f"0a0b0c0d-{index}", received=moment, **given))
    session.flush()
