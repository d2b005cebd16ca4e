"""Crops in, probabilities out, one batch a frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskedge.boxes import as_box
from maskedge.errors import ModelError
from maskedge.modelfile.contract import ClassifierContract, default_model, open_model, read_contract
from maskedge.modelfile.crop import crop_faces
from maskedge.types import Box, Image

SUM_TOLERANCE = 0.01
"""How far the probabilities of a face may be from adding up to 1: 8-bit and 16-bit outputs are rounded."""
_BATCH_PIXELS = 1 << 20
"""Pixels of the crops of one call: 256 of 64 x 64. More would need memory in proportion, and gain no time."""


def trial_pictures(count: int, height: int, width: int) -> Image:
    """Make pictures that every model must answer for: black, white and noise in turn. uint8 `[count, height, width, 3]`."""
    random = np.random.default_rng(0)
    pictures = np.zeros((count, height, width, 3), np.uint8)
    pictures[1::3] = 255
    pictures[2::3] = random.integers(0, 256, pictures[2::3].shape, np.uint8)
    return pictures


def _first_wrong(probabilities: npt.NDArray[np.float32]) -> str:
    """Show the first row that is wrong, for a sentence."""
    good = (np.abs(probabilities.sum(axis=1) - 1) <= SUM_TOLERANCE) & (probabilities.min(axis=1) >= -SUM_TOLERANCE)
    row = probabilities[int(np.argmin(good))]
    return f"({', '.join(f'{value:.4g}' for value in row[:4].tolist())}{', ...' if len(row) > 4 else ''})"


class MaskClassifier:
    """A classifier file, ready to answer.

    Args:
        path: The .onnx file; the bundled one when left out.
        threads: Threads that ONNX Runtime may use.

    Raises:
        ModelError: The file is refused.
    """

    def __init__(self, path: Path | None = None, threads: int = 1) -> None:
        self.path = path or default_model()
        self._session = open_model(self.path, threads)
        self.contract: ClassifierContract = read_contract(self._session, str(self.path))
        self._batch = max(1, _BATCH_PIXELS // self.contract.size**2)
        # The graph must also run, and answer with probabilities: a file may keep the contract on paper and fail inside.
        for count in (3, 1):
            self.classify_crops(trial_pictures(count, self.contract.size, self.contract.size))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of the answers."""
        return self.contract.labels

    def classify(self, image: Image, boxes: Sequence[Box]) -> npt.NDArray[np.float32]:
        """Answer for the faces of one frame.

        Args:
            image: uint8 `[H, W, 3]`, BGR.
            boxes: N face boxes in pixels of `image`.

        Returns:
            float32 `[N, C]`: for each face the probability of each label.
        """
        return self.look(image, boxes)[0]

    def look(self, image: Image, boxes: Sequence[Box], *, mirrored: bool = False) -> tuple[npt.NDArray[np.float32], list[Box]]:
        """Answer for the faces of one frame as `classify` does, and tell where each face really is.

        Args:
            image: uint8 `[H, W, 3]`, BGR.
            boxes: N face boxes in pixels of `image`.
            mirrored: Let the model see the mirror image of each crop. The boxes that come back are those of `image` all the same.

        Returns:
            The probabilities, float32 `[N, C]`, and N boxes in pixels of `image`: those given, drawn to the face, or as they are
            where the model does not tell.
        """
        if not boxes:
            return np.empty((0, len(self.labels)), np.float32), []
        crops = crop_faces(image, boxes, self.contract.crop, self.contract.size)
        probabilities, places = self.answer_crops(np.ascontiguousarray(crops[:, :, ::-1]) if mirrored else crops)
        if places is None:
            return probabilities, list(boxes)
        if mirrored:
            places = np.stack([1 - places[:, 2], places[:, 1], 1 - places[:, 0], places[:, 3]], axis=1)
        regions = np.array([self.contract.crop.pixels(box) for box in boxes], np.float64)
        corner, sides = regions[:, :2], regions[:, 2:] - regions[:, :2]
        drawn = np.concatenate([corner + places[:, :2] * sides, corner + places[:, 2:] * sides], axis=1)
        return probabilities, [as_box(box) for box in drawn]

    def classify_crops(self, crops: Image) -> npt.NDArray[np.float32]:
        """Answer for crops, uint8 `[N, S, S, 3]`, BGR. Returns float32 `[N, C]`."""
        return self.answer_crops(crops)[0]

    def answer_crops(self, crops: Image) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        """Give all that the model answers for crops, uint8 `[N, S, S, 3]`, BGR.

        Returns:
            Probabilities, float32 `[N, C]`, and where in its crop each face is: x1, y1, x2, y2 in units of the crop's side, float32
            `[N, 4]`; None where the model does not tell.
        """
        parts = [self._answer(crops[start : start + self._batch]) for start in range(0, max(len(crops), 1), self._batch)]
        if len(parts) == 1:
            return parts[0]
        places = [part[1] for part in parts if part[1] is not None]
        return np.concatenate([part[0] for part in parts]), np.concatenate(places) if places else None

    def _answer(self, crops: Image) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        names = ["probabilities", "places"] if self.contract.places else ["probabilities"]
        try:
            answers = [np.asarray(answer, np.float32) for answer in self._session.run(names, {"faces": crops})]
        except Exception as error:
            raise ModelError(f"{self.path} opens but does not run: {' '.join(str(error).split())[:200].rstrip('.')}.") from error
        probabilities, places = answers[0], answers[1] if self.contract.places else None
        if probabilities.shape != (len(crops), len(self.labels)):
            shape = list(probabilities.shape)
            raise ModelError(f"{self.path} answers {shape} for {len(crops)} crops and {len(self.labels)} labels: export it again.")
        # NaN is in no comparison, so that it fails each.
        outside = probabilities.size and not (probabilities.min() >= -SUM_TOLERANCE)
        if outside or not (np.abs(probabilities.sum(axis=1) - 1) <= SUM_TOLERANCE).all():
            raise ModelError(
                f"{self.path} answers with {_first_wrong(probabilities)}, which are no probabilities: each is 0 to 1 and those of "
                "a face add up to 1. Its output lacks a softmax, or its numbers overflow (16-bit floats do): export it again."
            )
        if places is not None and (places.shape != (len(crops), 4) or not np.isfinite(places).all()):
            raise ModelError(
                f"{self.path} answers with places that are no boxes (NaN, infinity, or another shape): export it again."
            )
        return np.clip(probabilities, 0, 1), places
