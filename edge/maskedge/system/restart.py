"""A new start of this process by itself."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import NoReturn

from maskedge.support.workers import child_environment

_OPEN_FILES = Path("/proc/self/fd")


def start_again() -> NoReturn:
    """Replace this process by a new one with the same command line and process number."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # A camera that a hanging driver keeps open must not be open in the new process.
    names = [entry.name for entry in _OPEN_FILES.iterdir()] if _OPEN_FILES.is_dir() else []
    for number in map(int, names):
        if number > 2:
            with contextlib.suppress(OSError):
                os.set_inheritable(number, False)
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], child_environment())  # noqa: S606
