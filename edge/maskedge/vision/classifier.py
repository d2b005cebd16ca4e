"""`MaskClassifier`: runs a classifier file on the faces of a frame, in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.boxes import as_box
from maskedge.errors import ModelError
from maskedge.modelfile.contract import ClassifierContract, open_model, read_contract
from maskedge.modelfile.crop import crop_regions
from maskedge.modelfile.precision import bundled_classifier
from maskedge.modelfile.trial_pictures import trial_pictures
from maskedge.types import Box, Image

SUM_TOLERANCE = 0.01
"""Tolerated difference between 1 and the sum of a face's probabilities. Outputs of 8 and 16 bits
are rounded."""
_BATCH_PIXELS = 1 << 15
"""Maximum number of pixels of a batch: 8 crops of 64 x 64. The activations of a larger batch leave
the processor's cache, so each crop takes longer."""


def _first_wrong(probabilities: npt.NDArray[np.float32]) -> str:
    """Return the text of the first row that is not a distribution, for a message."""
    sums_to_one = np.abs(probabilities.sum(axis=1) - 1) <= SUM_TOLERANCE
    good = sums_to_one & (probabilities.min(axis=1) >= -SUM_TOLERANCE)
    row = probabilities[int(np.argmin(good))]
    return f"({', '.join(f'{value:.4g}' for value in row[:4].tolist())}{', ...' if len(row) > 4 else ''})"


class MaskClassifier:
    """A classifier file.

    Args:
        path: The .onnx file; None for the bundled one (`modelfile.precision`).
        threads: Threads that ONNX Runtime may use.

    Raises:
        ModelError: The file is refused.
    """

    def __init__(self, path: Path | None = None, threads: int = 1) -> None:
        self.path = path or bundled_classifier()
        self.session = open_model(self.path, threads)
        self.contract: ClassifierContract = read_contract(self.session, str(self.path))
        self._batch = max(1, _BATCH_PIXELS // self.contract.size**2)
        # A file may declare a valid contract and still fail when it runs.
        for count in (3, 1):
            self.classify_crops(trial_pictures(count, self.contract.size, self.contract.size))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of the probabilities."""
        return self.contract.labels

    def classify(self, image: Image, boxes: Sequence[Box]) -> npt.NDArray[np.float32]:
        """Classify the faces of one frame.

        Args:
            image: uint8 `[H, W, 3]`, BGR.
            boxes: N face boxes in pixels of `image`.

        Returns:
            float32 `[N, C]`: for each face the probability of each label.
        """
        return self.classify_and_locate(image, boxes)[0]

    def classify_and_locate(
        self, image: Image, boxes: Sequence[Box], *, mirrored: bool = False
    ) -> tuple[npt.NDArray[np.float32], list[Box]]:
        """Classify the faces of one frame and correct their boxes.

        Args:
            image: uint8 `[H, W, 3]`, BGR.
            boxes: N face boxes in pixels of `image`.
            mirrored: Run the model on the mirror image of each crop. The returned boxes still refer
                to `image`.

        Returns:
            The probabilities, float32 `[N, C]`, and N boxes in pixels of `image`: the places that
            the model returns, or `boxes` if the model does not locate faces.
        """
        if not boxes:
            return np.empty((0, len(self.labels)), np.float32), []
        pixels = [self.contract.crop.pixels(box) for box in boxes]
        crops = crop_regions(image, pixels, self.contract.size)
        if mirrored:
            for crop in crops:
                crop[:] = cv2.flip(crop, 1)
        probabilities, places = self.classify_and_locate_crops(crops)
        if places is None:
            return probabilities, list(boxes)
        if mirrored:
            places = np.stack([1 - places[:, 2], places[:, 1], 1 - places[:, 0], places[:, 3]], axis=1)
        regions = np.array(pixels, np.float64)
        corner, sides = regions[:, :2], regions[:, 2:] - regions[:, :2]
        located = np.concatenate([corner + places[:, :2] * sides, corner + places[:, 2:] * sides], axis=1)
        return probabilities, [as_box(box) for box in located]

    def classify_crops(self, crops: Image) -> npt.NDArray[np.float32]:
        """Classify crops, uint8 `[N, S, S, 3]`, BGR. Returns float32 `[N, C]`."""
        return self.classify_and_locate_crops(crops)[0]

    def classify_and_locate_crops(self, crops: Image) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        """Classify crops and locate their faces.

        Args:
            crops: uint8 `[N, S, S, 3]`, BGR.

        Returns:
            Probabilities, float32 `[N, C]`, and the place of the face in each crop: x1, y1, x2,
            y2 in units of the crop's side, float32 `[N, 4]`; None if the model does not locate
            faces.

        Raises:
            ModelError: The model does not run, or its outputs are not probabilities and places.
        """
        starts = range(0, max(len(crops), 1), self._batch)
        batches = [self._run(crops[start : start + self._batch]) for start in starts]
        if len(batches) == 1:
            return batches[0]
        places = [batch[1] for batch in batches if batch[1] is not None]
        return np.concatenate([batch[0] for batch in batches]), (np.concatenate(places) if places else None)

    def _run(self, crops: Image) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        names = ["probabilities", "places"] if self.contract.places else ["probabilities"]
        try:
            outputs = self.session.run(names, {"faces": crops})
            answers = [np.asarray(output, np.float32) for output in outputs]
        except Exception as error:
            reason = " ".join(str(error).split())[:200].rstrip(".")
            raise ModelError(f"{self.path} opens but does not run: {reason}.") from error
        probabilities, places = answers[0], answers[1] if self.contract.places else None
        if probabilities.shape != (len(crops), len(self.labels)):
            raise ModelError(
                f"{self.path} returns {list(probabilities.shape)} for {len(crops)} crops and "
                f"{len(self.labels)} labels: export it again."
            )
        # NaN fails every comparison.
        outside = probabilities.size and not (probabilities.min() >= -SUM_TOLERANCE)
        if outside or not (np.abs(probabilities.sum(axis=1) - 1) <= SUM_TOLERANCE).all():
            raise ModelError(
                f"{self.path} returns {_first_wrong(probabilities)}, which are not probabilities: each "
                "must be 0 to 1, and their sum for a face must be 1. Its output lacks a "
                "softmax, or its numbers overflow (16-bit floats do): export it again."
            )
        if places is not None and (places.shape != (len(crops), 4) or not np.isfinite(places).all()):
            raise ModelError(f"{self.path} returns places that are not boxes (NaN, infinity, or another shape): export it again.")
        return np.clip(probabilities, 0, 1), places
