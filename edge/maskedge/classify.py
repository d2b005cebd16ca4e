"""Crops in, probabilities out, one batch a frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskedge.crop import crop_faces
from maskedge.errors import ModelError
from maskedge.model import ClassifierContract, default_model, open_session, read_contract, read_model
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
        if not boxes:
            return np.empty((0, len(self.labels)), np.float32)
        return self.classify_crops(crop_faces(image, boxes, self.contract.crop, self.contract.size))

    def classify_crops(self, crops: Image) -> npt.NDArray[np.float32]:
        """Answer for crops, uint8 `[N, S, S, 3]`, BGR. Returns float32 `[N, C]`."""
        (probabilities,) = self._session.run(["probabilities"], {"faces": crops})
        return np.asarray(probabilities, np.float32)
