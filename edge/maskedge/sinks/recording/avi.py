"""Checks of AVI files, which OpenCV writes without a report of errors."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_LISTS = (b"RIFF", b"LIST")
_FRAMES = (b"00dc", b"00db")


def count_frames(path: Path, most: int | None = None) -> int:
    """Count the frames that are completely in a file, even in one that was not completed.

    Args:
        path: The file.
        most: Stop at this number.

    Raises:
        OSError: The file cannot be read.
    """
    count, size = 0, path.stat().st_size
    with path.open("rb") as file:
        for kind, start, length in _chunks(file, 0, size):
            count += kind in _FRAMES and start + length <= size
            if count == most:
                break
    return count


def is_complete(path: Path, frames: int) -> bool:
    """Return True if a file is as long as it states, and states this number of frames.

    This takes no longer for a long file. OpenCV writes the length last.

    Raises:
        OSError: The file cannot be read.
    """
    place, size, stated = 0, path.stat().st_size, -1
    with path.open("rb") as file:
        head = file.read(8192)
        found = head.find(b"strh") + 40
        if 40 <= found <= len(head) - 4:
            (stated,) = struct.unpack_from("<I", head, found)
        while place < size:
            file.seek(place)
            start = file.read(8)
            if len(start) < 8 or start[:4] != b"RIFF":
                return False
            place += 8 + int.from_bytes(start[4:], "little")
    return place == size and stated == frames


def _chunks(file: BinaryIO, place: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and length of the chunks between two places, without the lists around them."""
    while place + 8 <= end:
        file.seek(place)
        head = file.read(12)
        kind, length = head[:4], int.from_bytes(head[4:8], "little")
        if kind in _LISTS:
            # The length of a list is 0 or -1 until the list is complete.
            stop = place + 8 + length if 0 < length <= end - place - 8 else end
            yield from _chunks(file, place + 12, stop)
            length = stop - place - 8
        else:
            yield kind, place + 8, length
        place += 8 + length + length % 2
