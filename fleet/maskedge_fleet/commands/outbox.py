"""Sends waiting commands to the broker, and marks the expired ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone

from sqlalchemy import Engine, Executable, and_, exists, or_, select, update
from sqlalchemy.orm import Session, aliased

from maskedge_fleet.database.tables import Command, Device

AT_ONCE = 100
"""Number of commands that are sent together."""
RESEND_S = 30
"""Seconds after which an unanswered command is sent again."""
ANSWER_S = 30
"""Seconds after its expiry in which the answer to a command may still be on its way."""
PROGRESS_S = 1800
"""Seconds without an answer after which a command in progress counts as expired."""

Publish = Callable[[Sequence[tuple[str, str]]], list[bool]]
"""Publishes topics and payloads, and returns for each True if the broker has confirmed it."""


def send_waiting(engine: Engine, publish: Publish, now: datetime | None = None) -> int:
    """Publish waiting commands, and again those that a connected device has not answered.

    A command to a device waits until all earlier ones to this device are sent, because the device
    refuses lower numbers. Sending a command again is harmless: a device that has executed it repeats
    its answer. So a process may die before it has recorded the broker's confirmation, and an answer
    may get lost. Several processes may call this at the same time.

    Args:
        engine: The database. In PostgreSQL, the rows are locked while they are sent. For SQLite,
            the caller must be the only one (`database.rounds.only_one`).
        publish: Publishes messages.
        now: The time; None for the clock's.

    Returns:
        Number of commands that are sent.
    """
    now = now or datetime.now(timezone.utc)
    with Session(engine) as session:
        rows = session.execute(_due_commands(now)).all()
        if not rows:
            return 0
        if engine.dialect.name == "sqlite":
            session.rollback()
        confirmed = publish([(f"{row.prefix}/command", row.token) for row in rows])
        sent = [row for row, arrived in zip(rows, confirmed, strict=True) if arrived]
        if sent:
            # In SQLite the answer may already be there.
            numbers = [row.id for row in sent]
            session.execute(update(Command).where(Command.id.in_(numbers), Command.state == "waiting").values(state="sent"))
            # Again after 30 s, then after twice the time each.
            waits = (max(timedelta(seconds=RESEND_S), now - row.created) for row in sent)
            session.execute(update(Command), [{"id": row.id, "due": now + wait} for row, wait in zip(sent, waits, strict=True)])
        session.commit()
    return len(sent)


def _due_commands(now: datetime) -> Executable:
    """Return the query of the commands to send, with their rows locked."""
    earlier = aliased(Command)
    is_first = ~exists().where(
        earlier.device_id == Command.device_id,
        earlier.state == "waiting",
        earlier.sequence < Command.sequence,
        earlier.expires > now,
    )
    first = and_(Command.state == "waiting", Command.expires > now, is_first)
    again = and_(Command.state == "sent", Command.expires > now, Device.online)
    lost = and_(Command.state == "progress", Device.online)
    return (
        select(Command.id, Device.prefix, Command.token, Command.created)
        .join(Device)
        .where(Command.due <= now, or_(first, again, lost))
        .order_by(Command.created)
        .limit(AT_ONCE)
        .with_for_update(skip_locked=True, of=Command)
    )


def expire(engine: Engine, now: datetime | None = None) -> None:
    """Mark commands that are over without an answer.

    Args:
        engine: The database.
        now: The time; None for the clock's.
    """
    now = now or datetime.now(timezone.utc)
    unanswered = and_(Command.state.in_(("waiting", "sent")), Command.expires < now - timedelta(seconds=ANSWER_S))
    stuck = and_(Command.state == "progress", Command.answered < now - timedelta(seconds=PROGRESS_S))
    with engine.begin() as connection:
        # Most rounds find nothing, and then write nothing.
        numbers = connection.scalars(select(Command.id).where(or_(unanswered, stuck)).limit(1000)).all()
        if numbers:
            states = ("waiting", "sent", "progress")
            connection.execute(update(Command).where(Command.id.in_(numbers), Command.state.in_(states)).values(state="expired"))
