"""Work that only one of several processes or requests does at a time."""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, false, text, update
from sqlalchemy.exc import IntegrityError, NoResultFound
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from maskedge.errors import OutputError

from .tables import Site

_CHANGED_MEANWHILE = (IntegrityError, NoResultFound, StaleDataError)
"""Errors of a transaction whose rows another one has changed or deleted since they were read."""
_REPEATABLE = ("40001", "40P01")
"""Codes of PostgreSQL for a transaction that must be repeated, as after a deadlock."""
_SPACE = 7305
"""First number of the locks in PostgreSQL, so that they differ from those of other programs."""


@contextmanager
def only_one(engine: Engine, name: str) -> Iterator[bool]:
    """Hold a lock during a round of work. It is released when the process ends, too.

    In PostgreSQL it is an advisory lock of a transaction; for SQLite it is a lock on a file beside
    the database.

    Args:
        engine: The database.
        name: Name of the work.

    Yields:
        True if this process holds the lock; False if another one does.

    Raises:
        OutputError: The file of the lock cannot be written.
    """
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            yield bool(connection.scalar(text("SELECT pg_try_advisory_xact_lock(:space, :name)"), _numbers(name)))
        return
    path = Path(f"{engine.url.database}.{name}.lock")
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}): check the folder of the database.") from error
    with open(handle, "ab") as file:  # noqa: PTH123  (a descriptor)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = True
        except OSError:
            held = False
        yield held


def is_conflict(error: Exception) -> bool:
    """Return True if a transaction failed because of another one, and would succeed if it was repeated."""
    return isinstance(error, _CHANGED_MEANWHILE) or getattr(getattr(error, "orig", None), "sqlstate", None) in _REPEATABLE


def wait_for_others(session: Session, name: str) -> None:
    """Wait for other transactions that called this with the same name. What is read then is up to date.

    Args:
        session: The transaction. It holds the lock until its end.
        name: Name of the work.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:space, :name)"), _numbers(name))
    else:
        # SQLite has one writer at a time. A statement that changes nothing makes this one the writer.
        session.execute(update(Site).where(false()).values(name=""))


def _numbers(name: str) -> dict[str, int]:
    return {"space": _SPACE, "name": zlib.crc32(name.encode()) - 2**31}
