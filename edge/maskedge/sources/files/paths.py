"""Paths of sources, as the user writes them."""

from __future__ import annotations

import os
from pathlib import Path

from maskedge.errors import SourceError
from maskedge.support.text import displayable


def to_path(uri: str) -> Path:
    """Return the path that `uri` names, with `~` expanded."""
    return Path(uri).expanduser()


def stat_path(path: Path) -> os.stat_result | None:
    """Return the status of a path, or None where there is nothing.

    Raises:
        SourceError: The path cannot be accessed: a folder denies it, or the name is too long.
    """
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SourceError(f"{displayable(path)} cannot be read ({error.strerror}): check the path and its permissions.") from error
