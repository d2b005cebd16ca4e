"""Options that several commands share."""

from __future__ import annotations

import click

from maskedge_fleet.upkeep.settings import KEPT

DEFAULT_DATABASE = "sqlite:///fleet.sqlite3"

database_option = click.option(
    "--database",
    default=DEFAULT_DATABASE,
    show_default=True,
    envvar="MASKEDGE_FLEET_DATABASE",
    show_envvar=True,
    metavar="URL",
    help="sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE. The password may be in PGPASSWORD or ~/.pgpass.",
)

keep_option = click.option(
    "--keep",
    multiple=True,
    metavar="KIND=DAYS",
    help=f"Days for which rows are kept, of {', '.join(KEPT)}. Repeatable.",
)
