"""An annotated video."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from maskedge.errors import OutputError
from maskedge.files import native_path
from maskedge.happenings import Happening
from maskedge.types import Image

from .base import Answer, Sink, check_writable
from .images import ImageSink

CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_LEAST_FREE = 8 * 1024 * 1024


def open_picture_output(target: str, *, video: bool, fps: float, length: int | None, sources: Iterable[Path] = ()) -> Sink:
    """Choose the sink for `--save`.

    Args:
        target: A video file; for picture sources also a folder that exists, or a picture file when there is one picture.
        video: True when the source is a video.
        fps: Frames a second of the source.
        length: Frames of the source, None when not known.
        sources: The pictures of the source, which give the files in a folder their names.

    Raises:
        OutputError: It cannot be written.
    """
    path = Path(target).expanduser()
    if not video and path.is_dir():
        check_writable(path / ".maskedge")
        return ImageSink(path, single=False, sources=sources)
    suffix = path.suffix.lower()
    if suffix in _PICTURES and not video:
        if length != 1:
            raise OutputError(
                f"{path} is one picture and the source has {length}: give a folder that exists, or a video file (.mp4)."
            )
        check_writable(path)
        return ImageSink(path, single=True)
    if not video and (not suffix or target.endswith("/")):
        raise OutputError(f"the folder {path} does not exist: create it (mkdir -p {path}), or name a video file (.mp4).")
    return VideoSink(path, fps)


class VideoSink:
    """Writes frames with the overlay to a video file. Frames of another size are fitted into that of the first.

    OpenCV's writer reports no error when a disk is full, so the free space is watched.

    Args:
        path: The file; its suffix chooses the container.
        fps: Frames a second.

    Raises:
        OutputError: The file cannot be written.
    """

    name = "save"

    def __init__(self, path: Path, fps: float) -> None:
        if path.suffix.lower() not in CODECS:
            raise OutputError(f"{path} is no video that can be written: use one of {', '.join(CODECS)}.")
        check_writable(path)
        self._path = path
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._count = 0

    def write(self, answer: Answer) -> bool:
        """Write one frame."""
        picture = answer.picture
        if self._writer is None:
            # Encoders want even sides.
            self._size = (picture.shape[1] + picture.shape[1] % 2, picture.shape[0] + picture.shape[0] % 2)
            fourcc = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
            with native_path(self._path) as name:
                self._writer = cv2.VideoWriter(name, fourcc, self._fps, self._size)
            if not self._writer.isOpened():
                raise OutputError(f"{self._path} cannot be written: OpenCV has no encoder for it here; try .avi.")
        if self._count % 30 == 0 and shutil.disk_usage(self._path.parent).free < _LEAST_FREE:
            raise OutputError(f"the disk of {self._path} is full: free some space; the {self._count} frames before are kept.")
        self._writer.write(fit(picture, self._size))
        self._count += 1
        return True

    def tell(self, happening: Happening) -> None:
        """Nothing: a video shows frames."""

    def close(self) -> None:
        """Write the index and close the file."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None


def fit(image: Image, size: tuple[int, int]) -> Image:
    """Bring `image` to `size` (width, height): scaled to fit, centred on black. uint8 `[H, W, 3]`."""
    width, height = size
    if image.shape[:2] == (height, width):
        return image
    scale = min(width / image.shape[1], height / image.shape[0])
    # An odd side that was rounded up to even is padded, not scaled.
    if image.shape[1] + 1 >= width >= image.shape[1] and image.shape[0] + 1 >= height >= image.shape[0]:
        scale = 1.0
    inner = (max(1, min(width, round(image.shape[1] * scale))), max(1, min(height, round(image.shape[0] * scale))))
    scaled = cv2.resize(image, inner, interpolation=cv2.INTER_AREA) if scale != 1 else image
    canvas = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = scaled
    return canvas
