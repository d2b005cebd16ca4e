"""Finding faces."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from maskedge.errors import ModelError
from maskedge.model import open_session, read_detector_contract, read_model
from maskedge.timing import inner_stage
from maskedge.types import Box, Image


class FaceDetector(Protocol):
    """Finds faces in a picture."""

    def detect(self, image: Image) -> list[Box]:
        """Find the faces of `image`, uint8 `[H, W, 3]` BGR. Boxes are in its pixels and may leave it a little."""
        ...


def opencv_cascade(name: str) -> Path:
    """Path of a cascade that ships with OpenCV, as in `frontalface_default`."""
    # Not `cv2.data`: its type stub does not know it.
    return Path(str(files("cv2.data"))) / f"haarcascade_{name}.xml"


class CascadeDetector:
    """Viola and Jones' boosted cascade ("Rapid object detection", 2001), as OpenCV runs it.

    Args:
        path: The cascade's XML file.
        side: The longest side in pixels at which pictures are scanned; larger ones are shrunk first. None: full size.
        scale_factor: Step between the sizes of face that are looked for.
        min_neighbors: How many windows must agree on a face.
        border: Frame of repeated edge pixels, as a fraction of the longest side, for faces cut by the picture's edge.

    Raises:
        ModelError: The file is missing or OpenCV cannot use it.
    """

    def __init__(
        self,
        path: Path,
        *,
        side: int | None,
        scale_factor: float = 1.1,
        min_neighbors: int = 3,
        border: float = 0.0,
    ) -> None:
        self.path = path
        if not self.path.is_file():
            raise ModelError(f"there is no cascade file {self.path}: check the path, or install opencv-python again.")
        try:
            self._cascade = cv2.CascadeClassifier(str(self.path))
        # OpenCV's binding turns some refusals into a SystemError.
        except (cv2.error, SystemError) as error:
            raise ModelError(f"{self.path} is no cascade that OpenCV {cv2.__version__} can use.") from error
        if self._cascade.empty():
            raise ModelError(f"{self.path} is no cascade that OpenCV {cv2.__version__} can use.")
        self.side = side
        self.scale_factor = scale_factor
        self.min_neighbors = min_neighbors
        self.border = border

    @classmethod
    def default(cls) -> CascadeDetector:
        """Build the default: of OpenCV's own cascades the one that finds most masked faces, keen, on a small picture.

        On webcam pictures it finds as many masked faces as `original`, and more unmasked ones, at a third of its cost
        (benchmarks/results/accuracy.json).
        """
        return cls(opencv_cascade("frontalface_alt2"), side=320, scale_factor=1.15, min_neighbors=1, border=0.1)

    @classmethod
    def original(cls) -> CascadeDetector:
        """Build the detector of the original pipeline: the stock frontal-face cascade on the full-size picture."""
        return cls(opencv_cascade("frontalface_default"), side=None, min_neighbors=5)

    @classmethod
    def trained(cls, path: Path) -> CascadeDetector:
        """Build a detector of a cascade that `edge-train cascade` made, as it is measured there."""
        return cls(path, side=240, scale_factor=1.2, min_neighbors=1, border=0.1)

    def detect(self, image: Image) -> list[Box]:
        """Find the faces of `image`, uint8 `[H, W, 3]` BGR. Boxes are in its pixels and may leave it a little."""
        with inner_stage("resize"):
            grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
            longest = max(grey.shape)
            scale = min(1.0, self.side / longest) if self.side else 1.0
            if scale < 1:
                size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
                grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
            pad = round(self.border * max(grey.shape))
            if pad:
                grey = cv2.copyMakeBorder(grey, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        width, height = self._cascade.getOriginalWindowSize()
        if grey.shape[1] < width or grey.shape[0] < height:
            return []
        found = self._cascade.detectMultiScale(grey, self.scale_factor, self.min_neighbors)
        # OpenCV's threads list what they found in the order they ended: sorted, the same picture gives the same list.
        squares = sorted(tuple(map(int, square)) for square in found)
        return [((x - pad) / scale, (y - pad) / scale, (x + w - pad) / scale, (y + h - pad) / scale) for x, y, w, h in squares]


class CnnDetector:
    """A detector file, ready to answer: decoding and non-maximum suppression are in its graph.

    Args:
        path: The .onnx file.
        threads: Threads that ONNX Runtime may use.

    Raises:
        ModelError: The file is refused.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        self.path = path
        self._session = open_session(read_model(path), str(path), threads)
        self.contract = read_detector_contract(self._session, str(path))
        width, height = self.contract.size
        # The graph must also run: a file may keep the contract on paper and fail inside.
        try:
            self.detect(np.zeros((height, width, 3), np.uint8))
        except Exception as error:
            raise ModelError(f"{path} opens but does not run: {' '.join(str(error).split())[:200]}") from error

    def detect(self, image: Image) -> list[Box]:
        """Find the faces of `image`, uint8 `[H, W, 3]` BGR, best first. Boxes are in its pixels and may leave it a little."""
        with inner_stage("resize"):
            width, height = self.contract.size
            scale = min(width / image.shape[1], height / image.shape[0])
            size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
            # The proportions stay; what is left of the input is black, right and below.
            frame = np.zeros((1, height, width, 3), np.uint8)
            shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            frame[0, : size[1], : size[0]] = cv2.resize(image, size, interpolation=shrink)
        boxes, scores = self._session.run(["boxes", "scores"], {"frame": frame})
        ordered = boxes[np.argsort(-scores, kind="stable")] / scale
        return [(float(x1), float(y1), float(x2), float(y2)) for x1, y1, x2, y2 in ordered]
