"""Video files, of which every frame is read with its time in the video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from maskedge.errors import SourceError
from maskedge.sources.base import BaseSource, stamp
from maskedge.sources.kinds import RecordedKind
from maskedge.support.files import is_file, native_path
from maskedge.support.video_clock import VideoClock
from maskedge.types import Frame, Image

from .containers import Claims, is_animated, read_claims
from .paths import to_path

MAX_PIXELS = 4096 * 4096
"""Maximum number of pixels of a frame. A decoder holds several frames at once. Frames of twice this
size would take half a gigabyte."""
_RECORDINGS = (".mjpeg", ".mjpg")
_DAMAGED = 300
"""Maximum number of consecutive failed reads before the video counts as ended. Each failure is a
piece that cannot be decoded."""
_HIDDEN = 16
"""Maximum number of consecutive failed reads before the first frame. A video that was cut out of
another begins with frames that refer to frames before the cut."""


def holds_video(path: Path) -> bool:
    """Return True for a video that begins like a picture.

    This is an animation or, judged by its suffix, a recording of consecutive JPEGs.
    """
    return path.suffix.lower() in _RECORDINGS or is_animated(path)


class VideoFileSource(BaseSource):
    """A video file. If it is damaged, the decodable frames are yielded, and a warning follows.

    The `moment` of a frame is its time in the video by `VideoClock`. `length` is the number of
    frames that OpenCV reports. It is often an estimate and used for display only. Missing frames
    are detected with `read_claims`.

    Args:
        path: The file.

    Raises:
        SourceError: OpenCV cannot read the file as a video, or its frames have more than
            `MAX_PIXELS`.
    """

    def __init__(self, path: Path) -> None:
        try:
            if path.stat().st_size == 0:
                raise SourceError(f"{path} is empty (0 bytes): copy it again.")
            self._claims = read_claims(path)
        except OSError as error:
            raise SourceError(f"{path} cannot be read ({error.strerror}): check its permissions and its disk.") from error
        check_size(path, self._claims.size)
        with native_path(path) as name:
            self._capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
        self._damaged = 0
        fps = 30.0
        first = None
        if self._capture.isOpened():
            width, height = (self._capture.get(key) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
            try:
                check_size(path, (int(width), int(height)))
            except SourceError:
                self._capture.release()
                raise
            claimed = self._capture.get(cv2.CAP_PROP_FPS)
            fps = claimed if 0 < claimed <= 1000 else fps
            self._clock = VideoClock(fps)
            # A file may open without a picture, if it contains only sound or only a header.
            first = self._read(_HIDDEN)
        if first is None:
            self._capture.release()
            raise SourceError(
                f"{path} is neither a picture nor a video that OpenCV can read: it may be of another kind, damaged or incomplete "
                "(a video cut off before its index was written cannot be played)."
            )
        self._first: tuple[Image, float] | None = first
        self._damaged = 0
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        super().__init__(str(path), video=True, fps=fps, length=int(count) if 0 < count < 1e9 else None)

    def _read(self, max_failures: int) -> tuple[Image, float] | None:
        """Decode the next frame and return it with its time, or None at the end."""
        for failed in range(max_failures):
            try:
                image = self._capture.retrieve()[1] if self._capture.grab() else None
            except (cv2.error, MemoryError):
                image = None
            if image is not None and image.size:
                self._damaged += failed
                if image.ndim == 2 or image.shape[2] == 1:
                    image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
                moment = self._clock(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
                return np.asarray(image, np.uint8), moment
        return None

    def frames(self) -> Iterator[Frame]:
        """Yield every frame that can be decoded."""
        index, moment = 0, 0.0
        following, self._first = self._first, None
        while following is not None:
            if self._stopping:
                return
            image, moment = following
            self.captured += 1
            yield stamp(image, index, self.name, moment)
            index += 1
            following = self._read(_DAMAGED)
        self._check_complete(index, moment)

    def _check_complete(self, given: int, last: float) -> None:
        """Warn about a video that is cut off, ends early, or has damaged pieces."""
        claims = self._claims
        if _is_short(claims, given, last, self.fps) or (claims.cut and self._damaged):
            of = f" of {claims.frames}" if claims.frames is not None else ""
            at = f", at {last:.1f} s of {claims.last:.1f} s" if claims.last is not None else ""
            self.warnings.append(
                f"{self.name} ended after {given}{of} frames{at}: the file is truncated or damaged; "
                "all readable frames were processed."
            )
        elif self._damaged:
            pieces = f"{self._damaged} piece{'s' if self._damaged > 1 else ''}"
            self.warnings.append(
                f"{self.name} is damaged: {pieces} of it could not be decoded; the other {given} frames were processed."
            )
        else:
            return
        self.incomplete = True

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


def _is_short(claims: Claims, given: int, last: float, fps: float) -> bool:
    """Return True if frames are missing at the end of a video.

    `given` frames were decoded, the last one at `last` seconds.
    """
    step = 1 / fps
    if claims.last is not None:
        # In a file that is cut off, every frame counts. In an intact file, a few frames may be
        # hidden on purpose or unfinished.
        return claims.last - last > (0.5 * step if claims.cut else max(3 * step, 0.02 * claims.last))
    if claims.frames is not None:
        return given < claims.frames - (0 if claims.cut else max(3, 0.02 * claims.frames))
    return claims.cut


def check_size(path: Path, size: tuple[int, int] | None) -> None:
    """Check that frames fit into memory.

    Raises:
        SourceError: A frame has more than `MAX_PIXELS`.
    """
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise SourceError(
            f"{path} has frames of {size[0]} x {size[1]} pixels, and the maximum is {MAX_PIXELS / 1e6:.1f} million: "
            "make it smaller (ffmpeg -i FILE -vf scale=1920:-2 SMALLER.mp4)."
        )


KIND = RecordedKind(lambda uri: is_file(to_path(uri)), lambda uri: VideoFileSource(to_path(uri)))
