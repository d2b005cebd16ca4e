"""Video files: every frame, to the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from maskedge.errors import SourceError
from maskedge.files import native_path
from maskedge.types import Frame, Image

from .base import BaseSource, stamp


class VideoFileSource(BaseSource):
    """A video file. What is readable of a truncated one is given, then the loss is said.

    Args:
        path: The file.

    Raises:
        SourceError: OpenCV cannot read it as a video.
    """

    def __init__(self, path: Path) -> None:
        if path.stat().st_size == 0:
            raise SourceError(f"{path} is empty (0 bytes): copy it again.")
        with native_path(path) as name:
            self._capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
        # A file may open and still hold no picture (sound only, or a header and nothing behind it).
        self._first = self._read() if self._capture.isOpened() else None
        if self._first is None:
            self._capture.release()
            raise SourceError(
                f"{path} is neither a picture nor a video that OpenCV can read: it is another kind of file, or damaged "
                "(a video cut off before its index was written cannot be played)."
            )
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        super().__init__(str(path), video=True, fps=fps if 0 < fps <= 1000 else 30.0, length=count if count > 0 else None)

    def _read(self) -> Image | None:
        ready, image = self._capture.read()
        return np.asarray(image, np.uint8) if ready else None

    def frames(self) -> Iterator[Frame]:
        """Give every frame that can be decoded."""
        index = 0
        image, self._first = self._first, None
        while image is not None and not self._stopping:
            self.captured += 1
            yield stamp(image, index, self.name, index / self.fps)
            index += 1
            image = self._read()
        # Some containers only estimate the count: a few frames less is no loss.
        if self.length is not None and index < self.length - max(3, 0.02 * self.length):
            self.incomplete = True
            self.warnings.append(
                f"{self.name} ended after {index} of {self.length} frames: "
                "the file is truncated or damaged; what is readable was done."
            )

    def close(self) -> None:
        """Close the file."""
        self._capture.release()
