"""Options that several commands share."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from maskedge.errors import UsageError
from maskedge.settings import shown
from maskedge.support.log import set_up
from maskedge.support.text import is_utf8
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
        _check_texts(rest.values())
        function(settings=load_settings(config, {"database.url": database, "broker.url": broker}), **rest)

    return run


def _check_texts(values: Iterable[Any]) -> None:
    """Refuse texts that are not UTF-8, which neither a database nor a broker takes. Paths may be.

    Raises:
        UsageError: There is such a text.
    """
    for value in values:
        if isinstance(value, tuple):
            _check_texts(value)
        elif isinstance(value, str) and not is_utf8(value):
            raise UsageError(f"{shown(value)} is not UTF-8: no name contains such a byte.")


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
