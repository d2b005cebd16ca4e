"""Options for output files.

An input is never overwritten. An existing file is overwritten only with --overwrite.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from maskedge.errors import UsageError
from maskedge.support.outputs import Named, check_apart, check_new
from maskedge.support.text import displayable

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace existing output files. An input is never replaced.")


class OutputFile(click.Path):
    """A file that a command writes. `Command` checks the file before the command runs.

    Args:
        beside: Suffixes of the files that the command writes beside this file.
        suffix: Suffix that the file must have, or several to choose from; None for any.
    """

    def __init__(self, *beside: str, suffix: str | tuple[str, ...] | None = None) -> None:
        super().__init__(dir_okay=False, path_type=Path)
        self.beside = beside
        self.suffixes = (suffix,) if isinstance(suffix, str) else suffix or ()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check the name and its suffix."""
        # Path("") is the current folder.
        if not str(value):
            self.fail("the name of the file is empty: give one.", param, ctx)
        path: Any = super().convert(value, param, ctx)
        if self.suffixes and path.suffix.lower() not in self.suffixes:
            known = " or ".join(self.suffixes)
            example = displayable(path.with_suffix(self.suffixes[0]).name)
            self.fail(f"{displayable(path)} does not end with {known}: give a name such as {example}.", param, ctx)
        return path


class OutputFolder(click.Path):
    """A folder that a command writes to. It need not exist."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check the name."""
        # Path("") is the current folder: an unset variable of a script would scatter files there.
        if not str(value):
            self.fail("the name of the folder is empty: give one, such as '.' for the current folder.", param, ctx)
        return super().convert(value, param, ctx)


def check_options(ctx: click.Context) -> None:
    """Check the `OutputFile` options of a command.

    They must differ from its other paths and from each other. They must not exist unless
    --overwrite is given.

    Raises:
        UsageError: An output would overwrite an input, or an output exists and --overwrite is not
            given.
    """
    outputs: list[Named] = []
    inputs: list[Named] = []
    for parameter in ctx.command.params:
        paths = list(_paths(ctx.params.get(str(parameter.name))))
        kind = parameter.type
        name = parameter.opts[-1] if isinstance(parameter, click.Option) else f"the argument {str(parameter.name).upper()}"
        if isinstance(kind, OutputFile):
            outputs += [Named(name, path) for path in paths]
            outputs += [Named(f"the file beside {name},", path.with_suffix(suffix)) for path in paths for suffix in kind.beside]
        else:
            inputs += [Named(f"the input of {name}", path) for path in paths]
    if outputs:
        check_apart(outputs, inputs)
        check_new(outputs, overwrite=bool(ctx.params.get("overwrite")))


def check_folder(folder: Path, names: tuple[str, ...], *, overwrite: bool, remedy: str = "") -> None:
    """Check that a results folder does not contain results of an earlier run.

    Args:
        folder: The folder. It need not exist.
        names: Names of the files and folders that the command writes there.
        overwrite: True if the user allowed replacing them.
        remedy: Text placed before the standard remedy in the message.

    Raises:
        UsageError: The folder contains one of `names`.
    """
    for name in names:
        path = folder / name
        if not overwrite and (path.is_dir() or path.is_file()):
            raise UsageError(
                f"the folder {displayable(folder)} already contains {name}: {remedy}add --overwrite to replace it, "
                "or name another folder."
            )


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from _paths(inner)
