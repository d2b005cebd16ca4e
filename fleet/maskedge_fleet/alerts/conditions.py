"""The conditions of alert rules of the fleet. Each condition is a class listed in `CONDITIONS`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from maskedge_fleet.database.tables import Camera, Device, Rollout, Site

from .rules import FleetRule
from .shares import UnitShare, model_shares, unit_shares

_DEAF_S = 120.0
"""Seconds without a message of any device after which the server itself counts as not listening."""


@dataclass(frozen=True)
class Finding:
    """An object for which a rule is met, or may be.

    Attributes:
        subject: Identifies the object among those of the rule.
        sentence: The reason, for people.
        opens: True if an alert begins. Otherwise an alert that is open stays open.
        details: Measured values.
        device_id, camera_id, site_id: The object, if it is one of these.
    """

    subject: str
    sentence: str = ""
    opens: bool = True
    details: Mapping[str, Any] = field(default_factory=dict)
    device_id: int | None = None
    camera_id: int | None = None
    site_id: int | None = None


class Condition:
    """A situation in which an alert is open. One object holds the state of one rule.

    Args:
        rule: The rule.
        started: When the server started.

    Attributes:
        name: Value of `when`.
    """

    name: ClassVar[str]

    def __init__(self, rule: FleetRule, started: datetime) -> None:
        self.rule = rule
        self.started = started
        self.duration = timedelta(seconds=rule.duration)

    def find(self, session: Session, now: datetime) -> Iterator[Finding]:
        """Yield the objects for which the rule is met."""
        raise NotImplementedError

    def _devices(self, *columns: Any) -> Select[Any]:
        """Return the query of the devices of the rule, with their names and sites."""
        query = select(Device.id, Device.name, Device.site_id, Site.name.label("site"), *columns).outerjoin(Site)
        if self.rule.site is not None:
            query = query.where(Site.name == self.rule.site)
        if self.rule.group is not None:
            query = query.where(Device.group == self.rule.group)
        return query


class DeviceSilent(Condition):
    """A device has sent nothing for `seconds`.

    If no device at all is heard, the server, the ingest or the broker is the reason. That is one
    alert about the fleet, and no alert about each device. After it, and after the start of the
    server, devices have `seconds` to be heard.
    """

    name = "device_silent"

    def __init__(self, rule: FleetRule, started: datetime) -> None:
        super().__init__(rule, started)
        self._listening_since: datetime | None = started

    def find(self, session: Session, now: datetime) -> Iterator[Finding]:
        """Yield the silent devices, or the fleet."""
        devices = session.execute(self._devices(Device.seen, Device.created)).all()
        newest = session.scalar(select(func.max(Device.seen)))
        count = session.scalar(select(func.count()).select_from(Device)) or 0
        deaf = count > 1 and (newest is None or (now - newest).total_seconds() > _DEAF_S)
        if deaf:
            self._listening_since = None
            heard = max(newest or self.started, self.started)
            if now - heard > self.duration:
                sentence = f"none of {count} devices is heard since {_clock(newest)}: check the broker and edge-fleet ingest"
                yield Finding("fleet", sentence, details={"devices": count})
        elif self._listening_since is None:
            self._listening_since = now
        for device in devices:
            seen = device.seen or device.created
            if now - seen <= self.duration:
                continue
            waited = not deaf and self._listening_since is not None and now - self._listening_since > self.duration
            sentence = f"the device {_place(device)} is silent since {_clock(device.seen)}"
            yield Finding(device.name, sentence, waited, {"seen": _clock(device.seen)}, device_id=device.id, site_id=device.site_id)


class CameraLost(Condition):
    """A camera of a connected device is lost for `seconds`.

    A camera that is not connected for `seconds` while its device is was removed from it, and its alert
    ends. Not at once, because each camera has a connection of its own: if the network fails, they
    break and return one after the other.
    """

    name = "camera_lost"

    def __init__(self, rule: FleetRule, started: datetime) -> None:
        super().__init__(rule, started)
        self._away_since: dict[int, datetime] = {}

    def find(self, session: Session, now: datetime) -> Iterator[Finding]:
        """Yield the lost cameras."""
        camera = Camera.id.label("camera_id"), Camera.name.label("camera"), Camera.since, Camera.online.label("connected")
        query = self._devices(*camera, Device.online).join(Camera, Camera.device_id == Device.id).where(Camera.state == "lost")
        rows = session.execute(query).all()
        away = [row.camera_id for row in rows if row.online and not row.connected]
        self._away_since = {number: self._away_since.get(number, now) for number in away}
        removed = {number for number, since in self._away_since.items() if now - since >= self.duration}
        for row in rows:
            if row.camera_id in removed:
                continue
            since = row.since or now
            yield Finding(
                f"{row.name}/{row.camera}",
                f"the camera {row.camera} of the device {_place(row)} is lost since {_clock(since)}",
                # The state of a device or camera that is offline is old.
                row.online and row.connected and now - since >= self.duration,
                {"since": _clock(since)},
                device_id=row.id,
                camera_id=row.camera_id,
                site_id=row.site_id,
            )


class DuplicateDevice(Condition):
    """Two installations used the name of a device at the same time, in the last `seconds`."""

    name = "duplicate_device"

    def find(self, session: Session, now: datetime) -> Iterator[Finding]:
        """Yield the devices of such names."""
        query = self._devices(Device.duplicate_seen).where(Device.duplicate_seen > now - self.duration)
        for row in session.execute(query):
            sentence = f"two devices have the name {_place(row)}: give each its own [device] name and topic"
            yield Finding(row.name, sentence, details={"seen": _clock(row.duplicate_seen)}, device_id=row.id, site_id=row.site_id)


class ClockWrong(Condition):
    """The clock of a device differs from the server's by more than `seconds`.

    The alert ends at half of it.
    """

    name = "clock_wrong"

    def find(self, session: Session, now: datetime) -> Iterator[Finding]:
        """Yield the devices with a wrong clock."""
        error = func.abs(Device.clock_offset_s)
        query = self._devices(Device.clock_offset_s).where(error > self.rule.duration / 2)
        for row in session.execute(query):
            side = "behind" if row.clock_offset_s > 0 else "ahead of"
            seconds = abs(row.clock_offset_s)
            yield Finding(
                row.name,
                f"the clock of the device {_place(row)} is {seconds:.0f} s {side} the server's: check its time synchronisation",
                seconds > self.rule.duration,
                {"offset_s": round(row.clock_offset_s, 1)},
                device_id=row.id,
                site_id=row.site_id,
            )


class ShareBelow(Condition):
    """The share of masked faces of a site, a group or the fleet is below `threshold`."""

    name = "share_below"

    def find(self, session: Session, now: datetime) -> Iterator[Finding]:
        """Yield the sites, the groups or the fleet."""
        threshold = self.rule.threshold or 0.0
        for unit in unit_shares(session, self.rule, now):
            if unit.face_s < self.rule.min_face_s:
                yield _undecided(unit)
            elif unit.share < threshold + self.rule.hysteresis:
                yield Finding(
                    unit.subject,
                    f"{unit.title}: {100 * unit.share:.1f} % of the faces are masked, less than {100 * threshold:g} %",
                    unit.share < threshold,
                    {"share": round(unit.share, 4), "face_s": round(unit.face_s, 1), "window_s": self.rule.duration},
                    site_id=unit.site_id,
                )


class ModelDisagreement(Condition):
    """Devices of one place with different releases of the model find shares that differ too much."""

    name = "model_disagreement"

    def find(self, session: Session, now: datetime) -> Iterator[Finding]:
        """Yield the sites, the groups or the fleet."""
        threshold = self.rule.threshold or 0.0
        for subject, releases in model_shares(session, self.rule, now).items():
            judged = {release: unit for release, unit in releases.items() if unit.face_s >= self.rule.min_face_s}
            first = next(iter(releases.values()))
            if len(judged) < 2:
                yield _undecided(first)
                continue
            low, high = (choose(judged, key=lambda release: judged[release].share) for choose in (min, max))
            difference = judged[high].share - judged[low].share
            if difference > max(0.0, threshold - self.rule.hysteresis):
                words = ", ".join(f"{release}: {100 * unit.share:.1f} %" for release, unit in sorted(judged.items()))
                yield Finding(
                    subject,
                    f"{first.title}: the releases of the model find different shares of masked faces ({words})",
                    difference > threshold,
                    {"difference": round(difference, 4), "shares": {name: round(unit.share, 4) for name, unit in judged.items()}},
                    site_id=first.site_id,
                )


class RolloutHalted(Condition):
    """A roll-out of a model is halted."""

    name = "rollout_halted"

    def find(self, session: Session, now: datetime) -> Iterator[Finding]:
        """Yield the halted roll-outs."""
        for row in session.execute(select(Rollout.id, Rollout.reason).where(Rollout.state == "halted")):
            reason = f": {row.reason}" if row.reason else ""
            yield Finding(f"roll-out {row.id}", f"the roll-out {row.id} is halted{reason}", details={"rollout": row.id})


CONDITIONS: dict[str, type[Condition]] = {
    condition.name: condition
    for condition in (DeviceSilent, CameraLost, DuplicateDevice, ClockWrong, ShareBelow, ModelDisagreement, RolloutHalted)
}
"""All conditions, by the value of `when`."""


def _undecided(unit: UnitShare) -> Finding:
    return Finding(unit.subject, opens=False, site_id=unit.site_id)


def _place(row: Any) -> str:
    return f"{row.name} at {row.site}" if row.site else str(row.name)


def _clock(time: datetime | None) -> str:
    return "its creation" if time is None else time.strftime("%Y-%m-%d %H:%M:%S UTC")
