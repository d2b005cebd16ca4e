"""The matching rule of all accuracy figures, and counts of the matches.

A prediction is correct if its box overlaps a labelled box (IoU >= 0.4) and the labels agree. Boxes
under 32 pixels (geometric mean of the sides, in the picture scaled to at most 640 pixels) are
ignored on both sides. Labelled boxes whose label is not measured are ignored. Predictions on these
boxes are ignored, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from maskedge.boxes import box_iou, side
from maskedge.labelled_boxes import LabelledBox
from maskedge.types import Face

TWO = ("with_mask", "without_mask")
THREE = (*TWO, "incorrect_mask")
OVERLAP = 0.4
"""Overlap (IoU) from which two boxes show the same face."""
CONFIDENT = 0.9
"""Probability from which the label of a single frame counts as true."""
LEAST_SIDE = 32
LONGEST_SIDE = 640
SIZES = (LEAST_SIDE, 48, 64, 96, 128, 192)
"""Lower bounds of the size classes, in pixels of the picture scaled to at most `LONGEST_SIDE`."""
DRAWS = 2000
"""Number of bootstrap draws for the interval of F1."""
_INTERVAL = 2.5, 97.5
"""Percentiles of the bootstrap draws that bound the interval of F1."""


def match(
    truths: Sequence[LabelledBox], faces: Sequence[Face]
) -> tuple[list[tuple[LabelledBox, Face]], list[LabelledBox], list[Face]]:
    """Match labelled boxes and faces greedily, in descending order of confidence.

    Returns:
        The pairs, the missed labelled boxes, and the faces without a labelled box.
    """
    free, pairs, false = list(truths), [], []
    for face in sorted(faces, key=lambda face: face.score, reverse=True):
        best = max(free, key=lambda truth: box_iou(truth.box, face.box), default=None)
        if best is not None and box_iou(best.box, face.box) >= OVERLAP:
            free.remove(best)
            pairs.append((best, face))
        else:
            false.append(face)
    return pairs, free, false


@dataclass
class DetectionCounts:
    """Counts over pictures, by label.

    Attributes:
        labels: Measured labels.
        labelled: Labelled faces.
        found: Labelled faces with a matching box.
        right: Labelled faces with a matching box and label.
        predicted: Predicted faces.
        sizes: Counts by index of the size class, label, and kind (`labelled`, `found`, `right`).
    """

    labels: tuple[str, ...] = TWO
    labelled: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    predicted: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    _totals: list[tuple[int, int, int]] = field(default_factory=list, init=False, repr=False)

    def add(self, truths: Sequence[LabelledBox], faces: Sequence[Face], scale: float) -> None:
        """Count one picture.

        Args:
            truths: Labelled boxes of the picture.
            faces: Predicted faces of the picture.
            scale: Factor from pixels of the picture to pixels of the matching rule.
        """
        pairs, _, false = match(truths, faces)
        for truth, face in pairs:
            if self._counts(truth, scale):
                right = face.label == truth.label
                self.found[truth.label] += 1
                self.predicted[face.label] += 1
                self.right[truth.label] += right
                self._add_size(truth, scale, "found")
                if right:
                    self._add_size(truth, scale, "right")
        self.predicted.update(face.label for face in false if side(face.box) * scale >= LEAST_SIDE)
        for truth in truths:
            if self._counts(truth, scale):
                self.labelled[truth.label] += 1
                self._add_size(truth, scale, "labelled")
        self._totals.append((self.right.total(), self.predicted.total(), self.labelled.total()))

    def _counts(self, truth: LabelledBox, scale: float) -> bool:
        return truth.label in self.labels and side(truth.box) * scale >= LEAST_SIDE

    def _add_size(self, truth: LabelledBox, scale: float, what: str) -> None:
        self.sizes[sum(side(truth.box) * scale >= bound for bound in SIZES) - 1, truth.label, what] += 1

    def figures(self) -> dict[str, Any]:
        """Return the share found, precision, recall and F1, by label and in total."""
        by_label = {
            label: {"labelled": self.labelled[label], "found": ratio(self.found[label], self.labelled[label])}
            | _scores(self.right[label], self.predicted[label], self.labelled[label])
            for label in self.labels
        }
        predicted = sum(self.predicted.values())
        return {"labels": by_label, "together": _scores(self.right.total(), predicted, self.labelled.total())}

    def by_picture(self) -> npt.NDArray[np.int64]:
        """Return the right, predicted and labelled faces of each picture, int64 `[pictures, 3]`."""
        return np.diff(np.array(self._totals, np.int64).reshape(-1, 3), axis=0, prepend=0)

    def f1_interval(self) -> list[float]:
        """Return the 95 % bootstrap interval of F1 (`f1_of_draws`)."""
        return f1_of_draws(self.by_picture())

    def by_size(self) -> list[dict[str, Any]]:
        """Return the number of faces and the shares found and right, by size class and label."""
        rows = []
        for index, (least, below) in enumerate(pairwise((*SIZES, None))):
            labels = {}
            for label in self.labels:
                labelled, found, right = (self.sizes[index, label, what] for what in ("labelled", "found", "right"))
                labels[label] = {"labelled": labelled, "found": ratio(found, labelled), "right": ratio(right, labelled)}
            rows.append({"from": least, "below": below, "labels": labels})
        return rows


def f1_of_draws(counts: npt.NDArray[np.int64]) -> list[float]:
    """Return the 95 % bootstrap interval of F1 (Efron, 1979).

    Each draw takes as many pictures as there are, with replacement. It draws whole pictures,
    because the faces of one picture are alike.

    Args:
        counts: Right, predicted and labelled faces of each picture, int64 `[pictures, 3]`.
    """
    if not len(counts):
        return [0.0, 0.0]
    drawn = np.random.default_rng(0).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), DRAWS)
    right, predicted, labelled = (drawn @ counts).T
    f1 = 2 * right / np.maximum(predicted + labelled, 1)
    return [round(float(bound), 4) for bound in np.percentile(f1, _INTERVAL)]


def ratio(part: float, whole: float) -> float:
    """Return `part / whole` rounded to four digits, or 0 if `whole` is 0."""
    return round(part / whole, 4) if whole else 0.0


def _scores(right: int, predicted: int, labelled: int) -> dict[str, float]:
    return {"precision": ratio(right, predicted), "recall": ratio(right, labelled), "f1": ratio(2 * right, predicted + labelled)}
