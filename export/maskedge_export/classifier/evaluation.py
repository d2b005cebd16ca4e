"""Crops for an export: training crops to calibrate the int8 file, held-out crops to measure."""

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
"""Maximum number of training pictures to calibrate on, evenly spread."""


@dataclass(frozen=True)
class Evaluation:
    """Crops to calibrate and to measure on.

    Attributes:
        calibration: Crops of the training part, uint8 `[N, S, S, 3]`, BGR.
        tests: Held-out crops.
    """

    calibration: Image
    tests: tuple[Crops, ...]

    @property
    def crops(self) -> Image:
        """All held-out crops: uint8 `[M, S, S, 3]`, BGR."""
        return np.concatenate([test.exact for test in self.tests])

    def targets(self, labels: tuple[str, ...]) -> npt.NDArray[np.int64]:
        """Return the labels of the held-out crops as indices into `labels`, int64 `[M]`."""
        return np.concatenate([test.targets(labels) for test in self.tests])


def load_evaluation(dataset: DataSet, split_file: Path, labels: tuple[str, ...], tests: tuple[Crops, ...] = ()) -> Evaluation:
    """Cut the crops of the training and test parts of a split.

    Args:
        dataset: The data of the split.
        split_file: split.json of the training.
        labels: Labels of the network. Crops with other labels are left out.
        tests: Further held-out crops, from other data.

    Raises:
        UsageError: The split belongs to other data, or no held-out crop is left.
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
        raise UsageError(f"{split_file} has no test part: give --test-scenes, or another split.")
    return Evaluation(calibration.exact, tests)
