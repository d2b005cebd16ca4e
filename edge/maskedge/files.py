"""Writing files so that they are whole or as they were."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from .errors import OutputError


def write_file(path: Path, content: bytes | str, *, remedy: str = "") -> None:
    """Write `content` beside `path`, then rename: on a full disk the old file survives. Text is written as UTF-8.

    Args:
        path: The file. Its folder must exist.
        content: All of it.
        remedy: What the user should do, for the sentence of the error.

    Raises:
        OutputError: It cannot be written.
    """
    beside = path.with_name(path.name + ".tmp")
    try:
        beside.write_bytes(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        name = str(path).encode(errors="backslashreplace").decode()
        raise OutputError(f"{name} cannot be written ({error.strerror}){': ' + remedy if remedy else ''}.") from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless it is there.

    Raises:
        OutputError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {path} cannot be made ({error.strerror}).") from error


def slug(text: str) -> str:
    """Give `text` of letters, digits, `_` and `-` alone, for names of files and of topics."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text)
