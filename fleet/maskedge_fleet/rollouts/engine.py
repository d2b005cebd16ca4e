"""The engine of roll-outs. Each round brings them one step further.

All state is in the database, and each step is one transaction. So a server that is killed continues
where it was, and several servers can take turns.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import Engine, exists, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from maskedge.errors import UsageError
from maskedge_fleet.commands.queue import queue_command
from maskedge_fleet.commands.signing import CommandSigner
from maskedge_fleet.database.rounds import is_conflict, only_one
from maskedge_fleet.database.tables import Device, Model, Rollout, RolloutDevice

from .control import LIVE, is_newest
from .measure import measure, sum_measures
from .models import DOWNLOAD_S, model_of, update_arguments
from .plan import Limits, read_limits
from .progress import IN_FLIGHT, Member, load_members
from .regressions import find_regressions

_log = logging.getLogger("maskedge.fleet")
AT_ONCE = 50
"""Number of updates that one round begins."""
MOST_IN_FLIGHT = 200
"""Number of devices of a roll-out that update at the same time, because each downloads the model."""
_LEAST_BASELINE = timedelta(hours=1)
_MOST_OTHERS = 500


class RolloutEngine:
    """Advances the roll-outs.

    Args:
        engine: The database.
        signer: The key of the commands.
        public_url: Address of the server for devices.
    """

    def __init__(self, engine: Engine, signer: CommandSigner, public_url: str) -> None:
        self._engine = engine
        self._signer = signer
        self._public_url = public_url

    def run_round(self, now: datetime | None = None) -> None:
        """Advance every roll-out by one step, unless another process does.

        Args:
            now: The time; None for the clock's.
        """
        with only_one(self._engine, "rollouts") as held:
            if not held:
                return
            now = now or datetime.now(timezone.utc)
            with Session(self._engine) as session:
                busy = exists().where(RolloutDevice.rollout_id == Rollout.id, RolloutDevice.state.in_((*IN_FLIGHT, "waiting")))
                late = exists().where(RolloutDevice.rollout_id == Rollout.id, RolloutDevice.state == "active")
                wanted = or_(Rollout.state.in_(LIVE), busy, (Rollout.state == "rolled_back") & late)
                numbers = session.scalars(select(Rollout.id).where(wanted).order_by(Rollout.id)).all()
            for number in numbers:
                # The next round sees what was changed or deleted meanwhile.
                try:
                    self._advance(number, now)
                except _ChangedError:
                    pass
                except SQLAlchemyError as error:
                    if not is_conflict(error):
                        raise
                    _log.info("the roll-out %d waits for the next round: %s", number, str(error).splitlines()[0][:200])

    def _advance(self, number: int, now: datetime) -> None:
        """Follow the answers of a roll-out, and decide; then send commands, one transaction each."""
        with Session(self._engine) as session, session.begin():
            rollout = session.get_one(Rollout, number, with_for_update=True)
            model = session.get_one(Model, rollout.model_id)
            members = load_members(session, rollout, model)
            for member in members:
                member.follow(now)
            updates: list[int] = []
            reverts: list[int] = []
            if is_newest(session, rollout):
                if rollout.state == "running":
                    self._watch(session, rollout, members, now)
                if rollout.state in ("running", "done"):
                    updates = _next_updates(members, rollout.stage)
                elif rollout.state in ("rolling_back", "rolled_back"):
                    reverts = _next_reverts(session, rollout, members, now)
        for device in updates:
            self._send_update(number, device, now)
        for device in reverts:
            self._send_revert(number, device, now)

    def _watch(self, session: Session, rollout: Rollout, members: Sequence[Member], now: datetime) -> None:
        """Halt the roll-out, or begin its next stage, if it is time."""
        limits = read_limits(rollout.limits)
        failed = _find_failures(members, rollout.stage, limits)
        if failed:
            _halt(session, rollout, failed, now)
            return
        while rollout.state == "running":
            own = [member for member in members if member.row.stage == rollout.stage]
            wait = timedelta(seconds=float(rollout.stages[rollout.stage]["wait_s"]))
            started = rollout.stage_started or now
            if own:
                active = [member for member in own if member.row.state == "active"]
                is_over = all(member.row.state == "failed" for member in own)
                if any(_is_open(member) for member in own) or not (active or is_over):
                    return
                updated = max([started, *(member.row.changed for member in active)])
                if now < updated + wait:
                    return
                reasons = _compare(
                    session, members, active, limits, (started - max(wait, _LEAST_BASELINE), started), (updated, now)
                )
                if reasons:
                    _halt(session, rollout, f"stage {rollout.stage + 1}: {'; '.join(reasons)}", now)
                    return
            if rollout.stage + 1 == len(rollout.stages):
                _change(session, rollout, state="done", changed=now)
                _log.info("roll-out %d is done.", rollout.id)
            else:
                _change(session, rollout, stage=rollout.stage + 1, stage_started=now, changed=now)
                _log.info("roll-out %d: stage %d of %d begins.", rollout.id, rollout.stage + 1, len(rollout.stages))
                if any(member.row.stage == rollout.stage for member in members):
                    return

    def _send_update(self, number: int, device: int, now: datetime) -> None:
        """Send the update to a device that waits."""
        with Session(self._engine) as session, session.begin():
            rollout, row, member = _reload(session, number, device)
            if rollout.state not in ("running", "done") or row.state != "waiting":
                return
            model = session.get_one(Model, rollout.model_id)
            current = model_of(member, model.kind)
            row.changed = now
            if current == model.sha256:
                row.state, row.sentence = "active", "it had this model already"
                return
            lifetime = read_limits(rollout.limits).answer_s
            try:
                arguments = update_arguments(
                    model, self._public_url, now + timedelta(seconds=lifetime + DOWNLOAD_S), self._signer.download_secret
                )
                command = queue_command(
                    session, member, "update_model", arguments, self._signer, by=_author(rollout), lifetime_s=lifetime, now=now
                )
            except UsageError as error:
                row.sentence = str(error)
                return
            row.state, row.command_id, row.sentence = "sent", command.id, ""
            row.before = row.before or current

    def _send_revert(self, number: int, device: int, now: datetime) -> None:
        """Take an updated device back to its previous model."""
        with Session(self._engine) as session, session.begin():
            rollout, row, member = _reload(session, number, device)
            model = session.get_one(Model, rollout.model_id)
            lifetime = read_limits(rollout.limits).answer_s
            try:
                command = queue_command(
                    session,
                    member,
                    "revert_model",
                    {"kind": model.kind},
                    self._signer,
                    by=_author(rollout),
                    lifetime_s=lifetime,
                    now=now,
                )
            except UsageError as error:
                row.sentence = str(error)
                return
            row.state, row.command_id, row.sentence = "active", command.id, "it goes back to its previous model"


def _reload(session: Session, number: int, device: int) -> tuple[Rollout, RolloutDevice, Device]:
    row = session.get_one(RolloutDevice, (number, device), with_for_update=True)
    return session.get_one(Rollout, number), row, session.get_one(Device, device)


def _author(rollout: Rollout) -> str:
    return f"roll-out {rollout.id}"


def _is_open(member: Member) -> bool:
    """Return True if the stage must wait for the device. It does not wait for one that is offline."""
    return member.row.state in IN_FLIGHT or (member.row.state == "waiting" and member.is_reachable)


def _find_failures(members: Sequence[Member], stage: int, limits: Limits) -> str:
    """Return the reason to halt if too many devices of a stage failed; otherwise an empty text."""
    for number in range(stage + 1):
        own = [member for member in members if member.row.stage == number]
        failed = [member for member in own if member.row.state == "failed"]
        if failed and len(failed) > limits.failed_share * len(own):
            first = f"{failed[0].device.name}: {failed[0].row.sentence}"
            return f"stage {number + 1}: {len(failed)} of {len(own)} devices failed ({first})"
    return ""


def _compare(
    session: Session,
    members: Sequence[Member],
    active: Sequence[Member],
    limits: Limits,
    before: tuple[datetime, datetime],
    after: tuple[datetime, datetime],
) -> list[str]:
    """Compare the devices of a stage before and after with devices that wait. Return the reasons to halt."""
    own = [member.device.id for member in active if member.command is not None]
    others = [member.device.id for member in members if member.row.state == "waiting"][:_MOST_OTHERS]
    first, second = (measure(session, [*own, *others], *span) for span in (before, after))
    for member in active:
        if member.device.id in first:
            figures = {"before": first[member.device.id].to_json(), "after": second[member.device.id].to_json()}
            member.row.baseline = dict(member.row.baseline) | figures
    return find_regressions(
        sum_measures(first, own), sum_measures(second, own), sum_measures(first, others), sum_measures(second, others), limits
    )


class _ChangedError(Exception):
    """A user has changed the roll-out since it was read."""


def _change(session: Session, rollout: Rollout, **values: Any) -> None:
    """Change a roll-out, unless a user has changed it in this moment.

    Raises:
        _ChangedError: The user was first.
    """
    session.flush()
    unchanged = Rollout.id == rollout.id, Rollout.state == rollout.state, Rollout.stage == rollout.stage
    if session.scalar(update(Rollout).where(*unchanged).values(values).returning(Rollout.id)) is None:
        raise _ChangedError
    session.refresh(rollout)


def _halt(session: Session, rollout: Rollout, reason: str, now: datetime) -> None:
    _change(session, rollout, state="halted", reason=reason, changed=now)
    _log.warning("roll-out %d is halted: %s.", rollout.id, reason)


def _next_updates(members: Sequence[Member], stage: int) -> list[int]:
    """Return the devices of the current and earlier stages that can be updated now."""
    room = MOST_IN_FLIGHT - sum(member.row.state in IN_FLIGHT for member in members)
    ready = [
        member.device.id
        for member in members
        if member.row.stage <= stage and member.row.state == "waiting" and member.is_reachable
    ]
    return ready[: max(0, min(room, AT_ONCE))]


def _next_reverts(session: Session, rollout: Rollout, members: Sequence[Member], now: datetime) -> list[int]:
    """Return the devices that can go back now, and end the roll-back when all others are offline."""
    for member in members:
        if member.is_back(now):
            member.set_state("rolled_back", now, "it had another model already")
    updated = [member for member in members if member.needs_revert(now)]
    pending = any(
        (member.row.state in IN_FLIGHT or (member.is_reverting and member.row.state == "active")) and member.device.online
        for member in members
    )
    if rollout.state == "rolling_back" and not pending and not any(member.is_reachable for member in updated):
        _change(session, rollout, state="rolled_back", changed=now)
        _log.info("roll-out %d is rolled back.", rollout.id)
    return [member.device.id for member in updated if member.is_reachable][:AT_ONCE]
