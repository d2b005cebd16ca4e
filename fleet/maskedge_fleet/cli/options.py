"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from maskedge_fleet.settings import DEFAULT_DATABASE, load_settings

database_option = click.option(
    "--database",
    default=DEFAULT_DATABASE,
    show_default=True,
    envvar="MASKEDGE_FLEET_DATABASE",
    show_envvar=True,
    metavar="URL",
    help="sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE. The password may be in PGPASSWORD or ~/.pgpass.",
)


def settings_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add --config, --database and --broker to a command. It receives the `settings` of all of them."""

    @click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings of the server: a fleet.toml.")
    @click.option(
        "--database",
        show_envvar=True,
        envvar="MASKEDGE_FLEET_DATABASE",
        metavar="URL",
        help="sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE. The password may be in PGPASSWORD or ~/.pgpass. "
        f"Default: {DEFAULT_DATABASE}",
    )
    @click.option("--broker", metavar="URL", help="MQTT broker of the devices: mqtt://HOST:PORT, or mqtts:// for TLS.")
    @functools.wraps(function)
    def run(config: Path | None, database: str | None, broker: str | None, **rest: Any) -> None:
        function(settings=load_settings(config, {"database.url": database, "broker.url": broker}), **rest)

    return run
