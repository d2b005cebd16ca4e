"""`edge-fleet ingest`: write messages of devices to the database."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from maskedge.cli.common import Command
from maskedge_fleet.settings import Settings

from .options import prepare_log, settings_options


@click.command(cls=Command)
@settings_options
@click.option("--root", help="First part of all topics. Default: maskedge")
@click.option(
    "--client-id",
    help="Name of the session at the broker. Each process has another one, and keeps it. Default: maskedge-fleet-HOST",
)
@click.option("--username", help="User name for the broker. The password is in MASKEDGE_FLEET_MQTT_PASSWORD or in a file.")
@click.option("--password-file", type=click.Path(path_type=Path), metavar="FILE", help="File with the password for the broker.")
@click.option("--ca-file", type=click.Path(path_type=Path), metavar="FILE", help="Certificates (PEM) that sign the broker's.")
@click.option("--upkeep/--no-upkeep", default=True, show_default=True, help="Also sum counts and remove old rows.")
def ingest(settings: Settings, client_id: str | None, upkeep: bool, **broker: Any) -> None:
    """Write messages of devices to the database. Several processes share the work."""
    from maskedge_fleet.database.engine import open_engine
    from maskedge_fleet.ingest.runner import ingest_settings, run_ingest
    from maskedge_fleet.upkeep.runner import run_upkeep

    given = {name: value for name, value in broker.items() if value is not None}
    settings = settings._replace(broker=replace(settings.broker, **given))
    prepare_log(settings)
    wanted = ingest_settings(settings)
    if client_id is not None:
        wanted = replace(wanted, client_id=client_id)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    engine = open_engine(settings.database.url, create=False)
    thread = threading.Thread(target=run_upkeep, args=(engine, settings, stop), name="upkeep")
    if upkeep:
        thread.start()
    try:
        run_ingest(wanted, stop)
    finally:
        stop.set()
        if upkeep:
            thread.join()
        engine.dispose()
