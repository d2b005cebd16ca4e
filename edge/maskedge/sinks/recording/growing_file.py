"""A file that is written in pieces, each completely or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO


class GrowingFile:
    """Appends bytes to a file. If that fails, as on a full disk, the file keeps its previous end.

    Args:
        path: The file; replaced if it exists.

    Attributes:
        end: Number of appended bytes.

    Raises:
        OSError: The file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        # The file is unbuffered, so that appended data are kept if the program is killed.
        self._file: BinaryIO = path.open("wb", buffering=0)
        self.end = 0

    def append(self, data: bytes) -> None:
        """Write `data` at the end.

        Raises:
            OSError: The data cannot be written. The file is unchanged.
        """
        try:
            self.put(self.end, data)
        except OSError:
            self._file.truncate(self.end)
            raise
        self.end += len(data)

    def put(self, place: int, data: bytes) -> None:
        """Overwrite the file at `place`, in bytes from its beginning.

        Raises:
            OSError: The data cannot be written.
        """
        self._file.seek(place)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def close(self) -> None:
        """Close the file. May be called repeatedly."""
        self._file.close()
