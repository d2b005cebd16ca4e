"""Writing of video files from frames with time stamps. They play at the speed of the source."""

from __future__ import annotations

import errno
import resource
import shutil
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from maskedge.errors import OutputError
from maskedge.support.files import native_path
from maskedge.support.text import displayable
from maskedge.support.video_clock import VideoClock
from maskedge.types import Image

from .avi import count_frames, is_complete
from .beside import Beside
from .encoder import FOURCC, PIECE, PieceEncoder, check_size, no_encoder
from .matroska import MatroskaFile
from .mp4 import Mp4File

CODECS = {".mp4": FOURCC, ".m4v": FOURCC, ".mov": FOURCC, ".mkv": FOURCC, ".avi": "MJPG"}
_LONGEST_PIECE = 0.8
"""Maximum length of a piece, in seconds. A piece is written to disk when it is complete."""
_LONGEST_REPEAT = 10.0
"""Maximum repetition of a picture in files with a constant rate, in seconds."""
_LEAST_FREE = 8 * 1024 * 1024
_LONGEST_PAUSE = 3000
"""Number of pictures after which an AVI file must have grown. OpenCV writes 256 KiB at once, and a picture has over 150 bytes."""
_NO_SPACE = "free some space, or choose another output"
_TOO_LARGE = "raise the limit of the size of files (ulimit -f), or choose another output"
_REMOVED = "leave the file and its folder in place until the run ends"
_TOO_MANY = "raise the limit of open files (ulimit -n)"
_REMEDIES = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.ENOENT: _REMOVED,
    errno.EFBIG: _TOO_LARGE,
    errno.EMFILE: _TOO_MANY,
    errno.ENFILE: _TOO_MANY,
}


class VideoFile(Protocol):
    """A video file open for writing."""

    @property
    def kept(self) -> int:
        """Number of frames that are in the file. With a constant rate, repeated pictures count."""
        ...

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

    The file is created, or replaced if it exists, when the first frames are in it.

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

    @property
    def kept(self) -> int:
        """Number of frames that are in the file."""
        return self._count

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
            raise self._failed(error) from error
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
            raise self._failed(failure) from failure

    def _failed(self, error: OSError) -> OutputError:
        if isinstance(error, FileNotFoundError):
            self._count = 0
        return _failure(self._path, error, self._count)

    def _flush(self, end: float, file: Mp4File | MatroskaFile | None = None) -> None:
        file = file or self._file
        if file is None or self._encoder is None:
            return
        # A piece that could not be written is kept. It is not encoded again.
        self._piece = self._piece or self._encoder.take()
        file.add(self._piece, [*self._starts, end])
        self._count += len(self._starts)
        self._piece, self._starts = None, []


class ConstantRateFile:
    """A file with a constant rate, written by OpenCV. A picture is repeated until the next one.

    A gap is shortened to at most ten seconds. OpenCV's writer reports no error. Therefore the free
    space and the size of the file are checked before each picture, and the file at the end.

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
        self._beside: Beside | None = None
        self._size = (0, 0)
        self._last: Image | None = None
        self._shift = 0
        self._slots = self._count = 0
        self._bytes = self._grown = 0
        self._found: int | None = None

    @property
    def kept(self) -> int:
        """Number of frames that are in the file. Repeated pictures count."""
        return self._slots if self._found is None else self._found

    def write(self, image: Image, moment: float) -> None:
        """Add a frame."""
        seconds = self._times.next(moment)
        try:
            self._check_space(image)
            if self._last is None:
                self._size = even_size(image)
            else:
                if self._writer is None:
                    self._open(seconds)
                slot = max(self._slots + 1, round(seconds * self._fps) - self._shift)
                excess = max(0, slot - self._slots - max(1, round(_LONGEST_REPEAT * self._fps)))
                self._shift += excess
                self._put(slot - excess)
        except OSError as error:
            raise self._failed(error, self._count) from error
        self._last = fit(image, self._size)
        self._count += 1
        self._times.accept(seconds)

    def close(self) -> None:
        """Complete the file."""
        last, self._last = self._last, None
        try:
            if last is not None:
                if self._writer is None:
                    self._open(1 / self._fps)
                if self._writer is not None:
                    self._writer.write(last)
                    self._slots += 1
            if self._writer is not None:
                self._writer.release()
                self._writer = None
                self._finish()
        except OSError as error:
            raise self._failed(error, self.kept) from error

    def _failed(self, error: OSError, kept: int) -> OutputError:
        if isinstance(error, FileNotFoundError):
            self._found = kept = 0
        return _failure(self._path, error, kept)

    def _open(self, interval: float) -> None:
        if self._fps > 120:
            self._fps = min(1000.0, max(1.0, round(1 / interval, 3)))
        codec = CODECS[self._path.suffix.lower()]
        check_size(self._path, self._size, codec)
        beside = Beside(self._path)
        try:
            with native_path(beside.path) as name:
                writer = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*codec), self._fps, self._size)
            if not writer.isOpened():
                raise no_encoder(self._path)
        except (OutputError, OSError):
            beside.discard()
            raise
        self._writer, self._beside = writer, beside

    def _put(self, slot: int) -> None:
        """Repeat the last picture up to a slot."""
        if self._writer is not None and self._last is not None:
            while self._slots < slot:
                self._check_space(self._last)
                self._check_growth()
                self._writer.write(self._last)
                self._slots += 1

    def _check_space(self, image: Image) -> None:
        # An encoded picture has less than half the bytes of the picture.
        least = _LEAST_FREE + image.nbytes // 2
        if shutil.disk_usage(self._path.parent).free < least:
            name = displayable(self._path)
            raise OutputError(
                f"the disk of {name} is full (under {least / 2**20:.0f} MB are free): free some space{_frames_before(self._count)}."
            )

    def _check_growth(self) -> None:
        """Refuse to go on with an AVI file whose end was not written. Rename it when a frame is in it."""
        beside = self._beside
        if beside is None or self._path.suffix.lower() != ".avi" or not beside.path.is_file():
            return
        size = beside.path.stat().st_size
        if size > self._bytes:
            self._bytes, self._grown = size, self._slots
            if not beside.in_place and count_frames(beside.path, 1):
                beside.rename()
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if 0 <= limit <= size:
            raise self._loss(count_frames(beside.path), _TOO_LARGE)
        if self._slots - self._grown > _LONGEST_PAUSE:
            raise self._loss(count_frames(beside.path), _NO_SPACE)

    def _finish(self) -> None:
        """Check what is in the file, and give it its name."""
        beside, self._beside = self._beside, None
        if beside is None or (beside.path.exists() and not beside.path.is_file()):
            return
        if self._path.suffix.lower() == ".avi":
            self._found = self._slots if is_complete(beside.path, self._slots) else count_frames(beside.path)
        else:
            self._found = self._slots if _is_readable(beside.path) else 0
        if self._found:
            try:
                beside.complete()
            except OSError as error:
                name = displayable(self._path)
                raise OutputError(
                    f"{name} cannot be replaced ({error.strerror}): the video is kept as {displayable(beside.path)}."
                ) from error
        beside.discard()
        if self._found < self._slots:
            raise self._loss(self._found, _NO_SPACE)

    def _loss(self, found: int, remedy: str) -> OutputError:
        """Return the error for a file that has fewer frames than were written."""
        amount = f"only {found} of {self._slots} frames" if found else "no frame"
        return OutputError(f"{amount} could be written to {displayable(self._path)}: {remedy}.")


def _is_readable(path: Path) -> bool:
    with native_path(path) as name:
        return cv2.VideoCapture(name).read()[0]


def _failure(path: Path, error: OSError, count: int) -> OutputError:
    """Return the error for the user.

    Args:
        path: The file.
        error: Why it cannot be written.
        count: Number of frames that are in it.
    """
    remedy = _REMEDIES.get(error.errno or 0, "check the permissions, or choose another output")
    return OutputError(f"{displayable(path)} cannot be written ({error.strerror}): {remedy}{_frames_before(count)}.")


def _frames_before(count: int) -> str:
    return "" if not count else "; the frame before is kept" if count == 1 else f"; the {count} frames before are kept"


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
