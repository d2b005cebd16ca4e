"""`edge-fleet key`: the key that signs commands."""

from __future__ import annotations

from pathlib import Path

import click

from maskedge.cli.common import Command, CommandGroup
from maskedge.errors import UsageError
from maskedge.modelfile.key_files import write_key_pair
from maskedge.modelfile.signature import key_id, load_private_key, load_public_key
from maskedge.support.text import displayable


@click.group(cls=CommandGroup)
def key() -> None:
    """Create the key that signs commands."""


@key.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
def create(file: Path) -> None:
    """Create the private key FILE and the public key FILE.pub.

    Keep FILE on the server: [server] command_key. Copy FILE.pub to the devices: [fleet] trusted_keys.
    """
    public, number = write_key_pair(file)
    click.echo(f"key {number}\nprivate: {displayable(file)}\npublic: {displayable(public)}")


@key.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
def show(file: Path) -> None:
    """Show the id of a private or public key FILE, as in signatures."""
    try:
        click.echo(key_id(load_private_key(file).public_key()))
    except UsageError as error:
        try:
            click.echo(key_id(load_public_key(file)))
        except UsageError:
            raise error from None
