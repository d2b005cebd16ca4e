"""Connections to the database: SQLite by default, or PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from maskedge.errors import OutputError, UsageError
from maskedge.support.text import displayable, is_utf8

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
    # Without it, a database of the encoding SQL_ASCII returns bytes instead of text.
    "client_encoding": "utf8",
}
_ENCODING = "UTF8"


def open_engine(url: str, *, create: bool = True) -> Engine:
    """Return an engine. The first use of the engine connects.

    Args:
        url: `sqlite:///FILE` or `postgresql+psycopg://USER@HOST/DATABASE`. `postgresql://` is
            accepted too.
        create: Create a missing file of SQLite. False for what needs a database with tables.

    Raises:
        UsageError: The URL has another form, or names another kind of database.
        OutputError: The file of SQLite is missing and is not created.
    """
    if not is_utf8(url):
        raise UsageError("the URL of the database is not UTF-8, so no database can be opened by it (--database).")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise UsageError(
            "a database is given as sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE (--database)."
        ) from error
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "postgresql+psycopg":
        engine = create_engine(parsed, pool_size=POOL_SIZE, pool_pre_ping=True, connect_args=_POSTGRESQL)
        event.listen(engine, "connect", _check_encoding)
        return engine
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise UsageError(f"the database {parsed.drivername} is not supported: use sqlite or postgresql+psycopg (--database).")
    if not parsed.database or parsed.database == ":memory:":
        raise UsageError("a SQLite database needs a file: sqlite:///FILE (--database).")
    file = Path(parsed.database)
    if not create and _is_missing(file):
        raise OutputError(
            f"there is no database {displayable(file)}: give --database or --config, or create it with edge-fleet migrate."
        )
    if create and _is_missing(file):
        # The rows are about people, so only the user may read them. The first use of the engine
        # names the reason if there can be no such file.
        with suppress(OSError):
            os.close(os.open(file, os.O_CREAT | os.O_CLOEXEC, 0o600))
    engine = create_engine(parsed, connect_args={"timeout": _LOCK_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: object) -> None:
        # FULL: a committed message survives a power failure. Its device has removed it by then.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _check_encoding(connection: Any, _: object) -> None:
    """Refuse a database that cannot store names of any script.

    Raises:
        OutputError: It has another encoding than UTF-8.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in (None, _ENCODING):
        raise OutputError(
            f"the database {displayable(connection.info.dbname)} has the encoding {encoding}, and edge-fleet needs {_ENCODING}: "
            f"create it with createdb --encoding {_ENCODING} --template template0."
        )


def shown_url(engine: Engine) -> str:
    """Return the URL of a database for messages, without passwords."""
    secret = [name for name in engine.url.query if "password" in name or "secret" in name]
    return engine.url.difference_update_query(secret).render_as_string()


def _is_missing(file: Path) -> bool:
    """Return True if there is no such file; False also if that cannot be found out."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


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
