"""MP4 files that are readable while they are written."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from pathlib import Path

from maskedge.support.iso_media import make, make_full

from .encoder import Piece
from .growing_file import GrowingFile

_SCALE = 90_000  # time units per second, as in most video
_BRANDS = make(b"ftyp", b"isom\0\0\2\0isomiso5iso6mp41")
_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_KEY, _OTHER = 0x02000000, 0x01010000
"""Sample flags of a key frame and of any other frame."""


class Mp4File:
    """Writes encoded pieces as fragments. `close` adds the index of a plain MP4 file.

    Before `close`, the file is a fragmented MP4 file, complete up to its last fragment. `close`
    encloses the fragments in one large `mdat` box. Space for the header of the box is reserved.
    Players and editors without support for fragments can therefore read the file.

    Args:
        path: The file; replaced by the first piece if it exists.
        size: Width and height in pixels.
    """

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self._size = size
        self._file = GrowingFile(path)
        self._entry = b""
        self._ticks = 0
        # The data of the index take 4 bytes per number, about 10 MB for a day at 25 frames/s.
        self._sizes, self._lengths, self._keys = array("I"), array("I"), array("I")
        self._chunks: list[tuple[int, int]] = []

    def add(self, piece: Piece, seconds: list[float]) -> None:
        """Write a piece.

        Args:
            piece: The frames.
            seconds: Start of each frame, then the end of the last frame, ascending from 0.

        Raises:
            OSError: The piece cannot be written. The file is unchanged.
        """
        fragment, lengths, ticks = b"", array("I"), self._ticks
        if not self._entry:
            fragment += _BRANDS + make(b"free", bytes(8)) + self._movie(piece.entry, None)
        for end in seconds[1:]:
            lengths.append(min(max(1, round(end * _SCALE) - ticks), 0xFFFFFFFF))
            ticks += lengths[-1]
        sizes = [len(sample) for sample in piece.samples]
        flags = [_KEY if key else _OTHER for key in piece.keys]
        rows = b"".join(struct.pack(">III", *row) for row in zip(lengths, sizes, flags, strict=True))

        def fragment_head(offset: int) -> bytes:
            run = make_full(b"trun", 0, 0x701, struct.pack(">Ii", len(sizes), offset), rows)
            track = make_full(b"tfhd", 0, 0x20000, struct.pack(">I", 1)), make_full(b"tfdt", 1, 0, struct.pack(">Q", self._ticks))
            return make(b"moof", make_full(b"mfhd", 0, 0, struct.pack(">I", len(self._chunks) + 1)), make(b"traf", *track, run))

        head = fragment_head(len(fragment_head(0)) + 8)
        start = self._file.end + len(fragment) + len(head) + 8
        fragment += head + make(b"mdat", *piece.samples)
        self._file.append(fragment)
        self._entry, self._ticks = self._entry or piece.entry, ticks
        self._chunks.append((start, len(sizes)))
        self._keys.extend(len(self._sizes) + number for number, key in enumerate(piece.keys, 1) if key)
        self._sizes.extend(sizes)
        self._lengths.extend(lengths)

    def close(self) -> None:
        """Write the index and close the file.

        Raises:
            OSError: There is no space for the index. The file is readable without it.
        """
        try:
            if self._entry:
                start, end = len(_BRANDS), self._file.end
                self._file.append(self._movie(self._entry, self._index()))
                # Everything up to the index becomes one data box.
                self._file.put(start, struct.pack(">I4sQ", 1, b"mdat", end - start))
        finally:
            self._file.close()

    def _index(self) -> list[bytes]:
        runs: list[list[int]] = []
        for length in self._lengths:
            if runs and runs[-1][1] == length:
                runs[-1][0] += 1
            else:
                runs.append([1, length])
        steps: list[tuple[int, int, int]] = []
        for number, (_, count) in enumerate(self._chunks, 1):
            if not steps or steps[-1][1] != count:
                steps.append((number, count, 1))
        return [
            make_full(b"stts", 0, 0, _table([tuple(run) for run in runs], ">II")),
            make_full(b"stss", 0, 0, _table([(key,) for key in self._keys], ">I")),
            make_full(b"stsc", 0, 0, _table(steps, ">III")),
            make_full(b"stsz", 0, 0, struct.pack(">I", 0), _table([(size,) for size in self._sizes], ">I")),
            make_full(b"co64", 0, 0, _table([(start,) for start, _ in self._chunks], ">Q")),
        ]

    def _movie(self, entry: bytes, index: list[bytes] | None) -> bytes:
        """Return the `moov` box, with an index or with the statement that fragments follow."""
        width, height = self._size
        ticks = self._ticks if index else 0
        thousandths = round(ticks * 1000 / _SCALE)
        tables = index or [
            make_full(kind, 0, 0, bytes(size)) for kind, size in ((b"stts", 4), (b"stsc", 4), (b"stsz", 8), (b"stco", 4))
        ]
        media = make(
            b"mdia",
            make_full(b"mdhd", 1, 0, struct.pack(">QQIQHH", 0, 0, _SCALE, ticks, 0x55C4, 0)),
            make_full(b"hdlr", 0, 0, struct.pack(">I4s", 0, b"vide"), bytes(12), b"maskedge\0"),
            make(
                b"minf",
                make_full(b"vmhd", 0, 1, bytes(8)),
                make(b"dinf", make_full(b"dref", 0, 0, struct.pack(">I", 1), make_full(b"url ", 0, 1))),
                make(b"stbl", make(b"stsd", entry), *tables),
            ),
        )
        head = struct.pack(">QQIIQ", 0, 0, 1, 0, thousandths), bytes(16)
        track = make_full(b"tkhd", 1, 3, *head, _MATRIX, struct.pack(">II", width << 16, height << 16))
        head = struct.pack(">QQIQIH", 0, 0, 1000, thousandths, 0x10000, 0x100), bytes(10)
        movie = make_full(b"mvhd", 1, 0, *head, _MATRIX, bytes(24), struct.pack(">I", 2))
        fragments = make(b"mvex", make_full(b"trex", 0, 0, struct.pack(">IIIII", 1, 1, 0, 0, 0)))
        return make(b"moov", movie, make(b"trak", track, media), *(() if index else (fragments,)))


def _table(rows: Sequence[tuple[int, ...]], layout: str) -> bytes:
    return struct.pack(">I", len(rows)) + b"".join(struct.pack(layout, *row) for row in rows)
