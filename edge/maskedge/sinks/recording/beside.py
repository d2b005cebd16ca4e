"""A file that is written beside another one, and takes its place when it holds something."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

from maskedge.support.files import temporary_name

_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
"""Errors of a folder in which no file can be created, although a file in it may be writable."""


class Beside:
    """A new file with a temporary name, in the folder of the file that it will replace.

    A replaced file keeps its permissions. If `path` is a symbolic link, its target is replaced.
    Devices, pipes, and files in a folder that takes no new file are written directly.

    Args:
        path: The file to replace. It need not exist.

    Attributes:
        path: The file to write.
        in_place: True if `path` has its final name.

    Raises:
        OSError: The file cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._target = path = Path(os.path.realpath(path)) if path.is_symlink() else path
        self.path, self.in_place = path, True
        if path.exists() and not path.is_file():
            return
        beside = temporary_name(path, path.suffix)
        try:
            os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        except OSError as error:
            if error.errno not in _REFUSED or not path.exists():
                raise
            return
        self.path, self.in_place = beside, False
        if path.exists():
            with contextlib.suppress(OSError):
                beside.chmod(path.stat().st_mode & 0o777)

    def rename(self) -> None:
        """Rename the file to its final name, if the system allows it. The file may be open."""
        if not self.in_place:
            with contextlib.suppress(OSError):
                self.path.replace(self._target)
                self.path, self.in_place = self._target, True

    def complete(self) -> None:
        """Move the complete file to its final name.

        Raises:
            OSError: The file that it replaces cannot be renamed or written.
        """
        self.rename()
        if not self.in_place:
            # A file that is mounted by itself, as in a container, cannot be replaced.
            shutil.copyfile(self.path, self._target)
            self.path.unlink()
            self.path, self.in_place = self._target, True

    def discard(self) -> None:
        """Remove the file, unless it has its final name."""
        if not self.in_place:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
