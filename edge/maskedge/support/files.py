"""Writing files so that they are whole or as they were, and names of files that native code survives."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from maskedge.errors import OutputError

from .text import displayable, is_utf8, to_bytes

_LONGEST = 255
"""Bytes of the longest name of a file that usual file systems take."""

MOST_SECRET = 65536
"""Bytes of a file that holds a password, a token or a header, at most."""


def write_file(path: Path, content: bytes | str, *, remedy: str = "", private: bool = False) -> None:
    """Write `content` beside `path`, then rename: on a full disk the old file survives. Text is written as UTF-8.

    Devices and pipes are written to directly, and a link stays one: the file behind it is replaced.

    Args:
        path: The file. Its folder must exist.
        content: All of it.
        remedy: What the user should do, for the sentence of the error.
        private: Readable by this user alone, whatever the umask says. A file that is replaced keeps its permissions otherwise.

    Raises:
        OutputError: It cannot be written.
    """
    data = to_bytes(content) if isinstance(content, str) else content
    beside: Path | None = None
    try:
        path = Path(os.path.realpath(path)) if path.is_symlink() else path
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        beside = temporary_name(path)
        mode = path.stat().st_mode & 0o777 if path.exists() and not private else None
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666), "wb") as file:
            file.write(data)
        if mode is not None:
            beside.chmod(mode)
        beside.replace(path)
    except OSError as error:
        if beside is not None:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
        reason = f"{displayable(path)} cannot be written ({error.strerror})"
        raise OutputError(f"{reason}{': ' + remedy if remedy else ''}.") from error


def temporary_name(path: Path, suffix: str = "") -> Path:
    """Name a file beside `path`, which no other has, for what becomes it once it is complete.

    Args:
        path: The file.
        suffix: What the name must end in, as in `.mp4`.
    """
    return path.with_name(short_name(f".{path.name}", f".{secrets.token_hex(4)}.tmp{suffix}"))


def short_name(stem: str, suffix: str) -> str:
    """Join `stem` and `suffix` to the name of a file; where that is too long the end of the stem makes way for a digest of it."""
    room = _LONGEST - len(os.fsencode(suffix))
    if len(os.fsencode(stem)) <= room:
        return stem + suffix
    mark = f"~{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}"
    while len(os.fsencode(stem)) > room - len(mark):
        stem = stem[:-1]
    return stem + mark + suffix


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


def read_text(path: Path, most: int) -> str:
    """Read a regular file as UTF-8, without the byte order mark that editors of Windows put before it.

    Args:
        path: The file.
        most: Bytes that it may have, at most.

    Raises:
        OSError: As for `read_regular`.
        UnicodeDecodeError: It is no UTF-8.
    """
    return read_regular(path, most).decode("utf-8-sig")


def is_file(path: Path) -> bool:
    """Tell whether a regular file is there; no file where it cannot be known.

    Unlike `Path.is_file`, which raises for a name that is too long and for a folder that may not be entered.
    """
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Tell whether a folder is there; none where it cannot be known (see `is_file`)."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def make_folder(path: Path, *, private: bool = False) -> None:
    """Make a folder and those above it, unless it is there. One that is there keeps its permissions.

    Args:
        path: The folder.
        private: One that is made may be entered by this user alone, whatever the umask says.

    Raises:
        OutputError: It cannot be made.
    """
    try:
        path.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {displayable(path)} cannot be made ({error.strerror}).") from error


@contextlib.contextmanager
def native_path(path: Path) -> Iterator[str]:
    """Lend a name under which native code (OpenCV, FFmpeg) opens just this file, for the moment in which it opens it.

    FFmpeg takes what stands before a colon for a protocol, so the name never begins with the file's own; OpenCV crashes on a name
    that is no UTF-8, so a link of another name, with the same suffix, stands in for the file while the block runs. On systems
    without links such names are refused.

    Args:
        path: The file; it need not exist, but its folder.

    Raises:
        OutputError: No link can be made.
    """
    name = str(path) if path.is_absolute() else f"{os.curdir}{os.sep}{path}"
    if is_utf8(name):
        yield name
        return
    suffix = path.suffix if is_utf8(path.suffix) else ""
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="maskedge-"))
            link = Path(folder) / f"file{suffix}"
            link.symlink_to(Path.cwd() / path)
        except OSError as error:
            raise OutputError(
                f"{displayable(path)} has a name that is no UTF-8, and no link to it can be made: rename it."
            ) from error
        yield str(link)


def slug(text: str) -> str:
    """Give `text` of letters, digits, `_` and `-` alone, for names of files and of topics."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text)
