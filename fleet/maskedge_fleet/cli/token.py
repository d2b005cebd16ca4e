"""`edge-fleet token`: create, list and revoke tokens of the API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

import click
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from maskedge.cli.common import Command, CommandGroup, FloatRange
from maskedge.support.text import displayable
from maskedge_fleet.access.audit import record
from maskedge_fleet.access.tokens import COMMAND_LINE, ROLES, create_token, revoke_token
from maskedge_fleet.database.engine import open_engine, shown_url
from maskedge_fleet.database.migrate import check_current, current_revision, unreachable
from maskedge_fleet.database.tables import Token
from maskedge_fleet.settings import Settings

from .options import settings_options
from .preparation import check_database, print_token


@click.group(cls=CommandGroup)
def token() -> None:
    """Create, list and revoke tokens of the API."""


@token.command(cls=Command)
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="What the token may do.")
@click.option("--days", type=FloatRange(0, 36_500, min_open=True), help="Days until it expires. Default: never.")
@settings_options
def create(settings: Settings, name: str, role: str, days: float | None) -> None:
    """Create a token for a person or program, and print it. It cannot be read again."""
    with _database(settings, create=True) as session:
        secret = create_token(session, name, role, days=days)
        record(session, COMMAND_LINE, "token.create", name, {"role": role, "days": days})
        session.commit()
        print_token(session, secret, secret)


@token.command("list", cls=Command)
@settings_options
def list_tokens(settings: Settings) -> None:
    """List all tokens, without their secrets."""
    with _database(settings) as session:
        rows = session.scalars(select(Token).order_by(Token.id)).all()
    click.echo(f"{'name':24} {'role':9} {'created':17} {'last used':17} state")
    for row in rows:
        click.echo(f"{displayable(row.name):24} {row.role:9} {_time(row.created):17} {_time(row.used):17} {_state(row)}")


@token.command(cls=Command)
@click.argument("name")
@settings_options
def revoke(settings: Settings, name: str) -> None:
    """Revoke a token. Its next request is refused."""
    with _database(settings) as session:
        revoke_token(session, name)
        record(session, COMMAND_LINE, "token.revoke", name)
        session.commit()


@contextmanager
def _database(settings: Settings, *, create: bool = False) -> Iterator[Session]:
    """Yield a session. With `create`, missing tables of SQLite are created: the first token may come before the server."""
    engine = open_engine(settings.database.url, create=create)
    is_new = current_revision(engine) is None
    (check_database if create else check_current)(engine)
    try:
        with Session(engine) as session:
            yield session
    except SQLAlchemyError as error:
        raise unreachable(engine, error) from error
    if is_new:
        # A wrong address gives a token that no server knows.
        click.echo(f"created the database {shown_url(engine)}: start the server with it, or check --database.", err=True)


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}Z" if moment else "-"


def _state(row: Token) -> str:
    if row.revoked:
        return f"revoked {_time(row.revoked)}"
    if row.expires:
        return f"{'expired' if row.expires <= datetime.now(timezone.utc) else 'until'} {_time(row.expires)}"
    return "valid"
