"""The click command behind each installed script, without starting a process."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import click

MODULES = {
    "edge-run": "maskedge.cli.run",
    "edge-doctor": "maskedge.cli.doctor",
    "edge-app": "maskedge.cli.app",
    "edge-train": "maskedge_train.cli",
    "edge-export": "maskedge_export.cli",
    "edge-bench": "maskedge_bench.cli.main",
    "edge-fleet": "maskedge_fleet.cli",
}


def load_command(name: str) -> click.Command:
    """Return the command of a script, such as `edge-run`."""
    command = import_module(MODULES[name]).main
    assert isinstance(command, click.Command)
    return command


def all_commands() -> Iterator[tuple[str, click.Command]]:
    """Yield each command and subcommand with its full name, such as `edge-train classifier`."""
    for name in MODULES:
        yield from _walk(name, load_command(name))


def _walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            own = command.get_command(context, inner)
            assert own is not None
            yield from _walk(f"{name} {inner}", own)
