"""What a net said of labelled crops, and the figures that this comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

from maskedge.errors import UsageError
from maskedge.types import Image

BINS = 15
"""Bins of confidence, equally wide, as in Guo et al. 2017."""
_TWO = ("with_mask", "without_mask")


@dataclass(frozen=True)
class Answers:
    """What a net said of labelled crops.

    Attributes:
        name: Which data, as in `faces test`.
        labels: The C labels in output order.
        logits: float32 `[N, C]`, before the temperature.
        targets: int64 `[N]`, the right answers.
        files: File name of each of the N crops, with what part of the file it is.
        crops: uint8 `[N, S, S, 3]`, BGR, what the net saw.
    """

    name: str
    labels: tuple[str, ...]
    logits: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]
    files: list[str]
    crops: Image


def probabilities(logits: npt.NDArray[np.float32], temperature: float = 1.0) -> npt.NDArray[np.float32]:
    """Give the softmax, float32 `[N, C]`, of float32 `[N, C]` logits divided by `temperature`; no logit is too large for it."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def measure(answers: Answers, temperature: float, unsure_below: float) -> dict[str, Any]:
    """Measure a net's answers.

    A figure that the data does not define is None: recall, F1 and the areas under the curves of a label that no crop has (it stays
    out of the macro average too), precision of a label that was never the answer, ROC AUC of a label that every crop has.

    Args:
        answers: What the net said.
        temperature: What the logits are divided by.
        unsure_below: Top probability below which an answer counts as unsure.

    Returns:
        JSON types only, fractions rounded to 4 digits: `name`, `pictures`, `accuracy`, `macro_f1`, `labels` (label to its
        `precision`, `recall`, `f1`, `count`, `roc_auc`, `average_precision`), `confusion` (rows: truth, columns: answer),
        `calibration` (`temperature`, `ece_before`, `ece_after`, `nll_before`, `nll_after`, `bins`: see `calibration_bins`),
        `unsure` (`below`, `share_unsure`, `accuracy_of_the_sure`), and `two_way` where crops with and without mask occur: accuracy
        on these alone, `strict` where the best of all labels must be right, `two_labels` where the likelier of the two must be.

    Raises:
        UsageError: There are no answers, or some are not numbers.
    """
    if not len(answers.targets):
        raise UsageError(f"there is nothing to measure: {answers.name!r} has no crops.")
    if not np.isfinite(answers.logits).all():
        raise UsageError(f"the net's answers on {answers.name!r} are not numbers: training diverged, lower the learning rate.")
    before, after = probabilities(answers.logits), probabilities(answers.logits, temperature)
    said = answers.logits.argmax(axis=1)
    top = after.max(axis=1)
    sure = top >= unsure_below
    result: dict[str, Any] = {
        "name": answers.name,
        "pictures": len(answers.targets),
        **_by_label(answers, said, after),
        "calibration": {
            "temperature": round(float(temperature), 4),
            "ece_before": calibration_error(before, answers.targets),
            "ece_after": calibration_error(after, answers.targets),
            "nll_before": _nll(answers, 1.0),
            "nll_after": _nll(answers, temperature),
            "bins": calibration_bins(after, answers.targets),
        },
        "unsure": {
            "below": round(float(unsure_below), 4),
            "share_unsure": _mean(~sure),
            "accuracy_of_the_sure": _mean((said == answers.targets)[sure]),
        },
    }
    present = {answers.labels[target] for target in np.unique(answers.targets).tolist()}
    if present.issuperset(_TWO):
        first, second = (answers.labels.index(label) for label in _TWO)
        rows = np.isin(answers.targets, (first, second))
        likelier = np.where(answers.logits[:, first] >= answers.logits[:, second], first, second)
        result["two_way"] = {
            "strict": _mean((said == answers.targets)[rows]),
            "two_labels": _mean((likelier == answers.targets)[rows]),
        }
    return result


def calibration_error(chances: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]) -> float:
    """Give the expected calibration error over 15 bins of float32 `[N, C]` probabilities (Guo et al. 2017)."""
    error = multiclass_calibration_error(
        torch.from_numpy(_below_one(chances)), torch.from_numpy(targets), num_classes=chances.shape[1], n_bins=BINS
    )
    return round(float(error), 4)


def calibration_bins(chances: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """Sort answers into the 15 bins by which `calibration_error` counts.

    Args:
        chances: float32 `[N, C]`, probabilities.
        targets: int64 `[N]`, the right answers.

    Returns:
        For each bin, upwards, its mean `confidence` and `accuracy` (None where it is empty) and its `count`.
    """
    top = _below_one(chances).max(axis=1)
    right = chances.argmax(axis=1) == targets
    edges = torch.linspace(0, 1, BINS + 1).numpy()
    number = np.digitize(top, edges) - 1
    rows = [number == index for index in range(BINS)]
    return [{"confidence": _mean(top[row]), "accuracy": _mean(right[row]), "count": int(row.sum())} for row in rows]


def _below_one(chances: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Keep probabilities below 1: torchmetrics would count those of exactly 1 in a sixteenth bin of their own."""
    return np.asarray(np.minimum(chances, np.nextafter(np.float32(1), np.float32(0))), np.float32)


def _by_label(answers: Answers, said: npt.NDArray[np.int64], chances: npt.NDArray[np.float32]) -> dict[str, Any]:
    classes = len(answers.labels)
    truth, answer = torch.from_numpy(answers.targets), torch.from_numpy(said)
    confusion = multiclass_confusion_matrix(answer, truth, num_classes=classes)
    precision = multiclass_precision(answer, truth, num_classes=classes, average="none")
    recall = multiclass_recall(answer, truth, num_classes=classes, average="none")
    f1 = multiclass_f1_score(answer, truth, num_classes=classes, average="none")
    counts, answered = confusion.sum(dim=1), confusion.sum(dim=0)
    by_label = {}
    for index, label in enumerate(answers.labels):
        count = int(counts[index])
        # One against the rest, which is what torchmetrics' multiclass figures are too: those warn of absent labels and give 0.
        own, of_label = torch.from_numpy(chances[:, index]), (truth == index).long()
        by_label[label] = {
            "precision": round(float(precision[index]), 4) if answered[index] else None,
            "recall": round(float(recall[index]), 4) if count else None,
            "f1": round(float(f1[index]), 4) if count else None,
            "count": count,
            "roc_auc": round(float(binary_auroc(own, of_label)), 4) if 0 < count < len(truth) else None,
            "average_precision": round(float(binary_average_precision(own, of_label)), 4) if count else None,
        }
    return {
        "accuracy": round(float(multiclass_accuracy(answer, truth, num_classes=classes, average="micro")), 4),
        # torchmetrics' macro F1 counts a label that was answered but never true as 0.
        "macro_f1": round(float(f1[counts > 0].mean()), 4),
        "labels": by_label,
        "confusion": confusion.tolist(),
    }


def _nll(answers: Answers, temperature: float) -> float:
    logits = torch.from_numpy(answers.logits).double() / temperature
    return round(float(functional.cross_entropy(logits, torch.from_numpy(answers.targets))), 4)


def _mean(values: npt.NDArray[Any]) -> float | None:
    """Give the mean, rounded; None of nothing."""
    return round(float(values.mean(dtype=np.float64)), 4) if len(values) else None
