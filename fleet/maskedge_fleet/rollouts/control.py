"""Starts, pauses, resumes, halts and rolls back roll-outs. The engine does the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from maskedge.errors import UsageError
from maskedge.settings import shown
from maskedge_fleet.database.rounds import wait_for_others
from maskedge_fleet.database.tables import Device, Model, Rollout, RolloutDevice, Site

from .plan import DEFAULT_WAIT_S, assign_stages, read_limits, read_stages

LIVE = ("running", "paused", "rolling_back")
"""States in which no other roll-out of the same kind of model may start."""
DEFAULT_STAGES: tuple[Mapping[str, Any], ...] = tuple({"percent": percent, "wait_s": DEFAULT_WAIT_S} for percent in (5, 25, 100))
_ALONE = "roll-outs"
"""Name of the lock under which roll-outs become live, so that two of one kind of model never are."""
_SCOPES = ("site", "group", "devices")


class RolloutConflictError(UsageError):
    """A roll-out is in a state that does not allow the action."""


def start_rollout(
    session: Session,
    model: Model,
    *,
    stages: Sequence[Any] = DEFAULT_STAGES,
    scope: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    by: str,
    now: datetime | None = None,
) -> Rollout:
    """Create a roll-out. The engine begins with its first stage.

    Args:
        session: The transaction.
        model: The model.
        stages: The stages (`plan.read_stages`).
        scope: `site`, `group` or `devices`; None for all devices.
        limits: Limits by name (`plan.Limits`).
        by: Name of the token or of the user.
        now: The time; None for the clock's.

    Raises:
        UsageError: A stage, the scope or a limit is not valid, or there are no devices.
        RolloutConflictError: Another roll-out of this kind of model is not over.
    """
    now = now or datetime.now(timezone.utc)
    scope = dict(scope or {})
    checked, checked_limits = read_stages(stages), read_limits(limits or {})
    wait_for_others(session, _ALONE)
    other = session.scalar(
        select(Rollout.id).join(Model, Model.id == Rollout.model_id).where(Model.kind == model.kind, Rollout.state.in_(LIVE))
    )
    if other is not None:
        raise RolloutConflictError(f"the roll-out {other} of another {model.kind} is not over: halt it or roll it back first.")
    devices = _devices_of(session, scope)
    if not devices:
        raise UsageError("the roll-out has no devices: check its site, group or devices.")
    assigned = assign_stages(list(devices), checked, model.sha256)
    rollout = Rollout(
        model_id=model.id,
        state="running",
        stages=checked,
        stage=0,
        stage_started=now,
        scope=scope,
        limits=checked_limits.to_json(),
        created=now,
        created_by=by,
        changed=now,
    )
    session.add(rollout)
    session.flush()
    session.add_all(
        RolloutDevice(rollout_id=rollout.id, device_id=devices[name], stage=stage, state="waiting", baseline={}, changed=now)
        for name, stage in assigned.items()
    )
    session.flush()
    return rollout


def _devices_of(session: Session, scope: Mapping[str, Any]) -> dict[str, int]:
    """Return the ids of the devices of a scope, by name."""
    unknown = next((key for key in scope if key not in _SCOPES), None)
    if unknown is not None:
        raise UsageError(f"the scope has no {shown(unknown)}: use {', '.join(_SCOPES)}.")
    for key in ("site", "group"):
        if key in scope and not (isinstance(scope[key], str) and scope[key].isprintable()):
            raise UsageError(f"{key} of the scope is the name of a {key}, got {shown(scope[key])}.")
    query = select(Device.name, Device.id)
    if "site" in scope:
        query = query.join(Site).where(Site.name == scope["site"])
    if "group" in scope:
        query = query.where(Device.group == scope["group"])
    found = {row.name: row.id for row in session.execute(query)}
    if "devices" not in scope:
        return found
    names = scope["devices"]
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise UsageError("devices of the scope is a list of names.")
    missing = next((name for name in names if name not in found), None)
    if missing is not None:
        raise UsageError(f"there is no device {shown(missing)} in the scope of the roll-out.")
    return {name: found[name] for name in names}


def find_rollout(session: Session, number: int) -> Rollout:
    """Return a roll-out.

    Raises:
        UsageError: There is none of this number.
    """
    rollout = session.get(Rollout, number) if 0 < number < 2**31 else None
    if rollout is None:
        raise UsageError(f"there is no roll-out {number}.")
    return rollout


def is_newest(session: Session, rollout: Rollout) -> bool:
    """Return True if no later roll-out of the same kind of model has started."""
    kind = select(Model.kind).where(Model.id == rollout.model_id).scalar_subquery()
    newest = select(func.max(Rollout.id)).join(Model, Model.id == Rollout.model_id).where(Model.kind == kind)
    return session.scalar(newest) == rollout.id


def pause_rollout(session: Session, number: int) -> None:
    """Send no further updates until `resume_rollout`.

    Raises:
        UsageError: There is no such roll-out.
        RolloutConflictError: It does not run.
    """
    _change(session, number, ("running",), "paused")


def halt_rollout(session: Session, number: int, reason: str) -> None:
    """Halt a roll-out. Devices that are updated keep the model.

    Raises:
        UsageError: There is no such roll-out.
        RolloutConflictError: It neither runs nor is paused.
    """
    _change(session, number, ("running", "paused"), "halted", reason)


def resume_rollout(session: Session, number: int, now: datetime | None = None) -> None:
    """Resume a paused or halted roll-out. Devices that failed are tried again.

    The current stage is watched anew, and compared with what the devices did until now.

    Raises:
        UsageError: There is no such roll-out.
        RolloutConflictError: It is neither paused nor halted, or a later one has started.
    """
    now = now or datetime.now(timezone.utc)
    wait_for_others(session, _ALONE)
    if not is_newest(session, find_rollout(session, number)):
        raise RolloutConflictError(f"a later roll-out than {number} has started: this one can only be rolled back.")
    _change(session, number, ("paused", "halted"), "running", "", now)
    session.execute(update(Rollout).where(Rollout.id == number).values(stage_started=now))
    session.execute(
        update(RolloutDevice)
        .where(RolloutDevice.rollout_id == number, RolloutDevice.state == "failed")
        .values(state="waiting", command_id=None, sentence="", baseline={}, changed=now)
    )


def roll_back(session: Session, number: int) -> None:
    """Return every updated device to its previous model.

    Raises:
        UsageError: There is no such roll-out.
        RolloutConflictError: It is rolled back already, or a later one has started.
    """
    wait_for_others(session, _ALONE)
    if not is_newest(session, find_rollout(session, number)):
        raise RolloutConflictError(f"a later roll-out than {number} has started: roll back that one.")
    _change(session, number, ("running", "paused", "halted", "done"), "rolling_back")


def _change(
    session: Session, number: int, allowed: Sequence[str], state: str, reason: str | None = None, now: datetime | None = None
) -> None:
    """Change the state of a roll-out, unless it is not one of the allowed states."""
    rollout = find_rollout(session, number)
    values: dict[str, Any] = {"state": state, "changed": now or datetime.now(timezone.utc)}
    if reason is not None:
        values["reason"] = reason
    query = update(Rollout).where(Rollout.id == number, Rollout.state.in_(allowed)).values(values).returning(Rollout.id)
    if session.scalar(query) is None:
        session.refresh(rollout)
        words = rollout.state.replace("_", " "), state.replace("_", " ")
        raise RolloutConflictError(f"the roll-out {number} is {words[0]}, so it cannot become {words[1]}.")
