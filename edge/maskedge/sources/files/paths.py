"""Conversion of the paths that users write."""

from __future__ import annotations

import os
from pathlib import Path

from maskedge.errors import SourceError
from maskedge.support.addresses.masking import without_password
from maskedge.support.text import displayable


def to_path(uri: str) -> Path:
    """Return the path in `uri`, with `~` expanded.

    Raises:
        SourceError: The path begins in the home folder of an unknown user.
    """
    try:
        return Path(uri).expanduser()
    except RuntimeError as error:
        shown = displayable(without_password(uri))
        raise SourceError(f"{shown} names a home folder that does not exist: check the path.") from error


def stat_path(path: Path) -> os.stat_result | None:
    """Return the status of a path, or None if it does not exist.

    Raises:
        SourceError: The path cannot be accessed, because a folder denies access or the name is too
            long.
    """
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SourceError(
            f"{displayable(without_password(str(path)))} cannot be read ({error.strerror}): check the path and its permissions."
        ) from error
