"""Reading and building of boxes in ISO base media files (MP4, MOV, 3GP)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAX_BOXES = 1_000_000
"""Maximum number of boxes that are read on one level."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box in a file.

    Attributes:
        kind: Its four-character type.
        start: Offset of its content in the file.
        end: Offset of its end according to its header. It may exceed the end of the file.
    """

    kind: bytes
    start: int
    end: int


def walk(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two offsets, up to the first bytes that are not a box.

    Args:
        file: The file. Its position changes.
        start: Offset of the first box.
        end: Offset of the end of the boxes.
    """
    for _ in range(MAX_BOXES):
        if end - start < 8:
            return
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return
        size, kind = struct.unpack(">I4s", head[:8])
        header = 8
        if size == 1:
            if len(head) < 16:
                return
            size, header = struct.unpack(">Q", head[8:])[0], 16
        elif size == 0:
            size = end - start
        if size < header or not kind.strip().isalnum():
            return
        yield Box(kind, start + header, start + size)
        start += size


def find(file: BinaryIO, start: int, end: int, *path: bytes) -> Iterator[Box]:
    """Yield the boxes at a path of types, as `b"trak", b"mdia"`, each cut at its parent's end."""
    for box in walk(file, start, end):
        if box.kind == path[0]:
            inside = Box(box.kind, box.start, min(box.end, end))
            if len(path) == 1:
                yield inside
            else:
                yield from find(file, inside.start, inside.end, *path[1:])


def content(file: BinaryIO, box: Box, limit: int = 1 << 20) -> bytes:
    """Return the content of a box, or its first `limit` bytes."""
    file.seek(box.start)
    return file.read(max(0, min(box.end - box.start, limit)))


def make(kind: bytes, *parts: bytes) -> bytes:
    """Build a box from its content."""
    size = 8 + sum(map(len, parts))
    if size < 1 << 32:
        return b"".join((struct.pack(">I4s", size, kind), *parts))
    return b"".join((struct.pack(">I4sQ", 1, kind, size + 8), *parts))


def make_full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    """Build a box that begins with a version and flags."""
    return make(kind, struct.pack(">I", version << 24 | flags), *parts)
