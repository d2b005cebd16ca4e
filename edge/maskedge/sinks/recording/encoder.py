"""Encoding of MPEG-4 video in pieces of a fraction of a second.

OpenCV's writer leaves an MP4 file unreadable until the file is closed, and has a constant rate. In
this package it encodes only the pieces. `maskedge.sinks.recording.mp4` and `.matroska` write each
piece to the file at once.
"""

from __future__ import annotations

import errno
import io
import os
import resource
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2

from maskedge.errors import OutputError
from maskedge.support.iso_media import content, find
from maskedge.support.text import displayable
from maskedge.types import Image

FOURCC = "mp4v"
PIECE = 12
"""Number of frames of a piece, equal to the key frame interval of OpenCV's encoder."""
LONGEST_SIDES = {FOURCC: 8190, "MJPG": 32768}
"""Maximum width and height of pictures in pixels, by codec. OpenCV crashes on some larger ones."""


@dataclass(frozen=True)
class Piece:
    """Consecutive encoded frames. The first one is a key frame.

    Attributes:
        samples: The data of each frame.
        keys: True for each key frame.
        entry: Sample entry of an MP4 file (content of its `stsd` box). It contains the decoder
            configuration.
    """

    samples: list[bytes]
    keys: list[bool]
    entry: bytes


class PieceEncoder:
    """Encodes frames into pieces.

    Args:
        path: The destination, for error messages.
        size: Width and height of the frames, both even.
        fps: Approximate number of frames per second, for the bit rate.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self._path = path
        self._size = size
        # The encoder requires a rate that is a fraction of 16-bit numbers. The time stamps are in
        # the container.
        self._fps = float(min(120, max(1, round(fps))))
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        # The file is in memory if possible, so that a killed program leaves no pictures behind.
        memory = hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir()
        self._memory = os.memfd_create("maskedge") if memory else -1
        self._writer: cv2.VideoWriter | None = None
        self.count = 0

    def add(self, image: Image) -> None:
        """Encode a frame: uint8 `[H, W, 3]` BGR.

        Raises:
            OutputError: OpenCV has no encoder, or the frame is too large for it.
            OSError: There is no space for a temporary file, or too many files are open.
        """
        if self._writer is None:
            self._writer = self._open()
        self._writer.write(image)
        self.count += 1

    def take(self) -> Piece:
        """Return the frames encoded since the last call.

        Raises:
            OutputError: The encoder dropped frames.
            OSError: A piece is larger than the limit of the size of files.
        """
        if self._writer is not None:
            self._writer.release()
            self._writer = None
        data = self._data()
        if 0 <= resource.getrlimit(resource.RLIMIT_FSIZE)[0] <= len(data):
            # The limit holds in memory, too, and OpenCV reports no error.
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        piece = _read_piece(data)
        if piece is None or len(piece.samples) != self.count:
            raise OutputError(f"{displayable(self._path)} cannot be written: OpenCV's encoder left frames out; try .avi.")
        self.count = 0
        return piece

    def close(self) -> None:
        """Release the encoder and its memory."""
        self._writer = None
        if self._folder is not None:
            self._folder.cleanup()
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1

    def _open(self) -> cv2.VideoWriter:
        check_size(self._path, self._size, FOURCC)
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="maskedge-")
        part = Path(self._folder.name) / "part.mp4"
        if self._memory >= 0:
            # FFmpeg needs a name with a suffix. The name is a link that is removed when the file is
            # open.
            part.symlink_to(f"/proc/self/fd/{self._memory}")
        writer = cv2.VideoWriter(str(part), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*FOURCC), self._fps, self._size)
        if self._memory >= 0:
            self._folder.cleanup()
            self._folder = None
        if not writer.isOpened():
            raise no_encoder(self._path)
        return writer

    def _data(self) -> bytes:
        if self._memory >= 0:
            return os.pread(self._memory, os.fstat(self._memory).st_size, 0)
        return (Path(self._folder.name) / "part.mp4").read_bytes() if self._folder is not None else b""


def check_size(path: Path, size: tuple[int, int], codec: str) -> None:
    """Refuse pictures that are too large for an encoder.

    Args:
        path: The destination, for the message.
        size: Width and height of the pictures.
        codec: A key of `LONGEST_SIDES`.

    Raises:
        OutputError: A side is too long.
    """
    longest = LONGEST_SIDES[codec]
    if max(size) > longest:
        remedy = "name an .avi file" if max(size) <= LONGEST_SIDES["MJPG"] else "make the pictures of the source smaller"
        raise OutputError(
            f"{displayable(path)} cannot be written: its pictures have {size[0]} x {size[1]} pixels, and a side has at most "
            f"{longest} in {'an .avi' if codec == 'MJPG' else 'this kind of'} file: {remedy}."
        )


def no_encoder(path: Path) -> OutputError:
    """Return the error for an encoder that OpenCV could not open.

    Raises:
        OSError: The cause is that no more files can be opened.
    """
    # OpenCV does not tell the cause.
    os.close(os.open(os.devnull, os.O_RDONLY))
    remedy = "use the OpenCV of PyPI (pip install opencv-python)" if path.suffix.lower() == ".avi" else "try .avi"
    return OutputError(f"{displayable(path)} cannot be written: OpenCV has no encoder for it here; {remedy}.")


def _read_piece(data: bytes) -> Piece | None:
    """Parse an MP4 file with one track. Return None if it differs from OpenCV's files."""
    file = io.BytesIO(data)

    def table(kind: bytes) -> bytes:
        box = next(find(file, 0, len(data), b"moov", b"trak", b"mdia", b"minf", b"stbl", kind), None)
        return content(file, box) if box is not None else b""

    entry, sizes, offsets, keys = table(b"stsd"), table(b"stsz"), table(b"stco"), table(b"stss")
    try:
        fixed, count = struct.unpack(">II", sizes[4:12])
        lengths = [fixed] * count if fixed else list(struct.unpack(f">{count}I", sizes[12 : 12 + 4 * count]))
        start = struct.unpack(">I", offsets[8:12])[0]
        first = set(struct.unpack(f">{(len(keys) - 8) // 4}I", keys[8:])) if keys else set(range(1, count + 1))
    except struct.error:
        return None
    samples = []
    for length in lengths:
        samples.append(data[start : start + length])
        start += length
    if start > len(data) or 1 not in first:
        return None
    return Piece(samples, [number in first for number in range(1, count + 1)], entry)
