"""A fleet in which time passes as the test says."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from helpers.fleet.commands import NEW, OLD, START, answer_command, change_device, commands_of
from maskedge_fleet.commands.outbox import expire
from maskedge_fleet.commands.signing import CommandSigner
from maskedge_fleet.database.tables import Command, Device, Model, Rollout, RolloutDevice
from maskedge_fleet.rollouts.control import start_rollout
from maskedge_fleet.rollouts.engine import RolloutEngine


class Fleet:
    """A model, a roll-out, and the engine.

    Attributes:
        now: The time.
        rollouts: The engine.
    """

    def __init__(self, engine: Engine, signer: CommandSigner) -> None:
        self.engine, self.now = engine, START
        self.rollouts = RolloutEngine(engine, signer, "https://fleet.example.org")
        self.number = 0

    def start(self, *stages: dict[str, object], digest: str = NEW, release: int = 2, **options: object) -> int:
        """Start a roll-out of a new model."""
        stored = select(Model).where(Model.sha256 == digest)
        # A transaction of its own, as on a server: it is over when the one of the roll-out begins.
        with Session(self.engine) as session, session.begin():
            if session.scalar(stored) is None:
                model = Model(
                    sha256=digest,
                    name="new.onnx",
                    kind="classifier",
                    release=release,
                    size=1000,
                    signature={"release": release},
                    card={},
                    content=b"model",
                    created=self.now,
                )
                session.add(model)
        with Session(self.engine) as session, session.begin():
            model = session.scalars(stored).one()
            self.number = start_rollout(session, model, stages=stages, by="test", now=self.now, **options).id  # type: ignore[arg-type]
        return self.number

    def run(self, seconds: float = 1) -> None:
        """Let time pass, and run two rounds: the second one sees what the first one has changed."""
        self.now += timedelta(seconds=seconds)
        expire(self.engine, self.now)
        for _ in range(2):
            self.rollouts.run_round(self.now)

    def rollout(self) -> Rollout:
        """Return the roll-out."""
        with Session(self.engine, expire_on_commit=False) as session:
            return session.get_one(Rollout, self.number)

    def states(self) -> dict[str, str]:
        """Return the state of each device in the roll-out."""
        return {name: row.state for name, row in self.rows().items()}

    def rows(self) -> dict[str, RolloutDevice]:
        """Return the row of each device in the roll-out."""
        query = select(Device.name, RolloutDevice).join(Device).where(RolloutDevice.rollout_id == self.number)
        with Session(self.engine, expire_on_commit=False) as session:
            return {found[0]: found[1] for found in session.execute(query.order_by(Device.id))}

    def open_commands(self, kind: str = "update_model") -> list[str]:
        """Return the names of the devices with a command that is not over."""
        query = select(Device.name).join(Command).where(Command.kind == kind, Command.state.in_(("waiting", "sent", "progress")))
        with Session(self.engine) as session:
            return sorted(session.scalars(query))

    def answer(
        self, *names: str, status: str = "done", stage: str | None = None, sentence: str = "", model: str | None = None
    ) -> None:
        """Answer the newest command to devices. With `done`, they report their model."""
        for name in names:
            command = commands_of(self.engine, name)[-1]
            answer_command(self.engine, command.id, status, self.now, stage, sentence)
            if status == "done":
                own = {"update_model": NEW, "revert_model": OLD}[command.kind]
                change_device(self.engine, name, model={"sha256": own, "release": 2 if own == NEW else 1})


@pytest.fixture
def fleet(engine: Engine, signer: CommandSigner) -> Fleet:
    """A fleet without devices."""
    return Fleet(engine, signer)
