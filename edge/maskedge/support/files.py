"""Atomic writes, safe reads, and file names that native code can open."""

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
from typing import BinaryIO

from maskedge.errors import OutputError, UsageError

from .text import displayable, is_utf8, to_bytes

_LONGEST = 255
"""Maximum length of a file name on common file systems, in bytes."""
_STEP = 65536
_REMEDIES = {
    errno.ENOSPC: "free some space, or choose another folder",
    errno.EDQUOT: "free some space, or choose another folder",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or choose another folder",
    errno.EACCES: "check the permissions of its folder, or choose another one",
    errno.EPERM: "check the permissions of its folder, or choose another one",
    errno.EROFS: "choose a folder that can be written",
    errno.ENOENT: "make its folder first, or choose another one",
    errno.ENOTDIR: "make its folder first, or choose another one",
}
"""Remedies by the number of the error."""

MAX_SECRET_BYTES = 65536
"""Maximum size of a file with a password, a token or a header, in bytes."""


def write_file(path: Path, content: bytes | str, *, remedy: str = "", private: bool = False, durable: bool = False) -> None:
    """Write a file atomically. On a full disk, the old file remains. Text is encoded as UTF-8.

    The content is written to a temporary file beside `path`. This file is then renamed to `path`.
    Devices and pipes are written directly. If `path` is a symbolic link, its target is replaced and
    the link remains.

    Args:
        path: The file. Its folder must exist.
        content: Content of the file.
        remedy: Remedy for the user, for the error message. By default it depends on the error.
        private: Make the file readable by this user only, regardless of the umask. If False, a
            replaced file keeps its permissions.
        durable: Wait until the content and its name are on the disk. After a power cut, the file
            has the old or the new content.

    Raises:
        OutputError: The file cannot be written.
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
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if mode is not None:
            beside.chmod(mode)
        beside.replace(path)
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        if beside is not None:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
        remedy = remedy or _REMEDIES.get(error.errno or 0, "")
        reason = f"{displayable(path)} cannot be written ({error.strerror})"
        raise OutputError(f"{reason}{': ' + remedy if remedy else ''}.") from error


def sync_folder(folder: Path) -> None:
    """Wait until the names of the files of a folder are on the disk.

    Raises:
        OSError: The disk fails.
    """
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def temporary_name(path: Path, suffix: str = "") -> Path:
    """Return an unused name beside `path`, for a file that is renamed to `path` when complete.

    Args:
        path: The final file.
        suffix: Suffix of the name, such as `.mp4`.
    """
    return path.with_name(short_name(f".{path.name}", f".{secrets.token_hex(4)}.tmp{suffix}"))


def short_name(stem: str, suffix: str) -> str:
    """Return `stem + suffix` as a file name.

    A digest replaces the end of a stem that is too long.
    """
    room = _LONGEST - len(os.fsencode(suffix))
    if len(os.fsencode(stem)) <= room:
        return stem + suffix
    mark = f"~{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}"
    while len(os.fsencode(stem)) > room - len(mark):
        stem = stem[:-1]
    return stem + mark + suffix


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Other files are refused, because opening a FIFO or reading a device could block for ever.

    Args:
        path: The file.

    Raises:
        OSError: The file cannot be opened or is not regular; `strerror` names the cause.
    """
    # Without O_NONBLOCK, opening a FIFO without a writer would block before fstat can recognise it.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        facts = os.fstat(number)
        if stat.S_ISDIR(facts.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return open(number, "rb")  # noqa: PTH123  (a descriptor, closed by the caller)
    except BaseException:
        os.close(number)
        raise


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Read a regular file. Other files are refused, as by `open_regular`.

    Args:
        path: The file.
        max_bytes: Maximum size in bytes.

    Raises:
        OSError: The file cannot be read, is not regular or is too large; `strerror` names the
            cause.
    """
    with open_regular(path) as file:
        # Python reserves the memory of the bytes asked for, so that is not `max_bytes`. The reported
        # size is not reliable: a file in /proc reports 0, and a file may grow while it is read.
        content = file.read(min(os.fstat(file.fileno()).st_size, max_bytes) + 1)
        while len(content) <= max_bytes and (more := file.read(_STEP)):
            content += more
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes / 1e6:g} MB", str(path))
    return content


def read_text(path: Path, max_bytes: int) -> str:
    """Read a regular file as UTF-8, and remove the byte order mark that Windows editors write.

    Args:
        path: The file.
        max_bytes: Maximum size in bytes.

    Raises:
        OSError: As for `read_regular`.
        UnicodeDecodeError: The file is not UTF-8.
    """
    return read_regular(path, max_bytes).decode("utf-8-sig")


def expand_home(path: Path) -> Path:
    """Return a path with `~` expanded.

    Raises:
        UsageError: The path begins in the home folder of an unknown user.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise UsageError(f"{displayable(path)} names a home folder that does not exist: check the path.") from error


def is_file(path: Path) -> bool:
    """Return True for a regular file, and False if that cannot be determined.

    Unlike `Path.is_file`, this function does not raise for a name that is too long or a folder
    without access.
    """
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Return True for a folder, and False if that cannot be determined (see `is_file`)."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def make_folder(path: Path, *, private: bool = False) -> None:
    """Create a folder and its missing parents. An existing folder keeps its permissions.

    Args:
        path: The folder.
        private: Make the new folders accessible by this user only, regardless of the umask.

    Raises:
        OutputError: The folder cannot be created.
    """
    try:
        # `mkdir` would create the parents of a private folder with the permissions of the umask.
        for folder in (*reversed(path.parents), path) if private else ():
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
        remedy = "a file is in the way: remove it, or choose another folder" if in_the_way else "check its permissions"
        raise OutputError(f"the folder {displayable(path)} cannot be created ({error.strerror}): {remedy}.") from error


@contextlib.contextmanager
def native_path(path: Path) -> Iterator[str]:
    """Provide a name under which native code (OpenCV, FFmpeg) can open a file.

    The name is valid while the context lasts.

    FFmpeg takes text before a colon for a protocol, so the provided name never begins with the
    file's own name. OpenCV crashes on a name that is not UTF-8. For such a file, the provided name
    is a temporary symbolic link with the same suffix. On systems without links, such a file is
    refused.

    Args:
        path: The file. It need not exist, but its folder must.

    Raises:
        OutputError: The link cannot be created.
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
                f"{displayable(path)} has a name that is not UTF-8, and no link to it can be created: rename it."
            ) from error
        yield str(link)


def slug(text: str) -> str:
    """Replace all characters except letters, digits, `_` and `-`, for names of files and topics."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text)
