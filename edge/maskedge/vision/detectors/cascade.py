"""Boosted cascades: Viola and Jones, "Rapid object detection using a boosted cascade" (2001)."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.errors import ModelError
from maskedge.modelfile.cascade_file import MOST_BYTES, CascadeError, read_cascade
from maskedge.modelfile.contract import MODELS, check_catalogue, is_bundled
from maskedge.modelfile.trusted import check_trusted
from maskedge.support.files import read_regular
from maskedge.types import Box, Image

from . import Detections, FaceDetector, RegionDetector, register_detector, register_detector_file
from .pyramid import Level, Pyramid
from .scaling import choose_scale

_Floats: TypeAlias = npt.NDArray[np.float64]

CASCADE_SIDE = 368
"""Longest side in pixels at which the bundled cascade scans a picture, unless `min_face_size` is
given."""
FACE_OF_SQUARE = 0.95
"""Side of a labelled face, in units of the square that the bundled cascade returns for it."""
MOST_WINDOWS = 1000
"""Maximum number of raw windows for suppression, best first. It limits the time for a picture full
of patterns."""
_MOST_RAW = 16_384
"""Maximum number of raw windows that contribute to the positions of faces. A cascade that accepts
everything returns hundreds of thousands of windows."""
_MOST_GROUPED = 8_192
"""Maximum number of raw windows that are grouped."""
_WIDEST_BORDER = 7
"""Maximum width of the border in pixels, at each size of a scan for raw windows."""
_GROUP_EPS = 0.2
"""Relative difference up to which OpenCV groups two windows; OpenCV's default."""
MOST_SQUARES = 80
"""Maximum number of boxes per picture. Boxes beyond the best eighty hardly ever show a face."""
_SAME_FACE = 0.35
"""Overlap (IoU) from which two windows show the same face."""
_AGREE = 0.5
"""Overlap (IoU) with a kept window from which a window contributes to its position."""
_LOWEST = 0.1
"""Weight of the window with the lowest score in the position of a face."""
_STANDALONE_NEIGHBORS = 24
"""Windows that must agree on a face without a classifier that rejects non-faces. With fewer, most
groups are false alarms."""
_STANDALONE_STEP = 1.1
"""Step between the face sizes of a standalone scan. With the usual 1.3 too few windows lie on a
face."""


def opencv_cascade(name: str) -> Path:
    """Return the path of a cascade that ships with OpenCV, such as `frontalface_default`."""
    # The type stub of OpenCV lacks `cv2.data`.
    return Path(str(files("cv2.data"))) / f"haarcascade_{name}.xml"


def _open_cascade(path: Path) -> cv2.CascadeClassifier:
    """Open a cascade file. OpenCV receives only its checked content, never a file name.

    Raises:
        ModelError: The file is refused.
    """
    try:
        content = read_regular(path, MOST_BYTES)
    except FileNotFoundError as error:
        raise ModelError(f"there is no cascade file {path}: check the path, or install opencv-python again.") from error
    except OSError as error:
        raise ModelError(f"the cascade file {path} cannot be read ({error.strerror}): is it the right file?") from error
    check_catalogue(path, content)
    check_trusted(path, content)
    installed = is_bundled(path) or path.parent == opencv_cascade("").parent
    cascade = cv2.CascadeClassifier()
    try:
        # Installed files were checked when they were packaged. A check at each start costs time.
        text = content.decode("utf-8") if installed else read_cascade(content)
        storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        opened = cascade.read(storage.getFirstTopLevelNode()) and not cascade.empty()
    except (CascadeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not a usable cascade: {error}.") from error
    # OpenCV's binding turns some refusals into a SystemError.
    except (cv2.error, SystemError) as error:
        raise ModelError(f"{path} is not a cascade that OpenCV {cv2.__version__} can use.") from error
    if not opened:
        raise ModelError(f"{path} is not a cascade that OpenCV {cv2.__version__} can use.")
    return cascade


class CascadeDetector(RegionDetector):
    """A boosted cascade, run by OpenCV. It gives no scores.

    Args:
        path: The cascade's XML file.
        side: Longest side in pixels at which pictures are scanned; larger ones are shrunk first.
            None: full size.
        scale_factor: Step between the face sizes of the scan.
        min_neighbors: Number of windows that must agree on a face. 0: every window counts, followed
            by non-maximum suppression with the windows' scores. This finds more faces than OpenCV's
            grouping.
        min_face_size: Side in pixels of the picture of the smallest face that must be found. It
            replaces `side`.
        border: Width of a border of repeated edge pixels, as a fraction of the longest side. With
            it the cascade finds faces that the edge of the picture cuts. With `min_neighbors` 0 it
            has at most 7 pixels at each size of the scan, which is enough for a face of that size.

    Raises:
        ModelError: The file is missing or OpenCV cannot use it.
    """

    takes_regions = True

    def __init__(
        self,
        path: Path,
        *,
        side: int | None,
        min_face_size: int | None = None,
        scale_factor: float = 1.1,
        min_neighbors: int = 3,
        border: float = 0.0,
    ) -> None:
        self.path, self.name = path, path.name
        self._cascade = _open_cascade(path)
        self.side, self.min_face_size = side, min_face_size
        self.scale_factor = scale_factor
        self.min_neighbors = min_neighbors
        self.border = border
        self.standalone_note = (
            f"faces are found by the cascade alone, where {min_neighbors} windows agree (--detector cnn finds more)"
        )

    @classmethod
    def default(cls, min_face_size: int | None = None) -> CascadeDetector:
        """Load the bundled cascade, trained on masked and unmasked faces (`edge-train cascade`).

        Args:
            min_face_size: Side in pixels of the picture of the smallest face that must be found.

        Raises:
            ModelError: The bundled file is missing or damaged.
        """
        detector = cls.trained(MODELS / "haar.xml", min_face_size)
        detector.name = "haar"
        return detector

    @classmethod
    def original(cls) -> CascadeDetector:
        """Load the original pipeline's detector: OpenCV's frontal-face cascade at full size."""
        detector = cls(opencv_cascade("frontalface_default"), side=None, min_neighbors=5)
        detector.name = "haar-stock"
        return detector

    @classmethod
    def trained(cls, path: Path, min_face_size: int | None = None) -> CascadeDetector:
        """Load a cascade that `edge-train cascade` wrote, with settings that favour recall.

        The classifier is expected to reject non-faces (`standalone` otherwise).
        """
        return cls(
            path,
            side=CASCADE_SIDE,
            min_face_size=min_face_size,
            scale_factor=1.25,
            min_neighbors=0,
            border=0.1,
        )

    def standalone(self) -> FaceDetector:
        """Return a cascade that reports a face only where many windows agree."""
        if self.min_neighbors:
            return self
        return CascadeDetector(
            self.path,
            side=self.side,
            min_face_size=self.min_face_size,
            scale_factor=_STANDALONE_STEP,
            min_neighbors=_STANDALONE_NEIGHBORS,
            border=self.border,
        )

    def smallest_face(self, width: int, height: int) -> float:
        """Return the side in pixels of the smallest face found in a picture of this size."""
        return self._cascade.getOriginalWindowSize()[0] * FACE_OF_SQUARE / self.scale(width, height)

    def scale(self, width: int, height: int) -> float:
        """Return the factor from pixels of a picture to pixels of the scan."""
        smallest = self._cascade.getOriginalWindowSize()[0] * FACE_OF_SQUARE
        return choose_scale(smallest, self.min_face_size, self.side, max(width, height))

    def pyramid(self, width: int, height: int) -> Pyramid:
        """Return the series of sizes at which a picture of this size is scanned."""
        widest = None if self.min_neighbors else _WIDEST_BORDER
        return Pyramid(self.scale(width, height), self.scale_factor, self.border, widest)

    def detect(self, image: Image, region: Box | None = None) -> Detections:
        """Detect the faces of a picture, or of a part of it (`RegionDetector.detect`).

        Boxes may extend slightly beyond the picture.
        """
        height, width = image.shape[:2]
        levels = self.pyramid(width, height).levels(image, region, self._cascade.getOriginalWindowSize())
        if self.min_neighbors:
            # OpenCV makes the further sizes of the first level.
            squares = [square for level in islice(levels, 1) for square in self._grouped(level)]
        else:
            squares = _merge(*self._windows(levels))
        return Detections(tuple((x, y, x + w, y + h) for x, y, w, h in squares))

    def _grouped(self, level: Level) -> list[list[float]]:
        """Return the squares (x, y, width, height) of OpenCV's grouping of windows."""
        windows = np.asarray(self._cascade.detectMultiScale(level.grey, self.scale_factor, 0))
        windows = windows.reshape(-1, 4)
        # Grouping takes quadratic time. If a cascade accepts everything, windows are sampled.
        windows = windows[:: -(-len(windows) // _MOST_GROUPED) or 1]
        found, _ = cv2.groupRectangles(windows.tolist(), self.min_neighbors, _GROUP_EPS)
        # OpenCV's threads return squares in any order. Sorting makes the result deterministic.
        squares = sorted(tuple(map(float, square)) for square in found)
        return level.to_picture(squares).tolist() if squares else []

    def _windows(self, levels: Iterable[Level]) -> tuple[_Floats, _Floats]:
        """Return the windows that pass the cascade, float64 `[N, 4]`, and their scores, `[N]`.

        Every level is scanned at one size, the window's own. OpenCV then steps two pixels. When it
        makes the sizes itself it steps one pixel from the factor 2 on, and shrinks by leaving out
        pixels.
        """
        size = self._cascade.getOriginalWindowSize()
        windows, scores = [np.empty((0, 4))], [np.empty(0)]
        for level in levels:
            found, _, sums = self._cascade.detectMultiScale3(
                level.grey, self.scale_factor, 0, minSize=size, maxSize=size, outputRejectLevels=True
            )
            if len(found):
                windows.append(level.to_picture(found))
                scores.append(np.asarray(sums, np.float64).reshape(-1))
        return np.concatenate(windows), np.concatenate(scores)


def _merge(windows: _Floats, scores: _Floats) -> list[list[float]]:
    """Return the squares of windows after non-maximum suppression, best first.

    Each kept window moves to the weighted mean of the windows that agree with it. OpenCV's
    suppression is used here, not `boxes.suppress`: a picture has up to 16,384 raw windows.

    Args:
        windows: float64 `[N, 4]`, x, y, width, height in pixels of the picture.
        scores: float64 `[N]`.
    """
    if not len(windows):
        return []
    # OpenCV's threads return windows in any order, so they are sorted.
    order = np.lexsort((*windows.T, -scores))[:_MOST_RAW]
    windows, scores = windows[order], scores[order]
    # All above 0: suppression drops a window whose score is not above its threshold.
    scores = scores - scores[-1] + _LOWEST
    kept = cv2.dnn.NMSBoxes(windows.tolist(), scores.tolist(), 0, _SAME_FACE, top_k=MOST_WINDOWS)
    best = np.asarray(kept, np.int64).reshape(-1)[:MOST_SQUARES]
    low, high = windows[:, :2], windows[:, :2] + windows[:, 2:]
    # [M, N, 2]: the intersection of each of the best with every window.
    shared = np.minimum(high[best, None], high) - np.maximum(low[best, None], low)
    shared = np.clip(shared, 0, None)
    both = shared[:, :, 0] * shared[:, :, 1]
    area = windows[:, 2] * windows[:, 3]
    agree = both > _AGREE * (area + area[best, None] - both)
    weight = scores * agree
    squares = weight @ windows / weight.sum(axis=1, keepdims=True)
    return [list(square) for square in squares.tolist()]


@register_detector("haar")
def _haar(min_face_size: int | None, threads: int) -> FaceDetector:
    return CascadeDetector.default(min_face_size)


@register_detector("haar-stock")
def _haar_stock(min_face_size: int | None, threads: int) -> FaceDetector:
    return CascadeDetector.original()


@register_detector_file(".xml")
def _cascade_file(path: Path, min_face_size: int | None, threads: int) -> FaceDetector:
    return CascadeDetector.trained(path, min_face_size)
