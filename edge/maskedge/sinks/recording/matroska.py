"""Matroska files that are readable while they are written."""

from __future__ import annotations

import struct
from pathlib import Path

from .encoder import Piece
from .growing_file import GrowingFile

_UNKNOWN = 0x01FFFFFFFFFFFFFF
_NAME = b"maskedge"


class MatroskaFile:
    """Writes each piece of encoded frames as a cluster. `close` adds index, duration and size.

    Args:
        path: The file; replaced by the first piece if it exists.
        size: Width and height in pixels.
        fps: Approximate number of frames per second. It is informative, because each frame has a
            time stamp.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self._size = size
        self._frame = round(1e9 / fps)
        self._file = GrowingFile(path)
        self._segment = self._duration = 0
        self._seconds = 0.0
        self._cues: list[tuple[int, int]] = []

    def add(self, piece: Piece, seconds: list[float]) -> None:
        """Write a piece.

        Args:
            piece: The frames.
            seconds: Start of each frame, then the end of the last frame, ascending from 0.

        Raises:
            OSError: The piece cannot be written. The file is unchanged.
        """
        head = b"" if self._segment else self._head(piece.entry)
        start = round(seconds[0] * 1000)
        blocks = b"".join(
            _element(0xA3, b"\x81", struct.pack(">hB", min(round(at * 1000) - start, 0x7FFF), 0x80 if key else 0), sample)
            for at, key, sample in zip(seconds, piece.keys, piece.samples, strict=False)
        )
        place = self._file.end + len(head)
        self._file.append(head + _element(0x1F43B675, _number(0xE7, start), blocks))
        if head:
            self._segment = head.index(_UNKNOWN.to_bytes(8, "big")) + 8
            self._duration = head.index(b"\x44\x89\x88") + 3
        self._cues.append((start, place - self._segment))
        self._seconds = seconds[-1]

    def close(self) -> None:
        """Write the index and close the file.

        Raises:
            OSError: There is no space for the index. The file is readable without it.
        """
        try:
            if self._segment:
                points = b"".join(
                    _element(0xBB, _number(0xB3, at), _element(0xB7, _number(0xF7, 1), _number(0xF1, place)))
                    for at, place in self._cues
                )
                place = self._file.end
                self._file.append(_element(0x1C53BB6B, points))
                self._file.put(self._duration, struct.pack(">d", self._seconds * 1000))
                self._file.put(self._segment, _seek(place - self._segment))
                self._file.put(self._segment - 8, (1 << 56 | self._file.end - self._segment).to_bytes(8, "big"))
        finally:
            self._file.close()

    def _head(self, entry: bytes) -> bytes:
        width, height = self._size
        kind = _element(
            0x1A45DFA3,
            _number(0x4286, 1), _number(0x42F7, 1), _number(0x42F2, 4), _number(0x42F3, 8),
            _element(0x4282, b"matroska"), _number(0x4287, 4), _number(0x4285, 2),
        )  # fmt: skip
        facts = _element(
            0x1549A966,
            _number(0x2AD7B1, 1_000_000), _element(0x4D80, _NAME), _element(0x5741, _NAME),
            _element(0x4489, struct.pack(">d", 0.0)),
        )  # fmt: skip
        track = _element(
            0xAE,
            _number(0xD7, 1), _number(0x73C5, 1), _number(0x83, 1), _number(0x9C, 0), _number(0x23E383, self._frame),
            _element(0x86, b"V_MPEG4/ISO/ASP"), _element(0x63A2, _decoder_setup(entry)),
            _element(0xE0, _number(0xB0, width), _number(0xBA, height)),
        )  # fmt: skip
        # Space reserved for the position of the index.
        rest = _element(0xEC, bytes(len(_seek(0)) - 2)) + facts + _element(0x1654AE6B, track)
        return kind + struct.pack(">IQ", 0x18538067, _UNKNOWN) + rest


def _element(kind: int, *parts: bytes) -> bytes:
    """Return an element with the given content."""
    size = sum(map(len, parts))
    bits = 1
    while size >= (1 << 7 * bits) - 1:
        bits += 1
    return b"".join((kind.to_bytes((kind.bit_length() + 7) // 8, "big"), (size | 1 << 7 * bits).to_bytes(bits, "big"), *parts))


def _number(kind: int, value: int, width: int = 0) -> bytes:
    return _element(kind, value.to_bytes(width or max(1, (value.bit_length() + 7) // 8), "big"))


def _seek(place: int) -> bytes:
    """Return the entry with the position of the index. Its length is constant."""
    return _element(0x114D9B74, _element(0x4DBB, _element(0x53AB, b"\x1c\x53\xbb\x6b"), _number(0x53AC, place, 8)))


def _decoder_setup(entry: bytes) -> bytes:
    """Return the decoder configuration from an MP4 sample entry (ISO/IEC 14496-1, 7.2.6)."""
    start = entry.index(b"esds") + 8
    while True:
        kind = entry[start]
        size, start = 0, start + 1
        while entry[start] & 0x80:
            size, start = size << 7 | entry[start] & 0x7F, start + 1
        size, start = size << 7 | entry[start], start + 1
        if kind == 0x05:
            return entry[start : start + size]
        # The outer descriptors start with fields of a known length.
        start += {0x03: 3, 0x04: 13}.get(kind, size)
