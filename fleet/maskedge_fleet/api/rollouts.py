"""Roll-outs of models: the list, new ones, and what an admin may do with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from maskedge.errors import UsageError
from maskedge_fleet.access.audit import record
from maskedge_fleet.database.tables import Device, Model, Rollout, RolloutDevice
from maskedge_fleet.rollouts.control import (
    DEFAULT_STAGES,
    RolloutConflictError,
    halt_rollout,
    pause_rollout,
    resume_rollout,
    roll_back,
    start_rollout,
)
from maskedge_fleet.rollouts.models import find_model

from .commands import signer_of
from .core.access import Admin, Database, ServerSettings, Viewer
from .core.errors import CONFLICT, NOT_FOUND, sentence
from .core.paging import Cursor, Limit, Page, is_before, make_page, read_cursor
from .core.parameters import Name

router = APIRouter(prefix="/rollouts", tags=["rollouts"])
State = Literal["running", "paused", "halted", "rolling_back", "rolled_back", "done"]


class RolloutModel(BaseModel):
    """The model of a roll-out."""

    sha256: str
    name: str
    kind: str
    release: int


class RolloutRow(BaseModel):
    """A roll-out in the list."""

    id: int
    model: RolloutModel
    state: State
    stages: list[dict[str, Any]] = Field(description="Each stage: devices (names) or percent, and wait_s")
    stage: int = Field(description="Index of the current stage")
    stage_started: datetime | None
    scope: dict[str, Any] = Field(description="site, group or devices; empty for all")
    limits: dict[str, float] = Field(description="What halts it")
    reason: str = Field(description="Why it was halted")
    created: datetime
    created_by: str
    changed: datetime
    devices_by_state: dict[str, int]
    device_state: str = Field("", description="State of the device that was asked for; empty without one")


class RolloutMember(BaseModel):
    """A device in a roll-out."""

    device: str
    stage: int
    state: str
    before: str = Field(description="SHA-256 of the model before")
    measured: dict[str, Any] = Field(description="Figures before and after the update, if they were compared")
    sentence: str
    changed: datetime


class FullRollout(RolloutRow):
    """A roll-out in full."""

    devices: list[RolloutMember]


class NewRollout(BaseModel, extra="forbid"):
    """A roll-out to start."""

    model: str = Field(min_length=8, max_length=64, description="SHA-256 of a stored model, or its first digits")
    stages: list[dict[str, Any]] = Field(default_factory=lambda: [dict(stage) for stage in DEFAULT_STAGES])
    scope: dict[str, Any] = Field(default_factory=dict)
    limits: dict[str, Any] = Field(default_factory=dict)


def _rows(session: Session, rollouts: Iterable[Rollout]) -> list[dict[str, Any]]:
    """Return roll-outs as JSON types and times."""
    rollouts = list(rollouts)
    models = {model.id: model for model in session.scalars(select(Model).where(Model.id.in_({one.model_id for one in rollouts})))}
    counts: dict[int, dict[str, int]] = {}
    states = (
        select(RolloutDevice.rollout_id, RolloutDevice.state, func.count())
        .where(RolloutDevice.rollout_id.in_([one.id for one in rollouts]))
        .group_by(RolloutDevice.rollout_id, RolloutDevice.state)
    )
    for number, state, count in session.execute(states):
        counts.setdefault(number, {})[state] = count
    names = ("id", "state", "stages", "stage", "stage_started", "scope", "limits", "reason", "created", "created_by", "changed")
    return [
        {
            **{name: getattr(one, name) for name in names},
            "model": {name: getattr(models[one.model_id], name) for name in ("sha256", "name", "kind", "release")},
            "devices_by_state": counts.get(one.id, {}),
        }
        for one in rollouts
    ]


def _full(session: Session, rollout: Rollout) -> dict[str, Any]:
    query = (
        select(RolloutDevice, Device.name)
        .join(Device, Device.id == RolloutDevice.device_id)
        .where(RolloutDevice.rollout_id == rollout.id)
        .order_by(RolloutDevice.stage, Device.name)
    )
    devices = [
        {
            "device": name,
            "measured": {key: row.baseline[key] for key in ("before", "after") if key in row.baseline},
            **{key: getattr(row, key) for key in ("stage", "state", "before", "sentence", "changed")},
        }
        for row, name in session.execute(query)
    ]
    return _rows(session, [rollout])[0] | {"devices": devices}


def _find(session: Session, number: int) -> Rollout:
    rollout = session.get(Rollout, number) if 0 < number < 2**31 else None
    if rollout is None:
        raise HTTPException(404, "There is no roll-out of this number.")
    return rollout


@router.get("", response_model=Page[RolloutRow], summary="List the roll-outs")
def read_rollouts(session: Database, caller: Viewer, device: Name = None, cursor: Cursor = None, limit: Limit = 100) -> Any:
    """Return the roll-outs, the newest first: those in which a device takes part, or all."""
    query = select(Rollout).order_by(Rollout.id.desc())
    if device is not None:
        own = select(RolloutDevice.rollout_id).join(Device, Device.id == RolloutDevice.device_id).where(Device.name == device)
        query = query.where(Rollout.id.in_(own))
    key = read_cursor(cursor, int)
    if key is not None:
        query = query.where(is_before(key, Rollout.id))
    rollouts = session.scalars(query.limit(limit + 1)).all()
    page = make_page(rollouts, limit, lambda row: row, lambda row: (row.id,))
    rows = _rows(session, page["items"])
    if device is not None:
        _add_member_states(session, rows, device)
    return page | {"items": rows}


def _add_member_states(session: Session, rows: list[dict[str, Any]], device: str) -> None:
    """Add the state of a device to roll-outs."""
    query = select(RolloutDevice.rollout_id, RolloutDevice.state).join(Device, Device.id == RolloutDevice.device_id)
    states = {row.rollout_id: row.state for row in session.execute(query.where(Device.name == device))}
    for row in rows:
        row["device_state"] = states.get(row["id"], "")


@router.post("", status_code=201, response_model=FullRollout, responses=CONFLICT, summary="Start a roll-out")
def begin_rollout(content: NewRollout, request: Request, session: Database, settings: ServerSettings, caller: Admin) -> Any:
    """Start a roll-out of a stored model, stage by stage."""
    signer_of(request, settings)
    if not settings.server.public_url:
        raise UsageError("devices need an address to download models from: set [server] public_url, as https://fleet.example.org.")
    model = find_model(session, content.model)
    try:
        rollout = start_rollout(session, model, stages=content.stages, scope=content.scope, limits=content.limits, by=caller.name)
    except RolloutConflictError as error:
        raise HTTPException(409, sentence(error)) from error
    details: Mapping[str, Any] = {"id": rollout.id, "stages": rollout.stages, "scope": rollout.scope, "limits": rollout.limits}
    record(session, caller, "rollout.start", model.name, details)
    session.commit()
    return _full(session, rollout)


@router.get("/{number}", response_model=FullRollout, responses=NOT_FOUND, summary="Read a roll-out")
def read_rollout(number: int, session: Database, caller: Viewer) -> Any:
    """Return a roll-out with its devices."""
    return _full(session, _find(session, number))


@router.post(
    "/{number}/{action}",
    response_model=FullRollout,
    responses={**NOT_FOUND, **CONFLICT},
    summary="Pause, resume, halt or roll back",
)
def change_rollout(number: int, action: Literal["pause", "resume", "halt", "roll_back"], session: Database, caller: Admin) -> Any:
    """Pause, resume or halt a roll-out, or return all its devices to their previous model."""
    rollout = _find(session, number)
    try:
        if action == "pause":
            pause_rollout(session, number)
        elif action == "resume":
            resume_rollout(session, number)
        elif action == "halt":
            halt_rollout(session, number, f"by {caller.name}")
        else:
            roll_back(session, number)
    except RolloutConflictError as error:
        raise HTTPException(409, sentence(error)) from error
    record(session, caller, f"rollout.{action}", str(number))
    session.commit()
    session.refresh(rollout)
    return _full(session, rollout)
