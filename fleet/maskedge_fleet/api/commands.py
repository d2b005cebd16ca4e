"""Commands to devices: the list of a device, and new ones."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from maskedge_fleet.access.audit import record
from maskedge_fleet.commands.kinds import find_kind
from maskedge_fleet.commands.queue import LIFETIME_S, LONGEST_LIFETIME_S, queue_command
from maskedge_fleet.commands.signing import CommandSigner, open_signer
from maskedge_fleet.database.tables import Command, Device
from maskedge_fleet.rollouts.models import DOWNLOAD_S, find_model, update_arguments
from maskedge_fleet.settings import Settings

from .core.access import Database, Operator, ServerSettings, Viewer
from .core.errors import NOT_FOUND
from .core.paging import Cursor, Limit, Page, is_before, make_page, read_cursor
from .core.parameters import PathName

router = APIRouter(prefix="/devices/{name}/commands", tags=["commands"])
_HIDDEN = ("url", "signature")
"""Arguments that are not shown: the address holds the right to download the model."""


class CommandRow(BaseModel):
    """A command to a device."""

    id: str
    command: str
    arguments: dict[str, Any]
    state: Literal["waiting", "sent", "progress", "done", "refused", "failed", "expired"] = Field(
        description="waiting: not sent to the broker yet; expired: the device did not answer"
    )
    answer: dict[str, Any] = Field(description="The newest answer of the device: status, stage, sentence, details")
    answered: datetime | None
    created: datetime
    created_by: str
    expires: datetime


class NewCommand(BaseModel, extra="forbid"):
    """A command to send."""

    command: str = Field(max_length=32, description="reload, restart, snapshot, privacy, log_level, update_model or revert_model")
    arguments: dict[str, Any] = Field(
        default_factory=dict,
        description="snapshot: camera; privacy: anonymize, stats_only; log_level: level; update_model: sha256 of a stored model; "
        "revert_model: kind",
    )
    expires_s: float = Field(LIFETIME_S, ge=1, le=LONGEST_LIFETIME_S, description="Seconds until the device no longer takes it")


def signer_of(request: Request, settings: Settings) -> CommandSigner:
    """Return the key that signs commands. It is read once.

    Raises:
        UsageError: The server has no key.
    """
    state = request.app.state
    if getattr(state, "signer", None) is None:
        state.signer = open_signer(settings.server.command_key)
    signer: CommandSigner = state.signer
    return signer


def _device(session: Session, name: str) -> Device:
    device = session.scalar(select(Device).where(Device.name == name))
    if device is None:
        raise HTTPException(404, "There is no device of this name.")
    return device


def _shown(command: Command) -> dict[str, Any]:
    names = ("id", "state", "answer", "answered", "created", "created_by", "expires")
    arguments = {key: value for key, value in command.arguments.items() if key not in _HIDDEN}
    return {**{name: getattr(command, name) for name in names}, "command": command.kind, "arguments": arguments}


@router.get("", response_model=Page[CommandRow], responses=NOT_FOUND, summary="List the commands to a device")
def read_commands(name: PathName, session: Database, caller: Viewer, cursor: Cursor = None, limit: Limit = 100) -> Any:
    """Return the commands to a device, the newest first."""
    query = select(Command).where(Command.device_id == _device(session, name).id).order_by(Command.sequence.desc())
    key = read_cursor(cursor, int)
    if key is not None:
        query = query.where(is_before(key, Command.sequence))
    rows = session.scalars(query.limit(limit + 1)).all()
    return make_page(rows, limit, _shown, lambda row: (row.sequence,))


@router.post("", status_code=201, response_model=CommandRow, responses=NOT_FOUND, summary="Send a command to a device")
def send_command(
    name: PathName, content: NewCommand, request: Request, session: Database, settings: ServerSettings, caller: Operator
) -> Any:
    """Sign a command, and send it as soon as the broker can be reached. The device answers later."""
    kind = find_kind(content.command)
    if kind.admin and not caller.may("admin"):
        raise HTTPException(403, f"The token {caller.name} has the role {caller.role}, and {kind.name} needs the role admin.")
    device, signer = _device(session, name), signer_of(request, settings)
    arguments: Mapping[str, Any] = content.arguments
    if kind.name == "update_model":
        expires = datetime.now(timezone.utc) + timedelta(seconds=content.expires_s + DOWNLOAD_S)
        model = find_model(session, str(arguments.get("sha256", "")))
        arguments = update_arguments(model, settings.server.public_url, expires, signer.download_secret)
    command = queue_command(session, device, kind.name, arguments, signer, by=caller.name, lifetime_s=content.expires_s)
    shown = _shown(command)
    record(session, caller, f"command.{kind.name}", device.name, {"id": command.id, "arguments": shown["arguments"]})
    session.commit()
    return shown
