"""Applies the answers of devices to the rows of their commands."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import Connection, select, update
from sqlalchemy.orm import Session

from maskedge_fleet.database.tables import Command, Device

from .kinds import PROGRESS_STAGES
from .queue import FINAL

STATUSES = ("done", "refused", "failed", "progress")
_LONGEST_SENTENCE = 1000


def apply_answer(
    database: Session | Connection, device: str, payload: Mapping[str, Any], now: datetime | None = None
) -> str | None:
    """Apply an answer of a device. A repeated or late answer changes nothing.

    Args:
        database: The transaction.
        device: Name of the device, from the topic.
        payload: The object of the answer.
        now: When it arrived; None for the clock's time.

    Returns:
        The reason if the answer is not accepted, for the table of rejects; otherwise None.
    """
    number, status, stage = payload.get("id"), payload.get("status"), payload.get("stage")
    sentence, details = payload.get("sentence", ""), payload.get("details", {})
    if not isinstance(number, str) or status not in STATUSES:
        return "the answer has no id, or another status than " + ", ".join(STATUSES)
    if stage is not None and stage not in PROGRESS_STAGES:
        return "the answer has an unknown stage"
    if not isinstance(sentence, str) or not isinstance(details, Mapping):
        return "the answer has a sentence or details of another type"
    query = select(Command.state, Command.answer).join(Device).where(Command.id == number, Device.name == device)
    row = database.execute(query).one_or_none()
    if row is None:
        return "the answer is for a command that this device did not get"
    # A device that went back to its previous model after `done` says so with the same id.
    went_back = row.state == "done" and status == "failed" and stage == "rolled_back"
    if row.state in FINAL and row.state != "expired" and not went_back:
        return None
    if status == "progress" and _rank(stage) < _rank(row.answer.get("stage")):
        return None
    answer = {"status": status, "sentence": sentence[:_LONGEST_SENTENCE], "details": dict(details)}
    if isinstance(payload.get("time"), str):
        answer["time"] = payload["time"][:64]
    if stage is not None:
        answer["stage"] = stage
    # Not if another process has changed it since.
    changed = update(Command).where(Command.id == number, Command.state == row.state)
    database.execute(changed.values(state=status, answer=answer, answered=now or datetime.now(timezone.utc)))
    return None


def _rank(stage: str | None) -> int:
    """Return the place of a stage in their order; -1 for none."""
    return PROGRESS_STAGES.index(stage) if stage in PROGRESS_STAGES else -1
