"""Connections to the database: SQLite by default, or PostgreSQL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from maskedge.errors import UsageError

POOL_SIZE = 5


def open_engine(url: str) -> Engine:
    """Return an engine. The first use of the engine connects.

    Args:
        url: `sqlite:///FILE` or `postgresql+psycopg://USER@HOST/DATABASE`. `postgresql://` is
            accepted too.

    Raises:
        UsageError: The URL has another form, or names another kind of database.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UsageError(
            "a database is given as sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE (--database)."
        ) from error
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "postgresql+psycopg":
        return create_engine(parsed, pool_size=POOL_SIZE, pool_pre_ping=True, connect_args={"connect_timeout": 5})
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise UsageError(f"the database {parsed.drivername} is not supported: use sqlite or postgresql+psycopg (--database).")
    if not parsed.database or parsed.database == ":memory:":
        raise UsageError("a SQLite database needs a file: sqlite:///FILE (--database).")
    file = Path(parsed.database)
    if file.parent.is_dir() and not file.exists():
        # The rows are about people, so only the user may read them.
        os.close(os.open(file, os.O_CREAT | os.O_CLOEXEC, 0o600))
    engine = create_engine(parsed, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: object) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
