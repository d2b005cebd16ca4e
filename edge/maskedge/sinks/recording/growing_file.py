"""A file that is written in pieces, each completely or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

from .beside import Beside


class GrowingFile:
    """Appends bytes to a file. If that fails, as on a full disk, the file keeps its previous end.

    The first bytes create the file. An existing file is replaced only when they are written.

    Args:
        path: The file; replaced if it exists.

    Attributes:
        end: Number of appended bytes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self.end = 0

    def append(self, data: bytes) -> None:
        """Write `data` at the end.

        Raises:
            OSError: The data cannot be written. The file is unchanged, or was removed (`FileNotFoundError`).
        """
        if self._file is None:
            self._file = _begin(self._path, data)
        elif self._is_removed(self._file):
            raise FileNotFoundError(errno.ENOENT, "it was removed while it was written")
        else:
            try:
                self.put(self.end, data)
            except OSError:
                self._file.truncate(self.end)
                raise
        self.end += len(data)

    def _is_removed(self, file: BinaryIO) -> bool:
        own = os.fstat(file.fileno())
        if own.st_nlink:
            return False
        # Some network file systems do not count links.
        try:
            return not os.path.samestat(own, self._path.stat())
        except OSError:
            return True

    def put(self, place: int, data: bytes) -> None:
        """Overwrite the file at `place`, in bytes from its beginning.

        Raises:
            OSError: The data cannot be written.
        """
        assert self._file is not None  # noqa: S101  (something was appended)
        self._file.seek(place)
        _write(self._file, data)

    def close(self) -> None:
        """Close the file. May be called repeatedly."""
        if self._file is not None:
            self._file.close()


def _begin(path: Path, data: bytes) -> BinaryIO:
    """Create or replace a file with its first bytes, completely or not at all."""
    beside = Beside(path)
    # The file is unbuffered, so that appended data are kept if the program is killed.
    file = beside.path.open("wb", buffering=0)
    try:
        _write(file, data)
        beside.rename()
        if not beside.in_place:
            beside.complete()
            file.close()
            file = os.fdopen(os.open(beside.path, os.O_WRONLY | os.O_CLOEXEC), "wb", buffering=0)
    except OSError:
        file.close()
        beside.discard()
        raise
    return file


def _write(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
