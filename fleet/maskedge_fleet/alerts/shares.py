"""Shares of masked faces of sites, groups and the fleet in the window of a rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from maskedge_fleet.database.tables import Camera, Device, HourCounts, MinuteCounts, RolloutDevice, Series, Site

from .rules import FleetRule

_HOURS_FROM = 48 * 3600
"""Length of a window in seconds from which the counts of hours are used."""


@dataclass
class UnitShare:
    """A site, a group or the fleet in a window.

    Attributes:
        subject: Identifies it among those of a rule, such as `site Shop`.
        title: Its name for people.
        site_id: The site; None for another unit.
        masked_s: Seconds of masked faces.
        face_s: Seconds of faces with a known label.
    """

    subject: str
    title: str
    site_id: int | None = None
    masked_s: float = 0.0
    face_s: float = 0.0

    @property
    def share(self) -> float:
        """Share of masked faces, 0 without faces."""
        return self.masked_s / self.face_s if self.face_s else 0.0


def unit_shares(session: Session, rule: FleetRule, now: datetime) -> Iterator[UnitShare]:
    """Yield the units of a rule with faces in its window."""
    units: dict[str, UnitShare] = {}
    for row in _sums(session, rule, now):
        unit = _unit(rule, row)
        if unit is not None:
            own = units.setdefault(unit.subject, unit)
            own.masked_s += row.masked_s
            own.face_s += row.face_s
    yield from units.values()


def model_shares(session: Session, rule: FleetRule, now: datetime) -> dict[str, dict[str, UnitShare]]:
    """Return the units of a rule with several releases of the model: by subject and release."""
    units: dict[str, dict[str, UnitShare]] = {}
    for row in _sums(session, rule, now, after_update=True):
        unit, release = _unit(rule, row), row.model.get("release")
        if unit is None or not isinstance(release, int):
            continue
        own = units.setdefault(unit.subject, {}).setdefault(f"release {release}", unit)
        own.masked_s += row.masked_s
        own.face_s += row.face_s
    return {subject: releases for subject, releases in units.items() if len(releases) > 1}


def _sums(session: Session, rule: FleetRule, now: datetime, *, after_update: bool = False) -> list[Any]:
    """Return the sums of each device in the window.

    Args:
        session: The transaction.
        rule: The rule.
        now: End of the window.
        after_update: Count only what a device has seen with its present model.
    """
    counts = HourCounts if rule.duration >= _HOURS_FROM else MinuteCounts
    start = now - timedelta(seconds=rule.duration)
    known = func.sum(counts.masked_s + counts.unmasked_s + counts.incorrect_s)
    sums = (
        select(Camera.device_id, func.sum(counts.masked_s).label("masked_s"), known.label("face_s"))
        .join(Series, Series.camera_id == Camera.id)
        .join(counts, counts.series_id == Series.id)
        .where(Series.zone == "", Series.line == "", counts.start >= start, counts.start < now)
        .group_by(Camera.device_id)
    )
    if after_update:
        updated = (
            select(RolloutDevice.device_id, func.max(RolloutDevice.changed).label("since"))
            .where(RolloutDevice.state.in_(("active", "rolled_back")))
            .group_by(RolloutDevice.device_id)
            .subquery()
        )
        sums = sums.outerjoin(updated, updated.c.device_id == Camera.device_id)
        sums = sums.where((updated.c.since.is_(None)) | (counts.start >= updated.c.since))
    found = sums.subquery()
    query = (
        select(Device.group, Device.model, Device.site_id, Site.name.label("site"), found.c.masked_s, found.c.face_s)
        .join(found, found.c.device_id == Device.id)
        .outerjoin(Site, Site.id == Device.site_id)
    )
    if rule.site is not None:
        query = query.where(Site.name == rule.site)
    if rule.group is not None:
        query = query.where(Device.group == rule.group)
    return list(session.execute(query))


def _unit(rule: FleetRule, row: Any) -> UnitShare | None:
    """Return the unit of a device without faces; None if the device is in no site or group."""
    if rule.per == "fleet":
        return UnitShare("fleet", "the fleet")
    if rule.per == "group":
        return UnitShare(f"group {row.group}", f"the group {row.group}") if row.group else None
    return UnitShare(f"site {row.site}", f"the site {row.site}", row.site_id) if row.site else None
