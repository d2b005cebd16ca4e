"""A file that grows by pieces, each of which is written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO


class GrowingFile:
    """Appends bytes; on a full disk the file ends where it ended before.

    Args:
        path: The file, which is written anew.

    Attributes:
        end: Bytes that were appended.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        # Without a buffer: what was appended survives the program.
        self._file: BinaryIO = path.open("wb", buffering=0)
        self.end = 0

    def append(self, data: bytes) -> None:
        """Write `data` at the end.

        Raises:
            OSError: It cannot be written. The file is as it was before.
        """
        try:
            self.put(self.end, data)
        except OSError:
            self._file.truncate(self.end)
            raise
        self.end += len(data)

    def put(self, place: int, data: bytes) -> None:
        """Write `data` over what stands at `place`, in bytes from the beginning.

        Raises:
            OSError: It cannot be written.
        """
        self._file.seek(place)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._file.close()
