"""Claims of video containers, read without decoding a picture.

OpenCV reports a number of frames that may be counted or estimated. `Claims` contains only exact
values.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from maskedge.support.iso_media import MAX_BOXES, Box, content, find, walk

_INDEX = 256 << 20
"""Maximum size of an AVI index that is read, in bytes."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Claims of a container.

    A value is None if the container does not state it or only estimates it.

    Attributes:
        size: Width and height of the picture.
        cut: True if the file is shorter than the container claims, or not intact up to its end.
        last: Time in the video, in seconds, at which the last frame begins.
        frames: Number of pictures.
    """

    size: tuple[int, int] | None = None
    cut: bool = False
    last: float | None = None
    frames: int | None = None


def read_claims(path: Path) -> Claims:
    """Read the claims of an MP4, MOV, Matroska, WebM or AVI file, or of an animated PNG or GIF.

    For other formats and damaged containers, the claims are empty.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        length = file.seek(0, 2)
        file.seek(0)
        head = file.read(24)
        try:
            if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
                return _read_mp4(file, length)
            if head[:4] == b"\x1a\x45\xdf\xa3":
                return _read_matroska(file, length)
            if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
                return _read_avi(file, length)
            # For a large animation, FFmpeg allocates gigabytes before it reports the size.
            if head[:8] == b"\x89PNG\r\n\x1a\n":
                return Claims(size=struct.unpack(">II", head[16:24]))
            if head[:4] == b"GIF8":
                return Claims(size=struct.unpack("<HH", head[6:10]))
        except (struct.error, ArithmeticError, IndexError, ValueError):
            pass  # the container is damaged; only decoding shows the content
    return Claims()


# MP4 and MOV.


def _read_mp4(file: BinaryIO, length: int) -> Claims:
    claims = Claims()
    for box in walk(file, 0, length):
        if box.end > length and box.kind in (b"mdat", b"moov", b"moof"):
            claims = replace(claims, cut=True)
        if box.kind == b"moov":
            claims = _read_movie(file, Box(box.kind, box.start, min(box.end, length)), claims)
    return claims


def _read_movie(file: BinaryIO, movie: Box, claims: Claims) -> Claims:
    scale = 0
    for header in find(file, movie.start, movie.end, b"mvhd"):
        data = content(file, header, 40)
        scale = int.from_bytes(data[20:24] if data[0] else data[12:16], "big")
    fragmented = any(True for _ in find(file, movie.start, movie.end, b"mvex"))
    for track in find(file, movie.start, movie.end, b"trak"):
        handler = next(find(file, track.start, track.end, b"mdia", b"hdlr"), None)
        if handler is None or content(file, handler, 12)[8:] != b"vide":
            continue
        for entries in find(file, track.start, track.end, b"mdia", b"minf", b"stbl", b"stsd"):
            data = content(file, entries, 64)
            if len(data) >= 44:
                claims = replace(claims, size=struct.unpack(">HH", data[40:44]))
        if not fragmented:
            claims = replace(claims, last=_last_moment(file, track, scale))
        break
    return claims


def _last_moment(file: BinaryIO, track: Box, movie_scale: int) -> float | None:
    """Return the time of the last frame of a track that its edit list shows."""
    header = next(find(file, track.start, track.end, b"mdia", b"mdhd"), None)
    times = next(find(file, track.start, track.end, b"mdia", b"minf", b"stbl", b"stts"), None)
    if header is None or times is None:
        return None
    data = content(file, header, 40)
    scale, duration = struct.unpack(">IQ", data[20:32]) if data[0] else struct.unpack(">II", data[12:20])
    if not scale > 0 or not 0 < duration < 1 << 62 or times.end - times.start < 16:
        return None
    file.seek(times.end - 8)
    shown, delta = duration / scale, struct.unpack(">II", file.read(8))[1] / scale
    for edits in find(file, track.start, track.end, b"edts", b"elst"):
        listed = _edited(content(file, edits), movie_scale)
        if listed is None:
            return None
        shown = min(shown, listed or shown)
    return max(0.0, float(shown - delta))


def _edited(data: bytes, scale: int) -> float | None:
    """Return the number of seconds that an edit list shows.

    0 means the duration of the track. None means that the list does more than cut.
    """
    layout = struct.Struct(">QqI" if data[0] else ">IiI")
    count = int.from_bytes(data[4:8], "big")
    if not scale or count > (len(data) - 8) // layout.size:
        return None
    total, shown = 0, 0
    for number in range(count):
        duration, begin, rate = layout.unpack_from(data, 8 + number * layout.size)
        if begin < 0:
            continue  # an empty edit delays the track
        total, shown = total + duration, shown + 1
        if rate != 0x10000:
            return None
    return total / scale if shown <= 1 else None


# Matroska and WebM.

_SEGMENT, _TRACKS, _TRACK, _VIDEO, _WIDTH, _HEIGHT = 0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0xB0, 0xBA


def _read_matroska(file: BinaryIO, length: int) -> Claims:
    for kind, start, end in _elements(file, 0, length):
        if kind == _SEGMENT:
            size = None
            reached: int | None = start
            for inner, begin, reached in _elements(file, start, min(end or length, length)):
                if inner == _TRACKS and size is None:
                    size = _picture_size(file, begin, min(reached or length, length))
            # A file that a live recorder has not closed has an unknown end.
            return Claims(size, cut=end is not None and reached is not None and (end > length or reached < end))
    return Claims()


def _elements(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, int | None]]:
    """Yield identifier, start and end of each element between two offsets.

    The end is None if the writer did not know it.
    """
    for _ in range(MAX_BOXES):
        file.seek(start)
        head = file.read(24)
        if start >= end or len(head) < 2 or not head[0]:
            return
        width = 9 - head[0].bit_length()
        if width > 4 or len(head) <= width or not head[width]:
            return
        bits = 9 - head[width].bit_length()
        if len(head) < width + bits:
            return
        size = int.from_bytes(head[width : width + bits], "big") & (1 << 7 * bits) - 1
        begin = start + width + bits
        known = size != (1 << 7 * bits) - 1
        yield int.from_bytes(head[:width], "big"), begin, begin + size if known else None
        if not known:
            return
        start = begin + size


def _picture_size(file: BinaryIO, start: int, end: int) -> tuple[int, int] | None:
    for kind, begin, stop in _elements(file, start, end):
        for inner, first, last in _elements(file, begin, min(stop or end, end)) if kind == _TRACK else ():
            if inner != _VIDEO:
                continue
            sides = {}
            for side, left, right in _elements(file, first, min(last or end, end)):
                if side in (_WIDTH, _HEIGHT) and right is not None and right - left <= 8:
                    file.seek(left)
                    sides[side] = int.from_bytes(file.read(right - left), "big")
            if len(sides) == 2:
                return sides[_WIDTH], sides[_HEIGHT]
    return None


# AVI.


def _read_avi(file: BinaryIO, length: int) -> Claims:
    claims, start, parts = Claims(), 0, 0
    while length - start >= 12:
        file.seek(start)
        kind, size, form = struct.unpack("<4sI4s", file.read(12))
        if kind != b"RIFF" or form not in (b"AVI ", b"AVIX"):
            break
        end = start + 8 + size
        claims = replace(claims, cut=claims.cut or end > length)
        if start == 0:
            claims = _read_first_part(file, 12, min(end, length), claims)
        parts += 1
        start = end + end % 2
    # A file of several parts has further indices in the other parts.
    return claims if parts == 1 else replace(claims, frames=None)


def _chunks(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    for _ in range(10_000):
        if end - start < 8:
            return
        file.seek(start)
        kind, size = struct.unpack("<4sI", file.read(8))
        yield kind, start + 8, start + 8 + size
        if not any(kind):
            return
        start += 8 + size + size % 2


def _read_first_part(file: BinaryIO, start: int, end: int, claims: Claims) -> Claims:
    stream, promised, torn = None, False, False
    for kind, begin, stop in _chunks(file, start, end):
        file.seek(begin)
        form = file.read(4)
        torn = torn or not any(kind)
        if kind == b"LIST" and form == b"hdrl":
            file.seek(begin + 4 + 8 + 12)
            promised = bool(file.read(1)[0] & 0x10)
            stream, size = _video_stream(file, begin + 4, min(stop, end))
            claims = replace(claims, size=size)
        elif kind == b"idx1" and stream is not None and stop <= end:
            file.seek(begin)
            data = file.read(min(stop - begin, _INDEX))
            index = np.frombuffer(data[: len(data) // 16 * 16], np.dtype([("id", "S2"), ("kind", "S2"), ("rest", "<u4", 3)]))
            # A chunk without content repeats the previous picture.
            pictures = (index["id"] == b"%02d" % stream) & np.isin(index["kind"], (b"dc", b"db")) & (index["rest"][:, 2] > 0)
            claims = replace(claims, frames=int(pictures.sum()))
    # If zeros stand in the place of the index, the end of the file was never written.
    return replace(claims, cut=claims.cut or (torn and promised and claims.frames is None))


def _video_stream(file: BinaryIO, start: int, end: int) -> tuple[int | None, tuple[int, int] | None]:
    """Return the number of the first video stream and the size of its picture."""
    number = -1
    for kind, begin, stop in _chunks(file, start, end):
        file.seek(begin)
        if kind != b"LIST" or file.read(4) != b"strl":
            continue
        number += 1
        chunks = {inner: (left, right) for inner, left, right in _chunks(file, begin + 4, min(stop, end))}
        if b"strh" not in chunks or b"strf" not in chunks:
            continue
        file.seek(chunks[b"strh"][0])
        if file.read(4) != b"vids":
            continue
        file.seek(chunks[b"strf"][0] + 4)
        width, height = struct.unpack("<ii", file.read(8))
        return number, (abs(width), abs(height))
    return None, None


# Animations.


def is_animated(path: Path) -> bool:
    """Return True for a GIF, PNG or WebP file with several pictures.

    Return False for a file that cannot be read.
    """
    try:
        with path.open("rb") as file:
            length = file.seek(0, 2)
            file.seek(0)
            head = file.read(32)
            if head.startswith((b"GIF87a", b"GIF89a")):
                return _several_in_gif(file)
            if head.startswith(b"\x89PNG\r\n\x1a\n"):
                return _several_in_png(file, length)
    except (OSError, struct.error, IndexError):
        return False
    return _is_moving_webp(head)


def is_animated_webp(path: Path) -> bool:
    """Return True for a WebP file that claims to be animated.

    Return False for a file that cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _is_moving_webp(file.read(32))
    except OSError:
        return False


def _is_moving_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) == 32 and bool(head[20] & 2)


def _several_in_gif(file: BinaryIO) -> bool:
    file.seek(10)
    flags = file.read(3)[0]
    file.seek(13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0))
    pictures = 0
    while (kind := file.read(1)) in (b"!", b","):
        if kind == b"!":
            file.seek(1, 1)
        else:
            pictures += 1
            if pictures == 2:
                return True
            flags = file.read(9)[8]
            file.seek(1 + (3 << (flags & 7) + 1 if flags & 0x80 else 0), 1)
        while size := file.read(1)[0]:
            file.seek(size, 1)
    return False


def _several_in_png(file: BinaryIO, length: int) -> bool:
    start = 8
    while length - start >= 12:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"acTL":
            return int.from_bytes(file.read(4), "big") > 1
        if kind == b"IDAT":
            return False
        start += 12 + size
    return False
