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


def fail(error: MaskedgeError) -> NoReturn:
    """Print the sentence of `error` and end with its exit code."""
    click.echo(f"error: {error}", err=True)
    sys.exit(error.exit_code)


def silence_libraries() -> None:
    """Keep OpenCV and FFmpeg from printing their own words over ours. Must come before OpenCV is loaded."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def _is_single(option: click.Option) -> bool:
    """Tell whether an option has one value, so that another one would be lost."""
    switch = option.is_flag and not option.secondary_opts
    return not (option.multiple or option.count or switch)


class Command(click.Command):
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
        """Run the command."""
        try:
            return super().invoke(ctx)
        except MaskedgeError as error:
            fail(error)
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
            sys.exit(130)


class CommandGroup(click.Group):
    """A group of such commands."""

    command_class = Command


@contextmanager
def require_extra(extra: str) -> Iterator[None]:
    """Turn an ImportError inside the block into a sentence that names the extra to install."""
    try:
        yield
    except ImportError as error:
        click.echo(f"error: {error.name or error} is missing: pip install 'maskedge[{extra}]'", err=True)
        sys.exit(2)


@contextmanager
def require_runtime() -> Iterator[None]:
    """Turn a failure to load OpenCV or ONNX Runtime inside the block into a sentence with the remedy."""
    try:
        yield
    except ImportError as error:
        library = re.search(r"(lib[\w.+-]+\.so[\w.]*)", str(error))
        if library:
            remedy = "on Debian, Raspberry Pi OS and Ubuntu: sudo apt install libgl1 libglib2.0-0"
            click.echo(f"error: the system library {library[1]} is missing; {remedy}", err=True)
        else:
            click.echo(f"error: {error}; install again (pip install maskedge), then try edge-doctor", err=True)
        sys.exit(1)
