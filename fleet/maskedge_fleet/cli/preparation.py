"""Preparation of the database by the commands that serve it."""

from __future__ import annotations

import logging
import sys

import click
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from maskedge_fleet.access.audit import record
from maskedge_fleet.access.tokens import COMMAND_LINE, create_token, hash_token
from maskedge_fleet.database.migrate import check_current, current_revision, migrate, newest_revision
from maskedge_fleet.database.rounds import wait_for_others
from maskedge_fleet.database.tables import Token
from maskedge_fleet.database.timescale import use_timescale

_log = logging.getLogger("maskedge.fleet")
FIRST_TOKEN = "admin"  # noqa: S105  (its name)


def update_tables(engine: Engine, revision: str = "head", *, timescale: bool = True) -> str:
    """Create or update the tables, and divide them by time if PostgreSQL has TimescaleDB.

    Args:
        engine: The database.
        revision: Revision of Alembic; `head` for the newest, `base` for an empty database.
        timescale: False to leave the tables undivided.

    Returns:
        Whether TimescaleDB is used, and if not, why; empty if it was not tried.

    Raises:
        OutputError: The database cannot be used, or was made by a newer version of the program.
    """
    migrate(engine, revision)
    if not timescale or engine.dialect.name != "postgresql" or current_revision(engine) != newest_revision():
        return ""
    reason = use_timescale(engine)
    return f"without TimescaleDB: {reason}" if reason else "with TimescaleDB"


def check_database(engine: Engine, *, update: bool = False) -> None:
    """Create or update the tables of a SQLite database, and check those of PostgreSQL.

    Args:
        engine: The database.
        update: Create or update the tables of PostgreSQL too, as `edge-fleet migrate` does.

    Raises:
        OutputError: The database cannot be used, or has the tables of another version.
    """
    if engine.dialect.name == "sqlite" or update:
        line = update_tables(engine)
        if line:
            _log.info("the tables are ready %s.", line)
    check_current(engine)


def has_tokens(engine: Engine) -> bool:
    """Return True if a token was ever created."""
    with Session(engine) as session:
        return session.scalar(select(Token.id).limit(1)) is not None


def create_first_token(engine: Engine) -> None:
    """Create an admin token if there has never been a token, and print it."""
    if has_tokens(engine):
        return
    with Session(engine) as session:
        # Another server may start at the same time.
        wait_for_others(session, "first token")
        if has_tokens(engine):
            return
        secret = create_token(session, FIRST_TOKEN, "admin")
        record(session, COMMAND_LINE, "token.create", FIRST_TOKEN, {"role": "admin"})
        session.commit()
        print_token(session, secret, f"token {FIRST_TOKEN!r}, shown only now: {secret}")


def print_token(session: Session, secret: str, line: str) -> None:
    """Print the line with a new token. If that fails, the token is removed, because nobody would know it."""
    try:
        click.echo(line)
        sys.stdout.flush()
    except Exception:
        token = session.scalars(select(Token).where(Token.hash == hash_token(secret))).one()
        session.delete(token)
        record(session, COMMAND_LINE, "token.revoke", token.name)
        session.commit()
        raise
