"""Neural face detectors: detector files that keep the model contract (docs/contracts.md)."""

from __future__ import annotations

from copy import copy
from math import ceil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskedge.boxes import as_box
from maskedge.errors import ModelError
from maskedge.modelfile.contract import open_model, read_detector_contract
from maskedge.modelfile.precision import bundled_detector
from maskedge.modelfile.trial_pictures import trial_pictures
from maskedge.support.resize import resize
from maskedge.support.timing import inner_stage
from maskedge.types import Box, Image

from . import Detections, FaceDetector, register_detector, register_detector_file
from .scaling import choose_scale, scaled_size

CNN_SIDE = 480
"""Longest side in pixels of the network's input, unless `min_face_size` is given."""
SMALLEST_FACE = 10.0
"""Side of the smallest face that the bundled network finds, in pixels of its input."""
FUSED_THRESHOLD = 0.8
"""Lowest fused score of a face, chosen like `FACE_THRESHOLD`."""
STANDALONE_THRESHOLD = 0.5
"""Lowest score of a face without a classifier that rejects non-faces."""
_FUSED_WEIGHTS = (0.75, 0.5)
"""Weights of the log-odds of the network's score and of the classifier's probability. The score is
less confident than the probability."""
_STANDALONE_WEIGHTS = (1.0, 0.0)
_MULTIPLE = 32
"""Sides of the input of a detector file that takes any size are multiples of this."""
SCORE_TOLERANCE = 0.001
"""Tolerated distance of a score from the range 0 to 1. Outputs are rounded."""
MOST_BOXES = 4096
"""Maximum number of boxes per picture; the best are kept."""


class CnnDetector(FaceDetector):
    """A detector file. Decoding and non-maximum suppression are part of its graph.

    Args:
        path: The .onnx file; None for the bundled one (`modelfile.precision`).
        threads: Threads that ONNX Runtime may use.
        side: Longest side in pixels of the input, for a file that takes any size.
        min_face_size: Side in pixels of the picture of the smallest face that must be found. It
            replaces `side`.

    Raises:
        ModelError: The file is refused.
    """

    takes_regions = True
    standalone_note = f"faces are found by the network alone, at a score of {STANDALONE_THRESHOLD:g} or more"

    def __init__(
        self,
        path: Path | None = None,
        threads: int = 1,
        side: int = CNN_SIDE,
        min_face_size: int | None = None,
    ) -> None:
        self.default_threshold, self.score_weights = FUSED_THRESHOLD, _FUSED_WEIGHTS
        self.path, self.name = path or bundled_detector(), path.name if path else "cnn"
        self.side, self.min_face_size = side, min_face_size
        self.session = open_model(self.path, threads)
        self.contract = read_detector_contract(self.session, str(self.path))
        # A file may declare a valid contract and still fail when it runs.
        sizes = [self.contract.size] if self.contract.size else [(64, 64), (96, 64)]
        for width, height in sizes:
            for frame in trial_pictures(3, height, width):
                self.infer(frame)

    def standalone(self) -> FaceDetector:
        """Return the detector with a threshold for its score alone. It shares the session."""
        detector = copy(self)
        detector.default_threshold = STANDALONE_THRESHOLD
        detector.score_weights = _STANDALONE_WEIGHTS
        return detector

    def smallest_face(self, width: int, height: int) -> float:
        """Return the side in pixels of the smallest face found in a picture of this size."""
        return SMALLEST_FACE / self.scale(width, height)

    def scale(self, width: int, height: int) -> float:
        """Return the factor from pixels of a picture to pixels of the input."""
        if self.contract.size is None:
            return choose_scale(SMALLEST_FACE, self.min_face_size, self.side, max(width, height))
        return min(self.contract.size[0] / width, self.contract.size[1] / height)

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height in pixels of the input for a picture of this size."""
        return self._padded(scaled_size(width, height, self.scale(width, height)))

    def _padded(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return width and height of the input for a scaled picture of `size`."""
        if self.contract.size is not None:
            return self.contract.size
        return -(-size[0] // _MULTIPLE) * _MULTIPLE, -(-size[1] // _MULTIPLE) * _MULTIPLE

    def detect(self, image: Image, region: Box | None = None) -> Detections:
        """Detect the faces of a picture, or of a part of it.

        A part is searched at the scale at which the whole picture is searched. A network whose
        input has a fixed size gets the part in a black frame.

        Args:
            image: uint8 `[H, W, 3]`, BGR.
            region: x1, y1, x2, y2 in pixels of `image`; None for the whole picture.

        Returns:
            The faces with scores, best first. Boxes are in pixels of `image`.
        """
        scale = self.scale(image.shape[1], image.shape[0])
        left, top, right, bottom = self._cut(region, image.shape[1], image.shape[0])
        with inner_stage("resize"):
            frame = self._frame(image[top:bottom, left:right], scale)
        boxes, scores = self.infer(frame)
        order = np.argsort(-scores, kind="stable")
        placed = boxes[order] / np.float32(scale) + np.array([left, top, left, top], np.float32)
        return Detections(tuple(as_box(box) for box in placed), scores[order])

    def frame(self, image: Image) -> Image:
        """Return the network's input for a picture, uint8 `[H, W, 3]` BGR of a size that it takes."""
        return self._frame(image, self.scale(image.shape[1], image.shape[0]))

    def _frame(self, part: Image, scale: float) -> Image:
        size = scaled_size(part.shape[1], part.shape[0], scale)
        width, height = self._padded(size)
        # The aspect ratio stays; the rest of the input, right and below, is black.
        frame = np.zeros((height, width, 3), np.uint8)
        resize(part, size, dst=frame[: size[1], : size[0]], exact=True)
        return frame

    @staticmethod
    def _cut(region: Box | None, width: int, height: int) -> tuple[int, int, int, int]:
        """Return a region as whole pixels of a picture, x1, y1, x2, y2, at least one each way."""
        if region is None:
            return 0, 0, width, height
        left, top = (min(max(int(low), 0), size - 1) for low, size in zip(region[:2], (width, height), strict=True))
        right, bottom = (min(ceil(high), size) for high, size in zip(region[2:], (width, height), strict=True))
        return left, top, max(right, left + 1), max(bottom, top + 1)

    def infer(self, frame: Image) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Run the network on `frame`, uint8 `[H, W, 3]` BGR, of a size that the file takes.

        Returns:
            Boxes, float32 `[K, 4]` in pixels of `frame`, and scores, float32 `[K]`, in the order
            of the graph.

        Raises:
            ModelError: The network does not run, or its outputs are not boxes and scores.
        """
        try:
            outputs = self.session.run(["boxes", "scores"], {"frame": frame[None]})
            boxes, scores = (np.asarray(output, np.float32) for output in outputs)
        except Exception as error:
            reason = " ".join(str(error).split())[:200].rstrip(".")
            raise ModelError(f"{self.path} opens but does not run: {reason}.") from error
        if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
            shapes = f"boxes {list(boxes.shape)} and scores {list(scores.shape)}"
            raise ModelError(f"{self.path} returns {shapes}, expected [K, 4] and [K]: export it again.")
        # NaN fails every comparison.
        within = (scores >= -SCORE_TOLERANCE) & (scores <= 1 + SCORE_TOLERANCE)
        if not np.isfinite(boxes).all() or not within.all():
            raise ModelError(
                f"{self.path} returns boxes or scores that are not valid (NaN, infinity, a score outside 0 to 1): export it again."
            )
        if len(scores) > MOST_BOXES:
            best = np.argsort(-scores, kind="stable")[:MOST_BOXES]
            boxes, scores = boxes[best], scores[best]
        return boxes, np.clip(scores, 0, 1)


@register_detector("cnn")
def _cnn(min_face_size: int | None, threads: int) -> FaceDetector:
    return CnnDetector(None, threads, min_face_size=min_face_size)


@register_detector_file(".onnx")
def _network_file(path: Path, min_face_size: int | None, threads: int) -> FaceDetector:
    return CnnDetector(path, threads, min_face_size=min_face_size)
