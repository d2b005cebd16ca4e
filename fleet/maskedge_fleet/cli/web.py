"""`edge-fleet web`: serve the API and the page."""

from __future__ import annotations

import threading

import click

from maskedge.cli.common import Command
from maskedge_fleet.settings import Settings

from .options import prepare_log, server_options, settings_options


@click.command(cls=Command)
@settings_options
@server_options
def web(settings: Settings) -> None:
    """Serve the API and the page. Ingest and upkeep run in other processes.

    Alerts are evaluated here, and commands are sent and roll-outs advanced if a broker is set. Several
    of these processes take turns.
    """
    from maskedge_fleet.api.app import create_app
    from maskedge_fleet.api.core.server import WebServer
    from maskedge_fleet.database.engine import open_engine

    from .parts import Parts
    from .preparation import check_database, has_tokens

    prepare_log(settings)
    engine = open_engine(settings.database.url)
    check_database(engine)
    server = WebServer(create_app(engine, settings), settings.server)
    stop = threading.Event()
    parts = Parts(engine, settings, stop, ("alerts", "rollouts") if settings.broker.url else ("alerts",))
    click.echo(f"page and API: {server.url}")
    if not has_tokens(engine):
        click.echo("There is no token yet: create one with edge-fleet token create NAME --role admin.", err=True)
    parts.start()
    server.run(stop)
    parts.join()
    parts.check()
