"""`edge-fleet migrate`: create or update the tables."""

from __future__ import annotations

import click

from maskedge.cli.common import Command
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import current_revision
from maskedge_fleet.database.migrate import migrate as migrate_database

from .options import database_option


@click.command(cls=Command)
@database_option
@click.option("--revision", default="head", show_default=True, help="Revision to change to; base removes all tables.")
def migrate(database: str, revision: str) -> None:
    """Create or update the tables of the database."""
    engine = open_engine(database)
    before = current_revision(engine)
    migrate_database(engine, revision)
    click.echo(f"{engine.url.render_as_string()}: {before or 'empty'} -> {current_revision(engine) or 'empty'}")
