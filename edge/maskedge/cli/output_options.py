"""Options that name what a command writes. No input is overwritten, and nothing is replaced without --overwrite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from maskedge.errors import UsageError
from maskedge.support.outputs import Named, check_apart, check_new
from maskedge.support.text import displayable

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what exists already. An input is never replaced.")


class OutputFile(click.Path):
    """A file that a command writes. `Command` checks it before the command runs.

    Args:
        beside: Suffixes of what is written beside it, in place of its own.
    """

    def __init__(self, *beside: str) -> None:
        super().__init__(dir_okay=False, path_type=Path)
        self.beside = beside


def check_options(ctx: click.Context) -> None:
    """Check all options of a command that are `OutputFile`s: against its other paths, against each other, and for what exists.

    Raises:
        UsageError: One would overwrite an input, or exists and --overwrite was not given.
    """
    outputs: list[Named] = []
    inputs: list[Named] = []
    for parameter in ctx.command.params:
        paths = list(_paths(ctx.params.get(str(parameter.name))))
        kind = parameter.type
        name = parameter.opts[-1] if isinstance(parameter, click.Option) else f"the argument {str(parameter.name).upper()}"
        if isinstance(kind, OutputFile):
            outputs += [Named(name, path) for path in paths]
            outputs += [Named(f"{name}, beside it,", path.with_suffix(suffix)) for path in paths for suffix in kind.beside]
        else:
            inputs += [Named(f"what {name} names", path) for path in paths]
    if outputs:
        check_apart(outputs, inputs)
        check_new(outputs, overwrite=bool(ctx.params.get("overwrite")))


def check_folder(folder: Path, names: tuple[str, ...], *, overwrite: bool, remedy: str = "") -> None:
    """Refuse a folder for results that holds those of an earlier run.

    Args:
        folder: The folder; it need not exist.
        names: What the command writes there.
        overwrite: The user asked to replace them.
        remedy: What else the user can do, for the sentence.

    Raises:
        UsageError: It holds some of it.
    """
    for name in names:
        path = folder / name
        if not overwrite and (path.is_dir() or path.is_file()):
            raise UsageError(
                f"the folder {displayable(folder)} holds {name} already: {remedy}add --overwrite to replace it, "
                "or name another folder."
            )


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from _paths(inner)
