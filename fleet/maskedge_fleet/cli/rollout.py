"""`edge-fleet rollout`: roll out a model in stages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from maskedge.cli.common import Command, CommandGroup
from maskedge.errors import UsageError
from maskedge.modelfile.signature import signature_path
from maskedge.support.files import read_regular
from maskedge.support.text import displayable
from maskedge_fleet.access.audit import record
from maskedge_fleet.access.tokens import COMMAND_LINE
from maskedge_fleet.commands.signing import open_signer
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import check_current, unreachable
from maskedge_fleet.database.tables import Device, Model, Rollout, RolloutDevice
from maskedge_fleet.rollouts.control import find_rollout, halt_rollout, pause_rollout, resume_rollout, roll_back, start_rollout
from maskedge_fleet.rollouts.models import (
    MOST_BYTES,
    MOST_SIGNATURE_BYTES,
    add_model,
    find_model,
    model_keys,
    read_signature_text,
)
from maskedge_fleet.rollouts.plan import DEFAULT_WAIT_S
from maskedge_fleet.settings import Settings

from .options import settings_options


@click.group(cls=CommandGroup)
def rollout() -> None:
    """Roll out a model in stages. The server (edge-fleet serve) does the work."""


@contextmanager
def _open(settings: Settings) -> Iterator[Session]:
    """Yield a transaction of the database."""
    engine = open_engine(settings.database.url, create=False)
    check_current(engine)
    try:
        with Session(engine) as session, session.begin():
            yield session
    except SQLAlchemyError as error:
        raise unreachable(engine, error) from error


@rollout.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@settings_options
def add(settings: Settings, file: Path) -> None:
    """Store the signed model FILE. Its signature is FILE.sig."""
    keys = model_keys(settings.models.trusted_keys)
    content, signature = _read(file, MOST_BYTES), _read(signature_path(file), MOST_SIGNATURE_BYTES)
    with _open(settings) as session:
        model = add_model(session, content, read_signature_text(signature), file.name, keys, by=COMMAND_LINE.name)
        if model in session.new:
            record(session, COMMAND_LINE, "model.add", model.name, {"sha256": model.sha256, "release": model.release})
        click.echo(f"{model.kind} release {model.release}: {model.sha256}")


def _read(path: Path, most: int) -> bytes:
    try:
        return read_regular(path, most)
    except OSError as error:
        raise UsageError(f"{displayable(path)} cannot be read ({error.strerror}): check the path.") from error


@rollout.command(cls=Command)
@settings_options
def models(settings: Settings) -> None:
    """List the stored models, the newest first."""
    with _open(settings) as session:
        for model in session.scalars(select(Model).order_by(Model.id.desc())):
            click.echo(f"{model.sha256}  {model.kind} release {model.release}  {model.name}")


@rollout.command(cls=Command)
@click.argument("model")
@click.option("--canary", "canaries", multiple=True, metavar="DEVICE", help="A device of the first stage; may be repeated.")
@click.option(
    "--percent", "percents", multiple=True, type=float, help="A stage of so many percent; may be repeated. Default: 5, 25, 100"
)
@click.option("--stage-wait", type=float, default=DEFAULT_WAIT_S, show_default=True, help="Seconds to watch each stage.")
@click.option("--site", help="Only devices of this site.")
@click.option("--group", help="Only devices of this group.")
@click.option(
    "--limit", "limits", multiple=True, metavar="NAME=NUMBER", help="A limit, such as failed_share=0.05; may be repeated."
)
@settings_options
def start(
    settings: Settings,
    model: str,
    canaries: tuple[str, ...],
    percents: tuple[float, ...],
    stage_wait: float,
    site: str | None,
    group: str | None,
    limits: tuple[str, ...],
) -> None:
    """Start a roll-out of MODEL: the SHA-256 of a stored model, or its first digits."""
    open_signer(settings.server.command_key)
    stages = [{"devices": list(canaries), "wait_s": stage_wait}] if canaries else []
    stages += [{"percent": percent, "wait_s": stage_wait} for percent in percents or (5.0, 25.0, 100.0)]
    scope = {name: value for name, value in (("site", site), ("group", group)) if value is not None}
    with _open(settings) as session:
        found = find_model(session, model)
        made = start_rollout(session, found, stages=stages, scope=scope, limits=dict(map(_limit, limits)), by=COMMAND_LINE.name)
        record(session, COMMAND_LINE, "rollout.start", found.name, {"id": made.id})
        click.echo(f"roll-out {made.id} of {found.kind} release {found.release} has started")


def _limit(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError:
        raise UsageError(f"--limit takes NAME=NUMBER, got {displayable(text)}.") from None


@rollout.command(cls=Command)
@click.argument("number", type=int, required=False)
@settings_options
def status(settings: Settings, number: int | None) -> None:
    """Show a roll-out and its devices; without a NUMBER, all roll-outs."""
    with _open(settings) as session:
        if number is None:
            for one in session.scalars(select(Rollout).order_by(Rollout.id.desc())):
                click.echo(_line(session, one))
            return
        one = find_rollout(session, number)
        click.echo(_line(session, one))
        query = (
            select(RolloutDevice, Device.name)
            .join(Device, Device.id == RolloutDevice.device_id)
            .where(RolloutDevice.rollout_id == number)
            .order_by(RolloutDevice.stage, Device.name)
        )
        for row, name in session.execute(query):
            line = f"{row.state:<11} {name}{f': {row.sentence}' if row.sentence else ''}"
            click.echo(f"  stage {row.stage + 1}  {displayable(line)}")


def _line(session: Session, one: Rollout) -> str:
    model = session.get_one(Model, one.model_id)
    reason = f" ({one.reason})" if one.reason else ""
    state = one.state.replace("_", " ")
    return displayable(
        f"roll-out {one.id}: {model.kind} release {model.release}, stage {one.stage + 1} of {len(one.stages)}, {state}{reason}"
    )


@rollout.command(cls=Command)
@click.argument("number", type=int)
@settings_options
def pause(settings: Settings, number: int) -> None:
    """Update no further devices until resume."""
    with _open(settings) as session:
        pause_rollout(session, number)
        record(session, COMMAND_LINE, "rollout.pause", str(number))


@rollout.command(cls=Command)
@click.argument("number", type=int)
@settings_options
def resume(settings: Settings, number: int) -> None:
    """Resume a paused or halted roll-out. Devices that failed are tried again."""
    with _open(settings) as session:
        resume_rollout(session, number)
        record(session, COMMAND_LINE, "rollout.resume", str(number))


@rollout.command(cls=Command)
@click.argument("number", type=int)
@settings_options
def halt(settings: Settings, number: int) -> None:
    """Halt a roll-out. Devices that are updated keep the model."""
    with _open(settings) as session:
        halt_rollout(session, number, f"by {COMMAND_LINE.name}")
        record(session, COMMAND_LINE, "rollout.halt", str(number))


@rollout.command(cls=Command)
@click.argument("number", type=int)
@settings_options
def back(settings: Settings, number: int) -> None:
    """Return every updated device to its previous model."""
    with _open(settings) as session:
        roll_back(session, number)
        record(session, COMMAND_LINE, "rollout.roll_back", str(number))
