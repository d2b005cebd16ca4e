"""Follows the commands of a roll-out: the state of each of its devices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from maskedge_fleet.commands.kinds import KINDS
from maskedge_fleet.commands.queue import FINAL
from maskedge_fleet.database.tables import Command, Device, Model, Rollout, RolloutDevice

from .models import model_of

IN_FLIGHT = ("sent", "downloaded", "trial")
"""States of a device whose update has begun."""
_STAGES = {"downloaded": "downloaded", "verified": "downloaded", "trial": "trial", "active": "trial"}
_ATTEMPTS = 3
"""Number of commands to a connected device that does not answer."""
_STATE_S = 120
"""Seconds in which the state of a device may not show its newest model yet."""


@dataclass
class Member:
    """A device in a roll-out.

    Attributes:
        row: Its row in the roll-out.
        device: The device.
        command: Its newest command of this roll-out; None for none.
        sha256: SHA-256 of the model of the roll-out.
        kind: Kind of that model.
    """

    row: RolloutDevice
    device: Device
    command: Command | None
    sha256: str
    kind: str

    @property
    def current(self) -> str:
        """SHA-256 of the model that the device reports; empty if unknown."""
        return model_of(self.device, self.kind)

    @property
    def is_reachable(self) -> bool:
        """True if the device is connected and allows updates."""
        return self.device.online and KINDS["update_model"].permission in self.device.commands

    @property
    def is_reverting(self) -> bool:
        """True if the newest command takes the device back to its previous model."""
        return self.command is not None and self.command.kind == "revert_model"

    def set_state(self, state: str, now: datetime, sentence: str = "") -> None:
        """Change the state of the device in the roll-out."""
        if (state, sentence) != (self.row.state, self.row.sentence):
            self.row.state, self.row.sentence, self.row.changed = state, sentence, now

    def follow(self, now: datetime) -> None:
        """Apply the newest answer of the device to its row."""
        if self.command is None or self.row.state == "rolled_back":
            return
        if self.is_reverting:
            self._follow_revert(now)
        elif self.row.state in IN_FLIGHT:
            self._follow_update(now)
        elif self.row.state == "active" and self._went_back(now):
            self.set_state("failed", now, self._sentence("it went back to its previous model"))

    def _follow_update(self, now: datetime) -> None:
        command = self.command
        assert command is not None  # noqa: S101  (checked by the caller)
        if command.state == "progress":
            self.set_state(_STAGES.get(command.answer.get("stage", ""), self.row.state), now)
        elif command.state == "done":
            self.set_state("active", now)
        elif command.state == "expired" or _came_too_late(command):
            self._retry(now)
        elif command.state in ("refused", "failed"):
            self.set_state("failed", now, self._sentence(f"the command was {command.state}"))

    def _retry(self, now: datetime) -> None:
        """Return a device without an answer to those that wait for a command."""
        if self.current == self.sha256:
            self.set_state("active", now)
            return
        attempts = int(self.row.baseline.get("attempts", 0)) + int(self.device.online)
        self.row.baseline = dict(self.row.baseline) | {"attempts": attempts}
        if attempts >= _ATTEMPTS:
            self.set_state("failed", now, f"it did not answer {attempts} commands")
        else:
            self.set_state("waiting", now, "it did not answer in time")

    def _follow_revert(self, now: datetime) -> None:
        command = self.command
        assert command is not None  # noqa: S101  (checked by the caller)
        if command.state == "done":
            self.set_state("rolled_back", now)
        elif command.state in ("refused", "failed"):
            self.set_state("failed", now, self._sentence("it cannot go back to its previous model"))

    def _went_back(self, now: datetime) -> bool:
        assert self.command is not None  # noqa: S101  (checked by the caller)
        if self.command.state == "failed":
            return True
        late = now - self.row.changed > timedelta(seconds=_STATE_S)
        return late and self.device.online and self.row.before != "" and self.current == self.row.before

    def needs_revert(self, now: datetime) -> bool:
        """Return True if the device has the model of the roll-out, and no command is on its way.

        Right after an update, its answer counts, since the state of the device may be older.
        """
        if self.command is None or self.command.state not in FINAL or self.row.state not in ("active", "failed"):
            return False
        if self.row.state == "failed":
            return not self.is_reverting and self.current == self.sha256
        recent = not self.is_reverting and now - self.row.changed <= timedelta(seconds=_STATE_S)
        return recent or self.current == self.sha256

    def is_back(self, now: datetime) -> bool:
        """Return True if an updated device reports another model again."""
        is_over = self.row.state == "active" and self.command is not None and self.command.state in FINAL
        return is_over and self.current not in ("", self.sha256) and not self.needs_revert(now)

    def _sentence(self, default: str) -> str:
        answer = self.command.answer if self.command is not None else {}
        return str(answer.get("sentence") or default)


def _came_too_late(command: Command) -> bool:
    """Return True if the device was offline until the command had expired, and therefore refused it."""
    return command.state == "refused" and command.answered is not None and command.answered > command.expires


def load_members(session: Session, rollout: Rollout, model: Model) -> list[Member]:
    """Return the devices of a roll-out, ordered by stage and name."""
    query = (
        select(RolloutDevice, Device, Command)
        .join(Device, Device.id == RolloutDevice.device_id)
        .outerjoin(Command, Command.id == RolloutDevice.command_id)
        .where(RolloutDevice.rollout_id == rollout.id)
        .order_by(RolloutDevice.stage, Device.name)
    )
    return [Member(row, device, command, model.sha256, model.kind) for row, device, command in session.execute(query)]
