"""Writing files so that they are whole or as they were."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from pathlib import Path

from .errors import OutputError

MOST_SECRET = 65536
"""Bytes of a file that holds a password, a token or a header, at most."""


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


def read_regular(path: Path, most: int) -> bytes:
    """Read a file that must be one: opening a FIFO or reading a device could wait for ever, or never end.

    Args:
        path: The file.
        most: Bytes that it may have, at most.

    Raises:
        OSError: It cannot be read; `strerror` says why, also where it is no regular file or too large.
    """
    # Without a block: a FIFO that nobody writes to would hold the program before it is known to be one.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(number, "rb") as file:  # noqa: PTH123  (a descriptor)
        facts = os.fstat(number)
        if stat.S_ISDIR(facts.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        # The size is not believed alone: a file of /proc has none, and others grow.
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most / 1e6:g} MB", str(path))
    return content


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
