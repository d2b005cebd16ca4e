"""Checks of the files of an export, before the long work begins."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from maskedge.errors import OutputError
from maskedge.support.files import is_folder, temporary_name
from maskedge.support.text import displayable

REMEDY = "free some space, or choose another --output"
"""Remedy for a file that cannot be written although it was checked."""


def check_outputs(paths: Iterable[Path]) -> None:
    """Check that files can be written as `write_file` does it: under a temporary name beside each.

    Args:
        paths: The files. They need not exist.

    Raises:
        OutputError: A file cannot be written. The message names the cause.
    """
    for path in paths:
        name = displayable(path)
        if not is_folder(path.parent):
            raise OutputError(f"the folder {displayable(path.parent)} does not exist: create it, or choose another --output.")
        target = Path(os.path.realpath(path))
        try:
            if target.exists() and not target.is_file():
                raise OutputError(f"{name} is not a regular file: choose another --output.")
            trial = temporary_name(target)
            os.close(os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            trial.unlink()
        except OSError as error:
            raise OutputError(
                f"{name} cannot be written ({error.strerror}): check its folder, or choose another --output."
            ) from error
