"""`edge-fleet migrate`: create or update the tables."""

from __future__ import annotations

import click

from maskedge.cli.common import Command
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import current_revision, newest_revision
from maskedge_fleet.database.migrate import migrate as migrate_database
from maskedge_fleet.database.timescale import use_timescale

from .options import database_option


@click.command(cls=Command)
@database_option
@click.option("--revision", default="head", show_default=True, help="Revision to change to; base removes all tables.")
@click.option("--timescale/--no-timescale", default=True, show_default=True, help="Use TimescaleDB if PostgreSQL has it.")
def migrate(database: str, revision: str, timescale: bool) -> None:
    """Create or update the tables of the database."""
    engine = open_engine(database)
    before = current_revision(engine)
    migrate_database(engine, revision)
    after = current_revision(engine)
    click.echo(f"{engine.url.render_as_string()}: {before or 'empty'} -> {after or 'empty'}")
    if timescale and engine.dialect.name == "postgresql" and after == newest_revision():
        reason = use_timescale(engine)
        click.echo(f"without TimescaleDB: {reason}" if reason else "with TimescaleDB")
