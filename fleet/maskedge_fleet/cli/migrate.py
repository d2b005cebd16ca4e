"""`edge-fleet migrate`: create or update the tables."""

from __future__ import annotations

import click

from maskedge.cli.common import Command
from maskedge_fleet.database.engine import open_engine, shown_url
from maskedge_fleet.database.migrate import current_revision

from .options import database_option
from .preparation import update_tables


@click.command(cls=Command)
@database_option
@click.option("--revision", default="head", show_default=True, help="Revision to change to; base removes all tables.")
@click.option("--timescale/--no-timescale", default=True, show_default=True, help="Use TimescaleDB if PostgreSQL has it.")
def migrate(database: str, revision: str, timescale: bool) -> None:
    """Create or update the tables of the database."""
    engine = open_engine(database)
    before = current_revision(engine)
    line = update_tables(engine, revision, timescale=timescale)
    after = current_revision(engine)
    click.echo(f"{shown_url(engine)}: {before or 'empty'} -> {after or 'empty'}")
    if line:
        click.echo(line)
