"""`edge-fleet command`: send a command to devices, and wait for their answers."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import click
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from maskedge.cli.common import Command, FloatRange
from maskedge.config import LOG_LEVELS
from maskedge.errors import UsageError
from maskedge.remote.model_store import UPDATED_KINDS
from maskedge.support.text import displayable
from maskedge_fleet.access.audit import record
from maskedge_fleet.access.tokens import COMMAND_LINE
from maskedge_fleet.commands.kinds import KINDS
from maskedge_fleet.commands.queue import FINAL, LIFETIME_S, LONGEST_LIFETIME_S, find_device, queue_command
from maskedge_fleet.commands.signing import CommandSigner, open_signer
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import check_current, unreachable
from maskedge_fleet.database.tables import Command as CommandTable
from maskedge_fleet.rollouts.models import DOWNLOAD_S, find_model, update_arguments
from maskedge_fleet.settings import Settings

from .options import settings_options

_POLL_S = 0.3


@click.command(cls=Command)
@click.argument("devices", nargs=-1, required=True, metavar="DEVICE...")
@click.argument("kind", metavar="COMMAND")
@click.option("--camera", metavar="NAME", help="snapshot: the camera; default: the only one.")
@click.option("--anonymize/--no-anonymize", default=None, help="privacy: pixelate faces.")
@click.option("--stats-only/--no-stats-only", default=None, help="privacy: no positions and identities.")
@click.option("--level", type=click.Choice(LOG_LEVELS), help="log_level: the lowest level that is logged.")
@click.option("--model", metavar="SHA256", help="update_model: a stored model.")
@click.option("--model-kind", type=click.Choice(UPDATED_KINDS), help="revert_model: the kind of model; default: classifier.")
@click.option(
    "--expires", type=FloatRange(1, LONGEST_LIFETIME_S), default=LIFETIME_S, show_default=True, help="Seconds until it expires."
)
@click.option("--wait", type=FloatRange(0), help="Seconds to wait for the answers; default: until it expires.")
@settings_options
def command(
    settings: Settings,
    devices: tuple[str, ...],
    kind: str,
    expires: float,
    wait: float | None,
    model: str | None,
    **options: Any,
) -> None:
    """Send COMMAND to devices: reload, restart, snapshot, privacy, log_level, update_model or revert_model.

    The server (edge-fleet serve) sends it. The exit code is 0 if all devices have done it, otherwise 5.
    """
    signer = open_signer(settings.server.command_key)
    engine = open_engine(settings.database.url, create=False)
    check_current(engine)
    arguments = _arguments(kind, model, options)
    try:
        with Session(engine) as session, session.begin():
            if kind == "update_model":
                arguments = _update_arguments(session, settings, signer, model or "", expires)
            sent = {}
            for name in dict.fromkeys(devices):
                device = find_device(session, name)
                row = queue_command(session, device, kind, arguments, signer, by=COMMAND_LINE.name, lifetime_s=expires)
                record(session, COMMAND_LINE, f"command.{kind}", name, {"id": row.id})
                sent[row.id] = name
        end = time.monotonic() + (expires if wait is None else wait)
        states = _wait(engine, sent, end)
    except SQLAlchemyError as error:
        raise unreachable(engine, error) from error
    sys.exit(0 if all(state == "done" for state in states.values()) else 5)


def _arguments(kind: str, model: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a command. Options of other commands are refused."""
    given = {name: value for name, value in options.items() if value is not None}
    if "model_kind" in given:
        given["kind"] = given.pop("model_kind")
    if model is not None and kind != "update_model":
        raise UsageError("--model belongs to the command update_model.")
    if kind == "update_model" and model is None:
        raise UsageError("update_model needs --model SHA256: edge-fleet rollout models lists them.")
    if kind in KINDS and kind != "update_model":
        return KINDS[kind].check(given)
    return given


def _update_arguments(session: Session, settings: Settings, signer: CommandSigner, model: str, expires: float) -> dict[str, Any]:
    until = datetime.now(timezone.utc) + timedelta(seconds=expires + DOWNLOAD_S)
    return update_arguments(find_model(session, model), settings.server.public_url, until, signer.download_secret)


def _wait(engine: Any, sent: dict[str, str], end: float) -> dict[str, str]:
    """Print the answers as they come, and return the last states."""
    states = dict.fromkeys(sent, "waiting")
    shown: dict[str, tuple[str, str]] = {}
    while True:
        with Session(engine) as session:
            for row in session.scalars(select(CommandTable).where(CommandTable.id.in_(sent))):
                states[row.id] = row.state
                words = row.state, str(row.answer.get("sentence", ""))
                if row.answer and words != shown.get(row.id):
                    shown[row.id] = words
                    details = row.answer.get("details")
                    more = f" {json.dumps(details)}" if details else ""
                    click.echo(displayable(f"{sent[row.id]}: {row.state}: {words[1] or row.kind}{more}"))
        if all(state in FINAL for state in states.values()) or time.monotonic() >= end:
            break
        time.sleep(_POLL_S)
    for number, state in states.items():
        if state == "waiting":
            click.echo(f"{sent[number]}: not sent: does edge-fleet serve run, and is the broker there?", err=True)
        elif state in ("sent", "expired"):
            click.echo(f"{sent[number]}: no answer: the device is offline, or refuses the key.", err=True)
    return states
