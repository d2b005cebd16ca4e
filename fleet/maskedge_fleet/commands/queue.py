"""Creates commands. A command is a row of the database until the server sends it (`outbox`)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import case, select, update
from sqlalchemy.orm import Session

from maskedge.errors import UsageError
from maskedge.settings import shown
from maskedge_fleet.database.tables import Command, Device

from .kinds import find_kind
from .signing import CommandSigner

LIFETIME_S = 300
"""Default time in seconds until a command expires."""
LONGEST_LIFETIME_S = 7 * 86400
FINAL = ("done", "refused", "failed", "expired")
"""States of a command that is over."""


def find_device(session: Session, name: str) -> Device:
    """Return a device.

    Raises:
        UsageError: There is no device of this name.
    """
    device = session.scalar(select(Device).where(Device.name == name))
    if device is None:
        raise UsageError(f"there is no device {shown(name)}: check its name; a device appears with its first message.")
    return device


def check_allowed(device: Device, kind: str) -> None:
    """Check that a device allows a kind of command, by its newest state.

    Raises:
        UsageError: The device does not allow it.
    """
    permission = find_kind(kind).permission
    if permission not in device.commands:
        raise UsageError(
            f"the device {device.name} does not allow {kind}: add {permission!r} to [fleet] commands in its edge.toml."
        )


def queue_command(
    session: Session,
    device: Device,
    kind: str,
    arguments: Mapping[str, Any],
    signer: CommandSigner,
    *,
    by: str,
    lifetime_s: float = LIFETIME_S,
    now: datetime | None = None,
) -> Command:
    """Create a signed command. It is sent after the transaction of `session` is committed.

    The number of the command is allocated in the same transaction, so the numbers of the commands
    to a device rise in the order of the commits. It is the time in milliseconds, or one more than
    the last number.

    Args:
        session: The transaction.
        device: The device.
        kind: Kind of command.
        arguments: Its arguments.
        signer: The key.
        by: Name of the token or of the user, for the list of commands.
        lifetime_s: Seconds until it expires.
        now: The time; None for the clock's.

    Raises:
        UsageError: The device does not allow this kind, or an argument is not valid.
    """
    checked = find_kind(kind).check(arguments)
    check_allowed(device, kind)
    if not 1 <= lifetime_s <= LONGEST_LIFETIME_S:
        raise UsageError(f"a command expires after 1 to {LONGEST_LIFETIME_S} seconds, got {lifetime_s:g}.")
    issued = now or datetime.now(timezone.utc)
    expires = issued + timedelta(seconds=lifetime_s)
    # The device refuses lower numbers than it had, also if it was deleted here, or the database was
    # restored from a backup. So the numbers begin with the time.
    first = int(issued.timestamp() * 1000)
    number_of_next = case((Device.sequence >= first, Device.sequence + 1), else_=first)
    # The row of the device stays locked until the commit.
    sequence = session.execute(
        update(Device).where(Device.id == device.id).values(sequence=number_of_next).returning(Device.sequence)
    ).scalar_one_or_none()
    if sequence is None:
        raise UsageError(f"the device {device.name} was deleted: it appears again with its next message.")
    number = str(uuid.uuid4())
    token = signer.sign(device.name, number, kind, checked, sequence=sequence, issued=issued, expires=expires)
    command = Command(
        id=number,
        device_id=device.id,
        kind=kind,
        arguments=checked,
        sequence=sequence,
        token=token,
        created=issued,
        created_by=by,
        expires=expires,
        state="waiting",
        due=issued,
        answer={},
    )
    session.add(command)
    session.flush()
    return command
