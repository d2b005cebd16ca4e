"""Crops in, probabilities out, one batch a frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskedge.crop import crop_faces
from maskedge.errors import ModelError
from maskedge.model import ClassifierContract, default_model, open_session, read_contract, read_model
from maskedge.overlap import as_box
from maskedge.types import Box, Image


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
        self._session = open_session(read_model(self.path), str(self.path), threads)
        self.contract: ClassifierContract = read_contract(self._session, str(self.path))
        # The graph must also run: a file may keep the contract on paper and fail inside.
        size = self.contract.size
        try:
            self.classify_crops(np.zeros((1, size, size, 3), np.uint8))
        except Exception as error:
            raise ModelError(f"{self.path} opens but does not run: {' '.join(str(error).split())[:200]}") from error

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
        names = ["probabilities", "places"] if self.contract.places else ["probabilities"]
        answers = [np.asarray(answer, np.float32) for answer in self._session.run(names, {"faces": crops})]
        return answers[0], answers[1] if self.contract.places else None
