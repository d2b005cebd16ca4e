"""The crops that smaller numbers are calibrated on (training part) and measured on (test part, and data of their own)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskedge.errors import UsageError
from maskedge.types import Image
from maskedge_train.data.crops import Crops, cut_crops
from maskedge_train.data.dataset import DataSet
from maskedge_train.data.split import PARTS, Split

CALIBRATION = 400
"""Most pictures of the training part to calibrate on, evenly spread."""


@dataclass(frozen=True)
class Evaluation:
    """What to calibrate and to measure on.

    Attributes:
        calibration: uint8 `[N, S, S, 3]`, BGR, crops of the training part.
        tests: Crops that the net never saw.
    """

    calibration: Image
    tests: tuple[Crops, ...]

    @property
    def crops(self) -> Image:
        """All crops to measure on: uint8 `[M, S, S, 3]`, BGR."""
        return np.concatenate([test.exact for test in self.tests])

    def targets(self, labels: tuple[str, ...]) -> npt.NDArray[np.int64]:
        """Give their labels as indices into `labels`, int64 `[M]`."""
        return np.concatenate([test.targets(labels) for test in self.tests])


def load_evaluation(dataset: DataSet, split_file: Path, labels: tuple[str, ...], tests: tuple[Crops, ...] = ()) -> Evaluation:
    """Cut what a split says is for training and for the test.

    Args:
        dataset: The data that the split was made of.
        split_file: split.json of the training.
        labels: What the net knows; crops of other labels are left out.
        tests: Further crops to measure on, of data of their own.

    Raises:
        UsageError: The split is of other data, or nothing is left to measure on.
    """
    parts = Split.load(split_file).part_of(dataset)
    train = np.flatnonzero(parts == PARTS.index("train"))
    train = train[np.linspace(0, len(train) - 1, min(CALIBRATION, len(train))).astype(int)]
    test = np.flatnonzero(parts == PARTS.index("test"))
    negatives = "not_a_face" in labels
    calibration = cut_crops(
        dataset.take(train.tolist()), parts[train], negatives=negatives, negatives_from_faces=True, painted=False
    )
    calibration = calibration.with_labels(labels)
    if len(test):
        tests = (cut_crops(dataset.take(test.tolist()), parts[test], negatives=False, painted=False).with_labels(labels), *tests)
    if not tests or not sum(len(own.labels) for own in tests):
        raise UsageError(f"{split_file} keeps nothing for the test: give --test-scenes, or a split with a test part.")
    return Evaluation(calibration.exact, tests)
