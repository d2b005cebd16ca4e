"""Sites and their compliance."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from fastapi import APIRouter, HTTPException, Response
from pydantic import BaseModel, Field
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from maskedge.settings import check_name
from maskedge_fleet.access.audit import record
from maskedge_fleet.database.tables import LONGEST_NAME, Alert, Device, Site
from maskedge_fleet.queries.counts import calendar_starts, next_hour, total_counts
from maskedge_fleet.queries.devices import STATES, state_is

from .core.access import Database, Operator, ServerSettings, Viewer
from .core.errors import CONFLICT, NOT_FOUND
from .core.parameters import PathName, parse_zone
from .devices import DeviceCounts

router = APIRouter(prefix="/sites", tags=["sites"])


class SiteRow(BaseModel):
    """A site. The last item of the list has an empty name: the devices without a site, if there are any."""

    name: str
    devices: DeviceCounts
    alerts: int = Field(description="Number of active alerts of the site and its devices")
    share_today: float | None = Field(description="Share of masked faces since midnight, 0 to 1; null without faces")
    share_week: float | None = Field(description="Since Monday")
    share_month: float | None = Field(description="Since the first of the month")


class Sites(BaseModel):
    """All sites."""

    items: list[SiteRow]
    next: None = None


class SiteName(BaseModel, extra="forbid"):
    """Name of a site."""

    name: str = Field(max_length=LONGEST_NAME)


@router.get("", response_model=Sites, summary="List sites with their compliance")
def read_sites(session: Database, caller: Viewer, settings: ServerSettings) -> Any:
    """Return all sites in the order of their names, with the share of masked faces of this day, week and month."""
    names: dict[int | None, str] = {row.id: row.name for row in session.execute(select(Site.id, Site.name).order_by(Site.name))}
    states = {state: func.count().filter(state_is(state)).label(state) for state in STATES}
    devices = {row.site_id: row for row in session.execute(select(Device.site_id, *states.values()).group_by(Device.site_id))}
    site_id = func.coalesce(Alert.site_id, Device.site_id)
    alerts = session.execute(
        select(site_id, func.count()).outerjoin(Device, Device.id == Alert.device_id).where(Alert.ended.is_(None)).group_by(site_id)
    )
    active: dict[int | None, int] = {row[0]: row[1] for row in alerts}
    now = datetime.now(timezone.utc)
    starts = calendar_starts(parse_zone(settings.server.time_zone), now)
    shares = {
        name: {
            subject: amounts.share()
            for (subject,), amounts in total_counts(
                session, start, next_hour(now), by=("site",), retention=settings.retention
            ).items()
        }
        for name, start in starts.items()
    }
    if None in devices:
        names[None] = ""
    items = []
    for number, name in names.items():
        row = devices.get(number)
        counts = {state: getattr(row, state) if row is not None else 0 for state in STATES}
        items.append(
            {
                "name": name,
                "devices": {"total": sum(counts.values()), **counts},
                "alerts": active.get(number, 0),
                "share_today": shares["day"].get(name),
                "share_week": shares["week"].get(name),
                "share_month": shares["month"].get(name),
            }
        )
    return {"items": items}


@router.post("", status_code=201, response_model=SiteName, responses=CONFLICT, summary="Create a site")
def create_site(site: SiteName, session: Database, caller: Operator) -> Any:
    """Create a site without devices."""
    name = _free_name(session, site.name)
    session.add(Site(name=name))
    record(session, caller, "site.create", name)
    session.commit()
    return {"name": name}


@router.patch("/{name}", response_model=SiteName, responses={**NOT_FOUND, **CONFLICT}, summary="Rename a site")
def rename_site(name: PathName, site: SiteName, session: Database, caller: Operator) -> Any:
    """Rename a site. Its devices stay with it."""
    row = _get_site(session, name)
    new = _free_name(session, site.name)
    row.name = new
    record(session, caller, "site.rename", name, {"name": new})
    session.commit()
    return {"name": new}


@router.delete("/{name}", status_code=204, responses=NOT_FOUND, summary="Delete a site")
def delete_site(name: PathName, session: Database, caller: Operator) -> Response:
    """Delete a site. Its devices remain, without a site."""
    if session.scalar(delete(Site).where(Site.name == name).returning(Site.id)) is None:
        raise _missing()
    record(session, caller, "site.delete", name)
    session.commit()
    return Response(status_code=204)


def _get_site(session: Session, name: str) -> Site:
    site = session.scalar(select(Site).where(Site.name == name))
    if site is None:
        raise _missing()
    return site


def _missing() -> HTTPException:
    return HTTPException(404, "There is no site of this name.")


def _free_name(session: Session, name: str) -> str:
    name = check_name(name, "the name of a site")
    if session.scalar(select(Site.id).where(Site.name == name)) is not None:
        raise HTTPException(409, "There is a site of this name already.")
    return name
