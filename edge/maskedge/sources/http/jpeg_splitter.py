"""A scanner that finds JPEG pictures in a stream of bytes."""

from __future__ import annotations

import re

_MAX_BYTES = 32 * 2**20
_MAX_PIXELS = 50_000_000
_SOI = b"\xff\xd8\xff"
_EOI, _SOS = 0xD9, 0xDA
_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a frame header. The header contains the size of the picture."""
_BETWEEN_SCANS = frozenset((0xC4, _SOS, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)))
# In compressed data, 0xFF is followed by zero or a restart marker. Any other byte after 0xFF ends
# the data.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_PICTURE_TYPE = re.compile(rb"content-type:[ \t]*image/", re.IGNORECASE)
_PART_TYPE = re.compile(rb"content-type:[ \t]*([\w.+-]+/[\w.+-]+)", re.IGNORECASE)
_FILL = 256
"""Maximum number of fill bytes before a marker."""
_GAP = 8192
_OVERLAP = 256


class JpegScanner:
    """Finds the JPEG pictures in a stream by their structure.

    Small cameras often send a wrong boundary, wrong headers or wrong lengths of
    `multipart/x-mixed-replace`, which browsers tolerate. The scanner does not rely on them. A
    picture begins with its start marker and ends with its end marker. Its header segments state
    their lengths, so a thumbnail inside a segment is not taken for a picture. A picture that is cut
    short or damaged in its structure is counted and left out, and the scan continues behind it.
    Memory is bounded for any input.

    Args:
        boundary: Boundary from the response header, used to count parts without a picture; empty if
            there is none.
        max_bytes: Maximum size of a picture in bytes.

    Attributes:
        damaged: Number of pictures that were left out, plus the number of parts without a picture.
    """

    def __init__(self, boundary: bytes = b"", *, max_bytes: int = _MAX_BYTES) -> None:
        self.damaged = 0
        self._type = ""
        bare = boundary.strip(b"-")
        self._delimiter = re.compile(b"--" + re.escape(bare)) if bare else None
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._inside = self._scanning = self._sized = False
        self._at = 0
        """Position in the buffer at which the scan continues. Inside a picture, the buffer starts
        with the picture."""
        self._resume = 0
        """Position at which the search for the next picture starts if this picture is damaged."""
        self._gap = bytearray()
        self._picture_parts = self._parts = 0

    @property
    def part_type(self) -> str:
        """Last media type in the header of a part, in lower case; empty before the first."""
        types = _PART_TYPE.findall(self._gap)
        return types[-1].decode().lower() if types else self._type

    def feed(self, data: bytes) -> list[bytes]:
        """Process the next bytes. Return the completed pictures, oldest first."""
        self._buffer += data
        pictures: list[bytes] = []
        while True:
            if not self._inside and not self._find_start():
                return pictures
            picture = self._scan_data() if self._scanning else self._read_segment()
            if picture is None:
                if self._inside and len(self._buffer) > self._max_bytes:
                    self._give_up(self._resume)
                    continue
                return pictures
            if picture:
                pictures.append(picture)

    def _find_start(self) -> bool:
        start = self._buffer.find(_SOI)
        end = start if start >= 0 else max(0, len(self._buffer) - len(_SOI) + 1)
        self._read_gap(self._buffer[:end], over=start >= 0)
        del self._buffer[:end]
        if start < 0:
            return False
        self._inside, self._scanning, self._sized = True, False, False
        self._at = self._resume = 2
        return True

    # The next two methods return a picture, b"" after one more step, or None if they need more
    # bytes.

    def _read_segment(self) -> bytes | None:
        buffer, at = self._buffer, self._at
        while at + 1 < len(buffer) and buffer[at] == 0xFF and buffer[at + 1] == 0xFF:
            at += 1
            if at - self._at > _FILL:
                return self._give_up(at)
        if at < len(buffer) and buffer[at] != 0xFF:
            return self._give_up(self._resume)
        if at + 2 > len(buffer):
            return None
        marker = buffer[at + 1]
        if marker < 0xC0 or 0xD0 <= marker <= _EOI:
            return self._give_up(at if marker == 0xD8 else self._resume)
        if at + 4 > len(buffer):
            return None
        length = int.from_bytes(buffer[at + 2 : at + 4], "big")
        if length < 2:
            return self._give_up(self._resume)
        if marker in _SIZES:
            if at + 9 > len(buffer):
                return None
            pixels = int.from_bytes(buffer[at + 5 : at + 7], "big") * int.from_bytes(buffer[at + 7 : at + 9], "big")
            if length < 8 or self._sized or not 0 < pixels <= _MAX_PIXELS:
                return self._give_up(at + 2)
        if at + 2 + length > len(buffer):
            return None
        self._sized |= marker in _SIZES
        if marker == _SOS and not self._sized:
            return self._give_up(at + 2)
        self._resume = at + 2
        self._at = at + 2 + length
        if marker == _SOS:
            self._scanning = True
            self._resume = self._at
        return b""

    def _scan_data(self) -> bytes | None:
        found = _MARKER.search(self._buffer, self._at)
        if found is None:
            self._at = max(self._at, len(self._buffer) - 1)
            return None
        self._at = found.start()
        marker = self._buffer[found.start() + 1]
        if marker == _EOI:
            picture = bytes(self._buffer[: found.end()])
            del self._buffer[: found.end()]
            self._inside = False
            return picture
        if marker not in _BETWEEN_SCANS:
            return self._give_up(found.start() if marker == 0xD8 else self._resume)
        self._scanning = False
        return b""

    def _give_up(self, resume: int) -> bytes:
        """Leave out a damaged picture, and search for the next one from `resume` on."""
        self.damaged += 1
        del self._buffer[:resume]
        self._inside = False
        return b""

    def _read_gap(self, content: bytes | bytearray, *, over: bool) -> None:
        """Scan the bytes between two pictures. Each part except the last lacked a picture."""
        self._gap += content
        if not over and len(self._gap) < _GAP:
            return
        done = len(self._gap) if over else len(self._gap) - _OVERLAP
        self._type = self.part_type
        self._picture_parts += sum(found.start() < done for found in _PICTURE_TYPE.finditer(self._gap))
        if self._delimiter is not None:
            self._parts += sum(found.start() < done for found in self._delimiter.finditer(self._gap))
        del self._gap[:done]
        if over:
            self.damaged += max(0, (self._picture_parts or self._parts) - 1)
            self._picture_parts = self._parts = 0
