"""Shared code of all commands. A failure prints one line and sets the exit code."""

from __future__ import annotations

import math
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

import click

from maskedge.errors import MaskedgeError
from maskedge.support.install_hint import SYSTEM_LIBRARIES, install_command
from maskedge.support.text import displayable

from . import leave_at_signal
from .output_options import check_options
from .shortage import describe_shortage
from .streams import prepare_streams


class FloatRange(click.FloatRange):
    """A range of finite numbers. Click's own accepts nan, which every comparison passes, and inf."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse the number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def fail(error: MaskedgeError) -> NoReturn:
    """Print the message of `error` and exit with its code."""
    click.echo(f"error: {displayable(error)}", err=True)
    sys.exit(error.exit_code)


def silence_libraries() -> None:
    """Keep OpenCV and FFmpeg from printing messages of their own.

    Must be called before OpenCV is loaded.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


_PLAIN_HANDLERS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _end}
"""Handlers of a running command that has none of its own."""


@contextmanager
def leave_during_imports() -> Iterator[None]:
    """End the process at once at a signal while libraries are loaded.

    A library that is interrupted in its import may turn the exception into another one, or lose it.
    """
    plain = {number: handler for number, handler in _PLAIN_HANDLERS.items() if signal.getsignal(number) is handler}
    if threading.current_thread() is not threading.main_thread():
        plain = {}  # only the main thread may set handlers
    for number in plain:
        signal.signal(number, leave_at_signal)
    try:
        yield
    finally:
        for number, handler in plain.items():
            signal.signal(number, handler)


_early_signals: list[int] = []


def end_on_signal() -> None:
    """End the process at SIGINT and SIGTERM with code 128 + number, until the run handles them itself."""

    def end(number: int, frame: FrameType | None) -> None:
        _early_signals.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    def again(number: int, frame: FrameType | None) -> None:
        if _early_signals:
            signal.raise_signal(_early_signals[0])

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    signal.signal(signal.SIGALRM, again)
    report = sys.unraisablehook

    def send_again(lost: sys.UnraisableHookArgs) -> None:
        # In a callback, such as those of the import system, the exception of the handler is lost. The timer ends after it.
        if _early_signals and lost.exc_type in (SystemExit, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.01)
        else:
            report(lost)

    sys.unraisablehook = send_again


def early_signal() -> int | None:
    """Return the signal that should have ended the start, or None.

    While a library is loaded, the exception of the handler may be lost, or become an ImportError.
    """
    return _early_signals[0] if _early_signals else None


def _leave_threads(leaving: SystemExit) -> None:
    """End the process at once if a thread is still in a library that did not return in time.

    A camera's driver may hang, and a detection may take seconds. Python would end such a thread in
    the middle of C++ code, which aborts the process.
    """
    import logging

    if any(thread.daemon and thread.is_alive() for thread in threading.enumerate()):
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        code = leaving.code
        os._exit(code if isinstance(code, int) else int(code is not None))


def use_one_blas_thread() -> None:
    """Keep the linear algebra libraries of NumPy and OpenCV from starting threads.

    The matrices on a device are small. The threads only wait, at the start for a tenth of its CPU
    time. Must be called before NumPy is loaded.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


class _Entry(click.Command):
    """A command that makes its standard streams reliable before it runs."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command."""
        prepare_streams()
        try:
            return self._run(*args, **extra)
        except SystemExit as leaving:
            if not args and not extra:
                # While Python ends, another signal would replace the exit code.
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
                    signal.signal(number, signal.SIG_IGN)
                _leave_threads(leaving)
            raise

    def _run(self, *args: Any, **extra: Any) -> Any:
        try:
            return super().main(*args, **extra)
        except MaskedgeError as error:
            fail(error)  # the help or the version cannot be written
        except Exception as error:
            shortage = describe_shortage(error)
            if shortage is None:
                raise
            fail(MaskedgeError(shortage))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, in a group after its module is loaded."""
        try:
            # Not before: while Click reads the arguments, it would make 1 of the exit code.
            for number, handler in _PLAIN_HANDLERS.items():
                if signal.getsignal(number) is leave_at_signal:
                    signal.signal(number, handler)
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # Click would print "Aborted!" and end with 1.
            click.echo("stopped", err=True)
            sys.exit(130)


def _is_single(option: click.Option) -> bool:
    """Return True for an option with one value. A second value would replace the first one."""
    switch = option.is_flag and not option.secondary_opts
    return not (option.multiple or option.count or switch)


class Command(_Entry):
    """A command that prints a `MaskedgeError` as one line.

    It accepts each single-valued option only once.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse a repeated single-valued option. Click would use only its last value."""
        if not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(list(args))
            for parameter in order:
                if isinstance(parameter, click.Option) and _is_single(parameter) and order.count(parameter) > 1:
                    raise click.UsageError(f"{parameter.opts[-1]} is given {order.count(parameter)} times: give it once.", ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Check the output files, and run the command."""
        try:
            check_options(ctx)
            return super().invoke(ctx)
        except MaskedgeError as error:
            fail(error)


class CommandGroup(_Entry, click.Group):
    """A group of commands."""

    command_class = Command


@contextmanager
def require_extra(extra: str) -> Iterator[None]:
    """If an import in the block fails, exit with one line that names the extra to install."""
    try:
        with leave_during_imports():
            yield
    except ModuleNotFoundError as error:
        click.echo(f"error: {error.name or error} is not installed: install the extra {extra}: {install_command(extra)}", err=True)
        sys.exit(2)
    except ImportError as error:
        _fail_import(error)


@contextmanager
def require_runtime() -> Iterator[None]:
    """If OpenCV or ONNX Runtime cannot be loaded in the block, exit with one line."""
    try:
        with leave_during_imports():
            yield
    except ImportError as error:
        _fail_import(error)


def _fail_import(error: ImportError) -> NoReturn:
    """Exit with one line about a system library that is missing or a package that is broken."""
    if (number := early_signal()) is not None:
        sys.exit(128 + number)
    library = re.search(r"(lib[\w.+-]+\.so[\w.]*)", str(error))
    if shortage := describe_shortage(error):
        click.echo(f"error: {shortage}", err=True)
    elif library:
        remedy = f"install it (on Debian, Raspberry Pi OS and Ubuntu: {SYSTEM_LIBRARIES})"
        click.echo(f"error: the system library {library[1]} is missing: {remedy}", err=True)
    else:
        click.echo(f"error: {error}: install the package again ({install_command()}), then run edge-doctor", err=True)
    sys.exit(1)
