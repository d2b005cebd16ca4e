"""`edge-train`: from pictures to a checkpoint and its report. One module per command or kind of command."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from maskedge.cli.common import CommandGroup
from maskedge.support.files import is_file, is_folder
from maskedge.support.text import displayable
from maskedge.version import VERSION

from .audit import audit
from .cascade import cascade
from .classifier import classifier
from .detector import detector
from .evaluate import evaluate
from .leakage import leakage
from .localise import localise
from .preview import preview
from .runs import runs
from .synthesis import composites, synthesise


class _Commands(CommandGroup):
    """A group whose first argument may be a folder of data instead of a command."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Take a folder for the data of `edge-train classifier`."""
        if args and args[0] not in self.commands:
            if is_folder(path := Path(args[0])) or is_file(path):
                return classifier.name, classifier, args
            if not ctx.resilient_parsing:
                close = difflib.get_close_matches(args[0][:100], self.commands, 1, 0.75)
                remedy = f"did you mean {close[0]}?" if close else "check the path, or see edge-train --help."
                ctx.fail(f"'{displayable(args[0])}' is neither a command nor a folder: {remedy}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands)
@click.version_option(VERSION)
def main() -> None:
    """Train maskedge's models on a workstation.

    `edge-train FOLDER...` is `edge-train classifier FOLDER...`: it finds out what the folders
    contain, and trains a classifier on them.
    """


for command in (audit, localise, preview, classifier, evaluate, runs, leakage, cascade, detector, synthesise, composites):
    main.add_command(command)
