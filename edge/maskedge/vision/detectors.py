"""Finding faces."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.boxes import as_box
from maskedge.errors import ModelError, UsageError
from maskedge.modelfile.cascade_file import MOST_BYTES, CascadeError, read_cascade
from maskedge.modelfile.contract import MODELS, check_catalogue, default_detector, is_bundled, open_model, read_detector_contract
from maskedge.support.files import read_regular
from maskedge.support.timing import inner_stage
from maskedge.types import Box, Image

from .classifier import trial_pictures

CASCADE_SIDE = 368
"""Longest side in pixels at which our cascades scan a picture, unless smaller faces are wanted."""
CNN_SIDE = 480
"""The same for our network."""
LEAST_SEEN = 10.0
"""Side in pixels of its input of the smallest face that our network finds."""
DETECTORS = ("haar", "cnn", "haar-stock")
DEFAULT_DETECTOR = "haar"
_LEAST_SIDE = 96
"""Longest side of a scan at least, however large the smallest wanted face is: below, a picture holds too little."""
_MULTIPLE = 32
"""Sides of the input of a detector file that takes any size are multiples of this."""
FACE_OF_SQUARE = 0.95
"""Side of a labelled face, in units of the square that our cascades answer for it."""
MOST_WINDOWS = 1000
"""Raw windows of a cascade that are looked at, best first: bounds the time of a picture that is all pattern."""
_MOST_RAW = 16_384
"""Raw windows that may help to place a face: a cascade that takes everything gives hundreds of thousands."""
_MOST_GROUPED = 8_192
"""Raw windows that are grouped, at most."""
_GROUP_EPS = 0.2
"""How much windows may differ that OpenCV makes one, in units of their side: its own default."""
MOST_SQUARES = 80
"""Squares that a cascade gives at most: what is behind the best eighty is hardly ever a face."""
_SAME_FACE = 0.35
"""Overlap (IoU) from which two windows show the same face."""
_AGREE = 0.5
"""Overlap from which a window helps to place the one that is kept."""


SCORE_TOLERANCE = 0.001
"""How far a score of a detector file may be outside 0 to 1: its numbers are rounded."""
MOST_BOXES = 4096
"""Boxes of a detector file that are looked at, best first."""


class FaceDetector(Protocol):
    """Finds faces in a picture."""

    def detect(self, image: Image) -> list[Box]:
        """Find the faces of `image`, uint8 `[H, W, 3]` BGR. Boxes are in its pixels and may leave it a little."""
        ...


def opencv_cascade(name: str) -> Path:
    """Path of a cascade that ships with OpenCV, as in `frontalface_default`."""
    # Not `cv2.data`: its type stub does not know it.
    return Path(str(files("cv2.data"))) / f"haarcascade_{name}.xml"


def _open_cascade(path: Path) -> cv2.CascadeClassifier:
    """Open a cascade file: OpenCV sees what was checked of it, and no name of a file.

    Raises:
        ModelError: It is refused.
    """
    try:
        content = read_regular(path, MOST_BYTES)
    except FileNotFoundError as error:
        raise ModelError(f"there is no cascade file {path}: check the path, or install opencv-python again.") from error
    except OSError as error:
        raise ModelError(f"the cascade file {path} cannot be read ({error.strerror}): is it the right file?") from error
    check_catalogue(path, content)
    installed = is_bundled(path) or path.parent == opencv_cascade("").parent
    cascade = cv2.CascadeClassifier()
    try:
        # Installed with the program: checked when it was made, and read at every start.
        text = content.decode("utf-8") if installed else read_cascade(content)
        storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        opened = cascade.read(storage.getFirstTopLevelNode()) and not cascade.empty()
    except (CascadeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is no cascade that can be used: {error}.") from error
    # OpenCV's binding turns some refusals into a SystemError.
    except (cv2.error, SystemError) as error:
        raise ModelError(f"{path} is no cascade that OpenCV {cv2.__version__} can use.") from error
    if not opened:
        raise ModelError(f"{path} is no cascade that OpenCV {cv2.__version__} can use.")
    return cascade


class CascadeDetector:
    """Viola and Jones' boosted cascade ("Rapid object detection", 2001), as OpenCV runs it.

    Args:
        path: The cascade's XML file.
        side: The longest side in pixels at which pictures are scanned; larger ones are shrunk first. None: full size.
        scale_factor: Step between the sizes of face that are looked for.
        min_neighbors: How many windows must agree on a face. 0: each window by itself; those on the same face are made one here,
            best first, which finds more faces than OpenCV's grouping of neighbours does.
        min_face_size: Side in pixels of the picture of the smallest face that must be found; takes the place of `side`.
        border: Frame of repeated edge pixels, as a fraction of the longest side, for faces cut by the picture's edge.

    Raises:
        ModelError: The file is missing or OpenCV cannot use it.
    """

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
        self.path = path
        self._cascade = _open_cascade(path)
        self.side, self.min_face_size = side, min_face_size
        self.scale_factor = scale_factor
        self.min_neighbors = min_neighbors
        self.border = border

    @classmethod
    def default(cls, min_face_size: int | None = None) -> CascadeDetector:
        """Build the default: the bundled cascade, which was trained on masked and unmasked faces (edge-train cascade).

        Args:
            min_face_size: Side in pixels of the picture of the smallest face that must be found: chooses the size of the scan.

        Raises:
            ModelError: The bundled file is missing or damaged.
        """
        return cls.trained(MODELS / "haar.xml", min_face_size)

    @classmethod
    def original(cls) -> CascadeDetector:
        """Build the detector of the original pipeline: the stock frontal-face cascade on the full-size picture."""
        return cls(opencv_cascade("frontalface_default"), side=None, min_neighbors=5)

    @classmethod
    def trained(cls, path: Path, min_face_size: int | None = None) -> CascadeDetector:
        """Build a detector of a cascade that `edge-train cascade` made: keen, for a classifier that throws out what is no face."""
        return cls(path, side=CASCADE_SIDE, min_face_size=min_face_size, scale_factor=1.3, min_neighbors=0, border=0.1)

    def smallest_face(self, width: int, height: int) -> float:
        """Side in pixels of the smallest face that can be found in a picture of this size."""
        return self._cascade.getOriginalWindowSize()[0] * FACE_OF_SQUARE / self.scale(width, height)

    def scale(self, width: int, height: int) -> float:
        """From pixels of a picture to those of the scan."""
        least = self._cascade.getOriginalWindowSize()[0] * FACE_OF_SQUARE
        return _scale_for(least, self.min_face_size, self.side, max(width, height))

    def detect(self, image: Image) -> list[Box]:
        """Find the faces of `image`, uint8 `[H, W, 3]` BGR. Boxes are in its pixels and may leave it a little."""
        with inner_stage("resize"):
            grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
            scale = self.scale(grey.shape[1], grey.shape[0])
            if scale < 1:
                grey = cv2.resize(grey, _scaled(grey.shape[1], grey.shape[0], scale), interpolation=cv2.INTER_AREA)
            pad = round(self.border * max(grey.shape))
            if pad:
                grey = cv2.copyMakeBorder(grey, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        width, height = self._cascade.getOriginalWindowSize()
        if grey.shape[1] < width or grey.shape[0] < height:
            return []
        whole = np.asarray(grey, np.uint8)
        squares = self._windows(whole) if self.min_neighbors == 0 else self._grouped(whole)
        return [((x - pad) / scale, (y - pad) / scale, (x + w - pad) / scale, (y + h - pad) / scale) for x, y, w, h in squares]

    def _grouped(self, grey: Image) -> list[tuple[float, ...]]:
        """Give squares (x, y, width, height) as OpenCV groups them."""
        windows = np.asarray(self._cascade.detectMultiScale(grey, self.scale_factor, 0)).reshape(-1, 4)
        # Grouping takes the square of their number: of a cascade that takes everything a part must do.
        windows = windows[:: -(-len(windows) // _MOST_GROUPED) or 1]
        found, _ = cv2.groupRectangles(windows.tolist(), self.min_neighbors, _GROUP_EPS)
        # OpenCV's threads list what they found in the order they ended: sorted, the same picture gives the same list.
        return sorted(tuple(map(float, square)) for square in found)

    def _windows(self, grey: Image) -> list[tuple[float, ...]]:
        """Give squares, best first: of the windows on one face the best, moved to the middle of those that agree with it."""
        found, _, sums = self._cascade.detectMultiScale3(grey, self.scale_factor, 0, outputRejectLevels=True)
        if not len(found):
            return []
        windows, scores = np.asarray(found, np.float64), np.asarray(sums, np.float64).reshape(-1)
        # Sorted, since OpenCV's threads list windows in any order.
        order = np.lexsort((*windows.T, -scores))[:_MOST_RAW]
        windows, scores = windows[order], scores[order]
        scores = scores - scores[-1]
        kept = cv2.dnn.NMSBoxes(windows.tolist(), scores.tolist(), 0, _SAME_FACE, top_k=MOST_WINDOWS)
        best = np.asarray(kept, np.int64).reshape(-1)[:MOST_SQUARES]
        low, high = windows[:, :2], windows[:, :2] + windows[:, 2:]
        # [M, N, 2]: what each of the best shares with every window.
        shared = np.clip(np.minimum(high[best, None], high) - np.maximum(low[best, None], low), 0, None)
        both = shared[:, :, 0] * shared[:, :, 1]
        area = windows[:, 2] ** 2
        agree = both > _AGREE * (area + area[best, None] - both)
        weight = (scores + 0.1) * agree
        return [tuple(square) for square in (weight @ windows / weight.sum(axis=1, keepdims=True)).tolist()]


class CnnDetector:
    """A detector file, ready to answer: decoding and non-maximum suppression are in its graph.

    Args:
        path: The .onnx file; the bundled one when left out.
        threads: Threads that ONNX Runtime may use.
        side: Longest side in pixels at which pictures are looked at, for a file that takes any size.
        min_face_size: Side in pixels of the picture of the smallest face that must be found; takes the place of `side`.

    Raises:
        ModelError: The file is refused.
    """

    def __init__(self, path: Path | None = None, threads: int = 1, side: int = CNN_SIDE, min_face_size: int | None = None) -> None:
        self.path = path or default_detector()
        self.side, self.min_face_size = side, min_face_size
        self._session = open_model(self.path, threads)
        self.contract = read_detector_contract(self._session, str(self.path))
        # The graph must also run, and answer with boxes: a file may keep the contract on paper and fail inside.
        for width, height in [self.contract.size] if self.contract.size else [(64, 64), (96, 64)]:
            for frame in trial_pictures(3, height, width):
                self.answer_whole(frame)

    def smallest_face(self, width: int, height: int) -> float:
        """Side in pixels of the smallest face that can be found in a picture of this size."""
        return LEAST_SEEN / self.scale(width, height)

    def scale(self, width: int, height: int) -> float:
        """From pixels of a picture to those of the input."""
        if self.contract.size is None:
            return _scale_for(LEAST_SEEN, self.min_face_size, self.side, max(width, height))
        return min(self.contract.size[0] / width, self.contract.size[1] / height)

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height in pixels of the input that a picture of this size gets."""
        size = _scaled(width, height, self.scale(width, height))
        return self.contract.size or (-(-size[0] // _MULTIPLE) * _MULTIPLE, -(-size[1] // _MULTIPLE) * _MULTIPLE)

    def detect(self, image: Image) -> list[Box]:
        """Find the faces of `image`, uint8 `[H, W, 3]` BGR, best first. Boxes are in its pixels and may leave it a little."""
        return [as_box(box) for box in self.answer(image)[0]]

    def answer(self, image: Image) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Give the faces of `image`, uint8 `[H, W, 3]` BGR, best first: boxes float32 `[K, 4]` in pixels, scores float32 `[K]`."""
        scale = self.scale(image.shape[1], image.shape[0])
        size = _scaled(image.shape[1], image.shape[0], scale)
        width, height = self.input_size(image.shape[1], image.shape[0])
        with inner_stage("resize"):
            # The proportions stay; what is left of the input is black, right and below.
            frame = np.zeros((height, width, 3), np.uint8)
            shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            frame[: size[1], : size[0]] = cv2.resize(image, size, interpolation=shrink)
        boxes, scores = self.answer_whole(frame)
        order = np.argsort(-scores, kind="stable")
        return boxes[order] / np.float32(scale), scores[order]

    def answer_whole(self, frame: Image) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Answer for a frame, uint8 `[H, W, 3]` BGR, of a size that the file takes, as it is."""
        try:
            boxes, scores = (
                np.asarray(answer, np.float32) for answer in self._session.run(["boxes", "scores"], {"frame": frame[None]})
            )
        except Exception as error:
            raise ModelError(f"{self.path} opens but does not run: {' '.join(str(error).split())[:200].rstrip('.')}.") from error
        if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
            shapes = f"boxes {list(boxes.shape)} and scores {list(scores.shape)}"
            raise ModelError(f"{self.path} answers with {shapes}, where [K, 4] and [K] belong: export it again.")
        # NaN is in no comparison, so that it fails each.
        if not np.isfinite(boxes).all() or not ((scores >= -SCORE_TOLERANCE) & (scores <= 1 + SCORE_TOLERANCE)).all():
            raise ModelError(
                f"{self.path} answers with boxes or scores that are none (NaN, infinity, a score outside 0 to 1): export it again."
            )
        if len(scores) > MOST_BOXES:
            best = np.argsort(-scores, kind="stable")[:MOST_BOXES]
            boxes, scores = boxes[best], scores[best]
        return boxes, np.clip(scores, 0, 1)


def build_detector(name: str, *, min_face_size: int | None = None, threads: int = 1) -> FaceDetector:
    """Build a detector by name.

    Args:
        name: One of `DETECTORS`. `haar`: our cascade. `cnn`: our network. `haar-stock`: the original pipeline's.
        min_face_size: Side in pixels of the picture of the smallest face that must be found; None for the detector's own.
            `haar` and `cnn` look at a larger or smaller picture for it, which costs in proportion to its area.
        threads: Threads that ONNX Runtime may use.

    Raises:
        ModelError: A bundled file is missing or damaged.
        UsageError: No detector has that name.
    """
    if name == "haar":
        return CascadeDetector.default(min_face_size)
    if name == "cnn":
        return CnnDetector(None, threads, min_face_size=min_face_size)
    if name == "haar-stock":
        return CascadeDetector.original()
    raise UsageError(f"there is no detector {name!r}; known are {', '.join(DETECTORS)}.")


def _scaled(width: int, height: int, scale: float) -> tuple[int, int]:
    return max(1, round(width * scale)), max(1, round(height * scale))


def _scale_for(seen: float, min_face_size: int | None, side: int | None, longest: int) -> float:
    """Choose the scale at which a face of `min_face_size` pixels becomes one of `seen`, or the longest side becomes `side`.

    A picture is never made larger: that would find nothing more.
    """
    if min_face_size is not None:
        return min(1.0, max(seen / min_face_size, _LEAST_SIDE / longest))
    return min(1.0, side / longest) if side else 1.0
