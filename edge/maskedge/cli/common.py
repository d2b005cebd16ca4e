"""What all commands share: failures become one sentence and an exit code."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from maskedge.errors import MaskedgeError
from maskedge.support.install_hint import SYSTEM_LIBRARIES, install_command
from maskedge.support.text import displayable

from .output_options import check_options
from .streams import prepare_streams


def fail(error: MaskedgeError) -> NoReturn:
    """Print the sentence of `error` and end with its exit code."""
    click.echo(f"error: {displayable(error)}", err=True)
    sys.exit(error.exit_code)


def silence_libraries() -> None:
    """Keep OpenCV and FFmpeg from printing their own words over ours. Must come before OpenCV is loaded."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


class _Entry(click.Command):
    """What is started from a shell: its standard streams are made reliable first."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command."""
        prepare_streams()
        try:
            return super().main(*args, **extra)
        except MaskedgeError as error:
            fail(error)  # help or a version that could not be written


def _is_single(option: click.Option) -> bool:
    """Tell whether an option has one value, so that another one would be lost."""
    switch = option.is_flag and not option.secondary_opts
    return not (option.multiple or option.count or switch)


class Command(_Entry):
    """A command whose `MaskedgeError`s end in a sentence, not in a traceback, and that takes an option once."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse an option that is given again where only its last value would count."""
        if not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(list(args))
            for parameter in order:
                if isinstance(parameter, click.Option) and _is_single(parameter) and order.count(parameter) > 1:
                    raise click.UsageError(f"{parameter.opts[-1]} is given {order.count(parameter)} times: give it once.", ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, after a look at what it would write."""
        try:
            check_options(ctx)
            return super().invoke(ctx)
        except MaskedgeError as error:
            fail(error)
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
            sys.exit(130)


class CommandGroup(_Entry, click.Group):
    """A group of such commands."""

    command_class = Command


@contextmanager
def require_extra(extra: str) -> Iterator[None]:
    """Turn an ImportError inside the block into a sentence that says how to install the extra."""
    try:
        yield
    except ImportError as error:
        click.echo(f"error: {error.name or error} is missing, which the extra {extra} brings: {install_command(extra)}", err=True)
        sys.exit(2)


@contextmanager
def require_runtime() -> Iterator[None]:
    """Turn a failure to load OpenCV or ONNX Runtime inside the block into a sentence with the remedy."""
    try:
        yield
    except ImportError as error:
        library = re.search(r"(lib[\w.+-]+\.so[\w.]*)", str(error))
        if library:
            remedy = f"on Debian, Raspberry Pi OS and Ubuntu: {SYSTEM_LIBRARIES}"
            click.echo(f"error: the system library {library[1]} is missing; {remedy}", err=True)
        else:
            click.echo(f"error: {error}; install again ({install_command()}), then try edge-doctor", err=True)
        sys.exit(1)
