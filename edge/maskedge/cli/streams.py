"""Reliable standard streams.

A command does not end because a stream is closed, its disk is full or its terminal lacks Unicode.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
from typing import Any

from maskedge.errors import OutputError

_PLAIN = str.maketrans(
    {"\xb1": "+-", "\xd7": "x", "\xb5": "u", "\xb7": ".", "\u2013": "-", "\u2014": "-", "\u2026": "...", "\u2192": "->"}
)
_ERRORS = "maskedge.plain"


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace characters that an encoding lacks by plain letters or by an escape."""
    if isinstance(error, UnicodeEncodeError):
        text = error.object[error.start : error.end].translate(_PLAIN)
        return text.encode("ascii", "backslashreplace").decode("ascii"), error.end
    return codecs.backslashreplace_errors(error)


class _Output(io.FileIO):
    """Standard output that raises `OutputError` at its first failure and discards later writes."""

    failed = False

    def write(self, data: Any, /) -> int:
        if not self.failed:
            try:
                return super().write(data)
            except BrokenPipeError:
                raise  # the reader has closed the pipe, as `| head` does
            except OSError as error:
                # Python flushes again at exit. An error there could not be handled.
                self.failed = True
                closed = error.errno == errno.EBADF
                reason = "it is closed" if closed else error.strerror
                raise OutputError(
                    f"standard output cannot be written ({reason}): redirect it to a file, or free some space."
                ) from error
        return len(data)


class _Errors(io.FileIO):
    """Standard error that ignores failed writes."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def prepare_streams() -> None:
    """Make the standard streams of this process reliable.

    Streams that a test or a server has replaced are not changed.

    - A closed descriptor from 0 to 2 is opened on the null device. Otherwise the next file to be
      opened would get its number, and a library's messages to standard error would be written into
      that file.
    - Failed writes to standard error are ignored. The first failure of standard output is an
      `OutputError` (exit code 5).
    - Characters that the encoding of a terminal lacks are replaced by plain letters or escaped.
    """
    codecs.register_error(_ERRORS, _plain)
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Standard output is opened read-only, so that a write fails instead of being lost
            # unnoticed.
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  (it stays open)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _wrap(_Output(1, "wb", closefd=False), sys.__stdout__)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _wrap(_Errors(2, "wb", closefd=False), sys.__stderr__, line_buffering=True)


def _wrap(raw: io.FileIO, old: Any, *, line_buffering: bool = False) -> io.TextIOWrapper:
    if old is not None:
        with contextlib.suppress(OSError, ValueError):
            old.flush()
    # On a terminal, each line appears at once.
    lines = line_buffering or (old is not None and old.isatty())
    encoding = getattr(old, "encoding", None) or "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors=_ERRORS, line_buffering=lines)
