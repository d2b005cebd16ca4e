"""Options that several commands share."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from maskedge.support.log import set_up
from maskedge_fleet.settings import DEFAULT_DATABASE, Settings, load_settings

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


def server_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add --serve, --cert and --key to a command with `settings_options`, which must be above it."""

    @click.option("--serve", metavar="ADDRESS", help="Address and port of the page and the API. Default: 127.0.0.1:8090")
    @click.option("--cert", type=click.Path(path_type=Path), metavar="FILE", help="Certificate (PEM), for HTTPS.")
    @click.option("--key", type=click.Path(path_type=Path), metavar="FILE", help="Key of the certificate (PEM).")
    @functools.wraps(function)
    def run(settings: Settings, serve: str | None, cert: Path | None, key: Path | None, **rest: Any) -> None:
        given: dict[str, Any] = {"serve": serve, "cert": cert, "key": key}
        server = replace(settings.server, **{name: value for name, value in given.items() if value is not None})
        function(settings=settings._replace(server=server), **rest)

    return run


def prepare_log(settings: Settings) -> None:
    """Log to standard error as `[server]` demands, without secrets."""
    logger = set_up(settings.server.log_format, settings.server.log_level, settings.secrets())
    for name in ("uvicorn", "alembic"):
        other = logging.getLogger(name)
        other.handlers, other.propagate = list(logger.handlers), False
        other.setLevel(logging.WARNING)
