"""Writing of video files from frames with time stamps. They play at the speed of the source."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from maskedge.errors import OutputError
from maskedge.support.files import native_path
from maskedge.support.video_clock import VideoClock
from maskedge.types import Image

from .encoder import FOURCC, PIECE, PieceEncoder
from .matroska import MatroskaFile
from .mp4 import Mp4File

CODECS = {".mp4": FOURCC, ".m4v": FOURCC, ".mov": FOURCC, ".mkv": FOURCC, ".avi": "MJPG"}
_LONGEST_PIECE = 0.8
"""Maximum length of a piece, in seconds. A piece is written to disk when it is complete."""
_LONGEST_REPEAT = 10.0
"""Maximum repetition of a picture in files with a constant rate, in seconds."""
_LEAST_FREE = 8 * 1024 * 1024


class VideoFile(Protocol):
    """A video file open for writing."""

    def write(self, image: Image, moment: float) -> None:
        """Add a frame, which is shown until the next one.

        Args:
            image: uint8 `[H, W, 3]`, BGR. It is scaled to fit into the size of the first frame.
            moment: Time of the frame in seconds, by any clock. If the time does not increase, the
                frame is placed one frame interval after the previous frame.

        Raises:
            OutputError: The frame cannot be written. Earlier frames are readable, and the frame may
                be tried again.
        """
        ...

    def close(self) -> None:
        """Complete the file. May be called repeatedly.

        Raises:
            OutputError: The file cannot be completed. The written frames are readable.
        """
        ...


def open_video_file(path: Path, fps: float) -> VideoFile:
    """Open a video file. Its suffix, one of `CODECS`, selects the container.

    The first frame creates the file.

    MP4, MOV and Matroska store the time of every frame. If the program is killed, all but the last
    second is readable. AVI has a constant rate, so pictures are repeated, and the file is readable
    only after it is closed.

    Args:
        path: The file.
        fps: Approximate number of frames per second.
    """
    if path.suffix.lower() == ".avi" or cv2.CAP_FFMPEG not in cv2.videoio_registry.getWriterBackends():
        return ConstantRateFile(path, fps)
    return TimestampedFile(path, fps)


class TimestampedFile:
    """A file that stores the time of every frame. See `VideoFile` and `open_video_file`.

    Args:
        path: The file.
        fps: Approximate number of frames per second.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._path = path
        self._fps = fps
        self._times = _Times(fps)
        self._size = (0, 0)
        self._file: Mp4File | MatroskaFile | None = None
        self._encoder: PieceEncoder | None = None
        self._starts: list[float] = []
        self._piece: Any = None
        self._count = 0

    def write(self, image: Image, moment: float) -> None:
        """Add a frame."""
        seconds = self._times.next(moment)
        try:
            if self._encoder is None or self._file is None:
                self._size = even_size(image)
                if self._path.suffix.lower() == ".mkv":
                    self._file = MatroskaFile(self._path, self._size, self._fps)
                else:
                    self._file = Mp4File(self._path, self._size)
                self._encoder = PieceEncoder(self._path, self._size, self._fps)
            if self._starts and (len(self._starts) >= PIECE or seconds - self._starts[0] >= _LONGEST_PIECE):
                self._flush(seconds)
            self._encoder.add(fit(image, self._size))
        except OSError as error:
            raise self._failure(error) from error
        self._starts.append(seconds)
        self._times.accept(seconds)

    def close(self) -> None:
        """Complete the file."""
        file, self._file = self._file, None
        if file is None or self._encoder is None:
            return
        failure: OSError | None = None
        try:
            if self._starts:
                self._flush(self._times.end(), file)
        except OSError as error:
            failure = error
        finally:
            self._encoder.close()
            try:
                file.close()
            except OSError as error:
                failure = failure or error
        if failure is not None:
            raise self._failure(failure) from failure

    def _flush(self, end: float, file: Mp4File | MatroskaFile | None = None) -> None:
        file = file or self._file
        if file is None or self._encoder is None:
            return
        # A piece that could not be written is kept. It is not encoded again.
        self._piece = self._piece or self._encoder.take()
        file.add(self._piece, [*self._starts, end])
        self._count += len(self._starts)
        self._piece, self._starts = None, []

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self._path} cannot be written ({error.strerror}): free some space, or choose another output; "
            f"the {self._count} frames before are kept."
        )


class ConstantRateFile:
    """A file with a constant rate, written by OpenCV. A picture is repeated until the next one.

    A gap is shortened to at most ten seconds. OpenCV's writer does not report a full disk, so the
    free space is checked.

    Args:
        path: The file.
        fps: The rate. Some containers claim rates above 120. Such a rate is replaced by the time
            between the first two frames.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._path = path
        self._fps = fps
        self._times = _Times(fps)
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._last: Image | None = None
        self._shift = 0
        self._slots = self._count = 0

    def write(self, image: Image, moment: float) -> None:
        """Add a frame."""
        seconds = self._times.next(moment)
        if self._count % 30 == 0 and shutil.disk_usage(self._path.parent).free < _LEAST_FREE:
            raise OutputError(f"the disk of {self._path} is full: free some space; the {self._count} frames before are kept.")
        if self._last is None:
            self._size = even_size(image)
        else:
            if self._writer is None:
                self._open(seconds)
            slot = max(self._slots + 1, round(seconds * self._fps) - self._shift)
            excess = max(0, slot - self._slots - max(1, round(_LONGEST_REPEAT * self._fps)))
            self._shift += excess
            self._put(slot - excess)
        self._last = fit(image, self._size)
        self._count += 1
        self._times.accept(seconds)

    def close(self) -> None:
        """Complete the file."""
        if self._last is not None:
            if self._writer is None:
                self._open(1 / self._fps)
            self._put(self._slots + 1)
            self._last = None
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def _open(self, interval: float) -> None:
        if self._fps > 120:
            self._fps = min(1000.0, max(1.0, round(1 / interval, 3)))
        fourcc = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
        with native_path(self._path) as name:
            self._writer = cv2.VideoWriter(name, fourcc, self._fps, self._size)
        if not self._writer.isOpened():
            raise OutputError(f"{self._path} cannot be written: OpenCV has no encoder for it here; try .avi.")

    def _put(self, slot: int) -> None:
        """Repeat the last picture up to a slot."""
        if self._writer is not None and self._last is not None:
            while self._slots < slot:
                self._writer.write(self._last)
                self._slots += 1


class _Times:
    """The times of the frames of a video file, from 0."""

    def __init__(self, fps: float) -> None:
        self._step = 1 / fps
        self._clock = VideoClock(fps)
        self._first: float | None = None
        self._waiting: tuple[float, float] | None = None
        self._last = 0.0

    def next(self, moment: float) -> float:
        """Return the time of the frame at `moment`.

        It does not change if the frame is tried again.
        """
        if self._first is None:
            self._first = moment
        if self._waiting is None or self._waiting[0] != moment:
            self._waiting = moment, self._clock(moment - self._first)
        return self._waiting[1]

    def accept(self, seconds: float) -> None:
        """Record that the frame was written."""
        if seconds > self._last:
            self._step = seconds - self._last
        self._last, self._waiting = seconds, None

    def end(self) -> float:
        """Return the end of the last frame.

        It lasts as long as the one before, at most a second.
        """
        return self._last + min(self._step, 1.0)


def even_size(image: Image) -> tuple[int, int]:
    """Return width and height of `image`, rounded up to even numbers as encoders require."""
    return image.shape[1] + image.shape[1] % 2, image.shape[0] + image.shape[0] % 2


def fit(image: Image, size: tuple[int, int]) -> Image:
    """Return `image` scaled to fit into `size` (width, height) and centred on black.

    uint8 `[H, W, 3]`.
    """
    width, height = size
    if image.shape[:2] == (height, width):
        return image
    scale = min(width / image.shape[1], height / image.shape[0])
    # An odd side is padded to the even size, not scaled.
    if image.shape[1] + 1 >= width >= image.shape[1] and image.shape[0] + 1 >= height >= image.shape[0]:
        scale = 1.0
    inner = (max(1, min(width, round(image.shape[1] * scale))), max(1, min(height, round(image.shape[0] * scale))))
    scaled = cv2.resize(image, inner, interpolation=cv2.INTER_AREA) if scale != 1 else image
    canvas = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = scaled
    return canvas
