"""Connections to the database: SQLite by default, or PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from maskedge.errors import UsageError

POOL_SIZE = 5
_LOCK_TIMEOUT_S = 30
_POSTGRESQL = {
    "connect_timeout": 5,
    # A server that vanished from the network is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "edge-fleet",
    "options": "-c timezone=UTC",
}


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
        return create_engine(parsed, pool_size=POOL_SIZE, pool_pre_ping=True, connect_args=_POSTGRESQL)
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise UsageError(f"the database {parsed.drivername} is not supported: use sqlite or postgresql+psycopg (--database).")
    if not parsed.database or parsed.database == ":memory:":
        raise UsageError("a SQLite database needs a file: sqlite:///FILE (--database).")
    file = Path(parsed.database)
    if file.parent.is_dir() and not file.exists():
        # The rows are about people, so only the user may read them.
        os.close(os.open(file, os.O_CREAT | os.O_CLOEXEC, 0o600))
    engine = create_engine(parsed, connect_args={"timeout": _LOCK_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: object) -> None:
        # FULL: a committed message survives a power failure. Its device has removed it by then.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


@contextmanager
def begin_write(engine: Engine) -> Iterator[Connection]:
    """Run the block in a transaction that writes.

    In SQLite, other writers wait from its start on. A transaction that begins by reading would fail
    if another one wrote in between.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
