"""Animated WebP files. OpenCV decodes them itself, because FFmpeg does not."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from maskedge.errors import SourceError
from maskedge.sources.base import BaseSource, stamp
from maskedge.sources.kinds import RecordedKind
from maskedge.support.files import is_file
from maskedge.types import Frame

from .containers import is_animated_webp
from .paths import to_path

MAX_BYTES = 128_000_000
"""Maximum size of all pictures together, in bytes at four bytes per pixel. All pictures are decoded
at once."""
_CONVERT = "convert it to a video (.mp4), or to an animated GIF or PNG."


class AnimationSource(BaseSource):
    """An animated WebP file, played as a video.

    Args:
        path: The file.

    Raises:
        SourceError: The file is too large or damaged, or this OpenCV cannot decode it.
    """

    def __init__(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SourceError(f"{path} cannot be read ({error.strerror}): check its permissions and its disk.") from error
        width, height, count = _measure(content)
        if width * height * 4 * max(1, count) > MAX_BYTES:
            raise SourceError(f"{path} is an animation of {count} pictures of {width} x {height}, which is too large: {_CONVERT}")
        if not hasattr(cv2, "imdecodeanimation"):
            raise SourceError(f"{path} is an animated WebP file, which needs OpenCV 4.11 or later: {_CONVERT}")
        try:
            _, animation = cv2.imdecodeanimation(np.frombuffer(content, np.uint8).reshape(1, -1))
        except cv2.error as error:
            raise SourceError(f"{path} is a damaged animated WebP file: {_CONVERT}") from error
        if not animation.frames:
            raise SourceError(f"{path} is a damaged animated WebP file: {_CONVERT}")
        self._images = [np.asarray(image[:, :, :3], np.uint8).copy() for image in animation.frames]
        # As in browsers, a picture without a duration is shown for a tenth of a second.
        lengths = [int(length) if length > 10 else 100 for length in np.ravel(animation.durations)]
        lengths += [100] * (len(self._images) - len(lengths))
        self._moments = np.cumsum([0, *lengths]) / 1000
        super().__init__(str(path), video=True, fps=len(self._images) / float(self._moments[-1]), length=len(self._images))
        if len(self._images) < count:
            self.incomplete = True
            self.warnings.append(f"{path} ended after {len(self._images)} of {count} frames: the file is truncated or damaged.")

    def frames(self) -> Iterator[Frame]:
        """Yield every picture."""
        for index, image in enumerate(self._images):
            if self._stopping:
                return
            self.captured += 1
            yield stamp(image, index, self.name, float(self._moments[index]))


def _measure(content: bytes) -> tuple[int, int, int]:
    """Return width, height and number of pictures of an animated WebP file, from its chunks."""
    width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
    start, count = 12, 0
    while start + 8 <= len(content):
        kind, size = struct.unpack_from("<4sI", content, start)
        count += kind == b"ANMF"
        start += 8 + size + size % 2
    return width, height, count


def _matches(uri: str) -> bool:
    path = to_path(uri)
    return is_file(path) and is_animated_webp(path)


KIND = RecordedKind(_matches, lambda uri: AnimationSource(to_path(uri)))
