"""The audit log, and messages that were not accepted."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy import select

from maskedge_fleet.database.tables import Audit, Reject

from .core.access import Admin, Database, Operator
from .core.paging import Cursor, Limit, Page, make_page, read_cursor
from .core.parameters import Name

router = APIRouter(tags=["logs"])


class AuditRow(BaseModel):
    """An action."""

    id: int
    time: datetime
    token: str = Field(description="Name of the token")
    action: str
    target: str
    details: dict[str, Any]
    address: str


class RejectRow(BaseModel):
    """A message that was not accepted."""

    id: int
    received: datetime
    topic: str
    reason: str
    size: int = Field(description="Size of the message in bytes")
    payload: str = Field(description="Its first bytes, as text with escapes")


@router.get("/audit", response_model=Page[AuditRow], summary="The audit log")
def read_audit(
    session: Database, caller: Admin, token: Name = None, action: Name = None, cursor: Cursor = None, limit: Limit = 100
) -> Any:
    """Return changes and commands, the newest first."""
    query = select(Audit).order_by(Audit.id.desc())
    if token is not None:
        query = query.where(Audit.token == token)
    if action is not None:
        query = query.where(Audit.action == action)
    key = read_cursor(cursor, int)
    if key is not None:
        query = query.where(Audit.id < key[0])
    names = ("id", "time", "token", "action", "target", "details", "address")
    rows = session.scalars(query.limit(limit + 1)).all()
    return make_page(rows, limit, lambda row: {name: getattr(row, name) for name in names}, lambda row: (row.id,))


@router.get("/rejects", response_model=Page[RejectRow], summary="Messages that were not accepted")
def read_rejects(session: Database, caller: Operator, cursor: Cursor = None, limit: Limit = 100) -> Any:
    """Return rejected messages with the reason, the newest first."""
    query = select(Reject).order_by(Reject.id.desc())
    key = read_cursor(cursor, int)
    if key is not None:
        query = query.where(Reject.id < key[0])
    rows = session.scalars(query.limit(limit + 1)).all()
    return make_page(rows, limit, _reject, lambda row: (row.id,))


def _reject(row: Reject) -> dict[str, Any]:
    names = ("id", "received", "topic", "reason", "size")
    return {**{name: getattr(row, name) for name in names}, "payload": row.payload.decode("utf-8", "backslashreplace")}
