"""The audit log: who did what, and when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from sqlalchemy.orm import Session

from maskedge_fleet.database.tables import Audit

from .tokens import Caller


def record(session: Session, caller: Caller, action: str, target: str, details: Mapping[str, Any] | None = None) -> None:
    """Add an action to the audit log. It is stored together with the change, or not at all.

    Args:
        session: The session of the change; the caller commits.
        caller: The token.
        action: Name of the action, such as `device.change`.
        target: Name of its object, such as a device.
        details: Further values, without secrets.
    """
    session.add(
        Audit(
            time=datetime.now(timezone.utc),
            token=caller.name,
            action=action,
            target=target,
            details=dict(details or {}),
            address=caller.address[:64],
        )
    )
