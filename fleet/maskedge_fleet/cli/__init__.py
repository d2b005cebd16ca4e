"""`edge-fleet`. One module per command, loaded when the command is used."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import click

from maskedge.cli.common import CommandGroup
from maskedge.version import VERSION

COMMANDS = {
    "serve": "Run all parts in one process.",
    "ingest": "Write messages of devices to the database.",
    "web": "Serve the API and the page.",
    "migrate": "Create or update the tables of the database.",
    "token": "Create, list and revoke tokens of the API.",
    "key": "Create the key that signs commands.",
    "command": "Send a command to devices.",
    "rollout": "Roll out a model in stages.",
    "simulate": "Simulate devices.",
}
"""Name of each command and module, and its help."""
_LIBRARIES = ("alembic", "fastapi", "jwt", "limits", "paho", "prometheus_client", "sqlalchemy", "uvicorn")
"""Libraries of the extra. The commands load them when they are used, too late for a clear message."""

for _library in _LIBRARIES:
    if find_spec(_library) is None:
        raise ModuleNotFoundError(f"no module {_library}", name=_library)


class _Commands(CommandGroup):
    """A group that imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"{__name__}.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101  (a command of this package)
        return command


@click.group(cls=_Commands)
@click.version_option(VERSION)
def main() -> None:
    """Run the server of a fleet of maskedge devices."""
