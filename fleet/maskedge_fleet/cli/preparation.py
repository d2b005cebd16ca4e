"""Preparation of the database by the commands that serve it."""

from __future__ import annotations

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from maskedge_fleet.access.audit import record
from maskedge_fleet.access.tokens import COMMAND_LINE, create_token
from maskedge_fleet.database.migrate import check_current, migrate
from maskedge_fleet.database.tables import Token

FIRST_TOKEN = "admin"  # noqa: S105  (its name)


def check_database(engine: Engine, *, update: bool = False) -> None:
    """Create or update the tables of a SQLite database, and check those of PostgreSQL.

    Args:
        engine: The database.
        update: Create or update the tables of PostgreSQL too.

    Raises:
        OutputError: The database cannot be used, or has the tables of another version.
    """
    if engine.dialect.name == "sqlite" or update:
        migrate(engine)
    check_current(engine)


def has_tokens(engine: Engine) -> bool:
    """Return True if a token was ever created."""
    with Session(engine) as session:
        return session.scalar(select(Token.id).limit(1)) is not None


def create_first_token(engine: Engine) -> str | None:
    """Create an admin token if there has never been a token. Return it, or None."""
    if has_tokens(engine):
        return None
    with Session(engine) as session:
        secret = create_token(session, FIRST_TOKEN, "admin")
        record(session, COMMAND_LINE, "token.create", FIRST_TOKEN, {"role": "admin"})
        session.commit()
    return secret
