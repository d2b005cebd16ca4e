"""`edge-fleet serve`: all parts in one process."""

from __future__ import annotations

import threading

import click

from maskedge.cli.common import Command
from maskedge.errors import UsageError
from maskedge_fleet.settings import Settings

from .options import prepare_log, server_options, settings_options


@click.command(cls=Command)
@settings_options
@server_options
@click.option("--migrate", is_flag=True, help="Create or update the tables of PostgreSQL at the start, as edge-fleet migrate does.")
def serve(settings: Settings, migrate: bool) -> None:
    """Run all parts in one process: page, API, ingest, upkeep, alerts and roll-outs."""
    from maskedge_fleet.api.app import create_app
    from maskedge_fleet.api.core.server import WebServer
    from maskedge_fleet.database.engine import open_engine

    from .parts import Parts
    from .preparation import check_database, create_first_token

    if not settings.broker.url:
        raise UsageError("no broker is set: give --broker mqtt://HOST:PORT, or url in [broker] of fleet.toml.")
    prepare_log(settings)
    stop = threading.Event()
    engine = open_engine(settings.database.url)
    check_database(engine, update=migrate)
    server = WebServer(create_app(engine, settings), settings.server)
    parts = Parts(engine, settings, stop)
    click.echo(f"page and API: {server.url}")
    create_first_token(engine)
    parts.start()
    server.run(stop)
    parts.join()
    parts.check()
