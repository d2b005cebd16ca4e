"""Rounds of work that only one of several processes does at a time."""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, text

from maskedge.errors import OutputError

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
            numbers = {"space": _SPACE, "name": zlib.crc32(name.encode()) - 2**31}
            yield bool(connection.scalar(text("SELECT pg_try_advisory_xact_lock(:space, :name)"), numbers))
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
