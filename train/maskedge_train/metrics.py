"""Figures of a classifier on labelled pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def classification_metrics(
    probabilities: npt.NDArray[np.float32], targets: npt.NDArray[np.int64], labels: Sequence[str]
) -> dict[str, Any]:
    """Measure accuracy, and precision, recall and F1 of each label.

    Args:
        probabilities: float32 `[N, C]`.
        targets: int64 `[N]`, the right answers.
        labels: The C labels in the order of the columns.

    Returns:
        `pictures`, `accuracy`, `confusion` (rows: truth, columns: answer) and `labels`: label to its three figures.
    """
    answers = probabilities.argmax(axis=1)
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (targets, answers), 1)
    right = confusion.diagonal()
    by_label = {}
    for index, label in enumerate(labels):
        precision = right[index] / max(int(confusion[:, index].sum()), 1)
        recall = right[index] / max(int(confusion[index].sum()), 1)
        f1 = 2 * precision * recall / max(precision + recall, 1e-12)
        by_label[label] = {
            "precision": round(float(precision), 4),
            "recall": round(float(recall), 4),
            "f1": round(float(f1), 4),
        }
    return {
        "pictures": len(targets),
        "accuracy": round(float(right.sum() / max(len(targets), 1)), 4),
        "confusion": confusion.tolist(),
        "labels": by_label,
    }
