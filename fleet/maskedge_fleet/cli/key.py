"""`edge-fleet key`: the key that signs commands."""

from __future__ import annotations

from pathlib import Path

import click

from maskedge.cli.common import Command, CommandGroup
from maskedge.support.text import displayable
from maskedge_fleet.commands.keys import create_key, describe_key, public_path


@click.group(cls=CommandGroup)
def key() -> None:
    """Create the key that signs commands."""


@key.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
def create(file: Path) -> None:
    """Create the private key FILE and the public key FILE.pub.

    Keep FILE on the server: [server] command_key. Copy FILE.pub to the devices: [fleet] trusted_keys.
    """
    number = create_key(file)
    click.echo(f"key {number}\nprivate: {displayable(file)}\npublic: {displayable(public_path(file))}")


@key.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
def show(file: Path) -> None:
    """Show the id of a private or public key FILE, as in signatures."""
    click.echo(describe_key(file))
