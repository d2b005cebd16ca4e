"""`edge-fleet ingest`: write messages of devices to the database."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from maskedge.cli.common import Command
from maskedge.support.log import set_up
from maskedge_fleet.ingest.broker import PASSWORD_VARIABLE, BrokerSettings, read_password
from maskedge_fleet.ingest.runner import DEFAULT_ROOT, IngestSettings, default_client_id, run_ingest

from .options import database_option


@click.command(cls=Command)
@click.option(
    "--broker",
    required=True,
    envvar="MASKEDGE_FLEET_BROKER",
    show_envvar=True,
    metavar="URL",
    help="mqtt://HOST:PORT, or mqtts:// for TLS.",
)
@click.option("--root", default=DEFAULT_ROOT, show_default=True, help="First part of all topics.")
@database_option
@click.option(
    "--client-id",
    help="Name of the session at the broker. Each process has another one, and keeps it.  [default: maskedge-fleet-HOST]",
)
@click.option("--username", help="User name for the broker.")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    help=f"File with the password for the broker, instead of {PASSWORD_VARIABLE}.",
)
@click.option(
    "--ca-file", type=click.Path(path_type=Path), help="Certificates (PEM) that sign the broker's; the system's by default."
)
def ingest(
    broker: str,
    root: str,
    database: str,
    client_id: str | None,
    username: str | None,
    password_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Write messages of devices to the database. Several processes share the work."""
    password = read_password(password_file) if username or password_file else None
    login = BrokerSettings(broker, username, password, ca_file)
    settings = IngestSettings(login, database, root, default_client_id() if client_id is None else client_id)
    set_up(secrets=[password] if password else ())
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run_ingest(settings, stop)
