"""Predictions of a network for labelled crops, and the metrics computed from them."""

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
"""Number of confidence bins of equal width, as in Guo et al. 2017."""
_TWO = ("with_mask", "without_mask")


@dataclass(frozen=True)
class Predictions:
    """Predictions of a network for labelled crops.

    Attributes:
        name: Name of the data, such as `faces test`.
        labels: The C labels in output order.
        logits: float32 `[N, C]`, before the temperature.
        targets: int64 `[N]`, the true classes.
        files: File name of each of the N crops, with the part of the file it shows.
        crops: uint8 `[N, S, S, 3]`, BGR, the network's inputs.
    """

    name: str
    labels: tuple[str, ...]
    logits: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]
    files: list[str]
    crops: Image


def probabilities(logits: npt.NDArray[np.float32], temperature: float = 1.0) -> npt.NDArray[np.float32]:
    """Return the softmax of logits divided by `temperature`, in a numerically stable way.

    Args:
        logits: float32 `[N, C]`.
        temperature: Divisor of the logits.

    Returns:
        float32 `[N, C]`.
    """
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def measure(predictions: Predictions, temperature: float, unsure_below: float) -> dict[str, Any]:
    """Compute the metrics of a network's predictions.

    Metrics that the data does not define are None: recall, F1 and areas under the curves of a label
    without crops (which the macro average leaves out), precision of a label that was never
    predicted, ROC AUC of a label that all crops have.

    Args:
        predictions: The predictions.
        temperature: Divisor of the logits.
        unsure_below: Top probability below which an answer is unsure.

    Returns:
        JSON types only, fractions rounded to 4 digits: `name`, `pictures`, `accuracy`, `macro_f1`,
            `labels` (label to `precision`, `recall`, `f1`, `count`, `roc_auc`,
            `average_precision`), `confusion` (rows: truth, columns: prediction), `calibration`
            (`temperature`, `ece_before`, `ece_after`, `nll_before`, `nll_after`, `bins`: see
            `calibration_bins`), and `unsure` (`below`, `share_unsure`, `accuracy_of_the_sure`). If
            crops with and without a mask occur, `two_way` is the accuracy on these alone: `strict`
            over all labels, `two_labels` over the likelier of the two.

    Raises:
        UsageError: There are no predictions, or some are not finite.
    """
    if not len(predictions.targets):
        raise UsageError(f"there is nothing to measure: {predictions.name!r} has no crops.")
    if not np.isfinite(predictions.logits).all():
        raise UsageError(
            f"the net's predictions for {predictions.name!r} are not finite because training diverged: lower the learning rate."
        )
    before, after = probabilities(predictions.logits), probabilities(predictions.logits, temperature)
    predicted = predictions.logits.argmax(axis=1)
    top = after.max(axis=1)
    confident = top >= unsure_below
    result: dict[str, Any] = {
        "name": predictions.name,
        "pictures": len(predictions.targets),
        **_by_label(predictions, predicted, after),
        "calibration": {
            "temperature": round(float(temperature), 4),
            "ece_before": calibration_error(before, predictions.targets),
            "ece_after": calibration_error(after, predictions.targets),
            "nll_before": _nll(predictions, 1.0),
            "nll_after": _nll(predictions, temperature),
            "bins": calibration_bins(after, predictions.targets),
        },
        "unsure": {
            "below": round(float(unsure_below), 4),
            "share_unsure": _mean(~confident),
            "accuracy_of_the_sure": _mean((predicted == predictions.targets)[confident]),
        },
    }
    present = {predictions.labels[target] for target in np.unique(predictions.targets).tolist()}
    if present.issuperset(_TWO):
        first, second = (predictions.labels.index(label) for label in _TWO)
        rows = np.isin(predictions.targets, (first, second))
        likelier = np.where(predictions.logits[:, first] >= predictions.logits[:, second], first, second)
        result["two_way"] = {
            "strict": _mean((predicted == predictions.targets)[rows]),
            "two_labels": _mean((likelier == predictions.targets)[rows]),
        }
    return result


def calibration_error(probs: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]) -> float:
    """Return the expected calibration error over 15 bins (Guo et al. 2017).

    Args:
        probs: float32 `[N, C]`, probabilities.
        targets: int64 `[N]`, the true classes.
    """
    error = multiclass_calibration_error(
        torch.from_numpy(_below_one(probs)), torch.from_numpy(targets), num_classes=probs.shape[1], n_bins=BINS
    )
    return round(float(error), 4)


def calibration_bins(probs: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """Group predictions into the 15 bins of `calibration_error`.

    Args:
        probs: float32 `[N, C]`, probabilities.
        targets: int64 `[N]`, the true classes.

    Returns:
        For each bin in ascending order its mean `confidence` and `accuracy` (None if empty) and its
        `count`.
    """
    top = _below_one(probs).max(axis=1)
    right = probs.argmax(axis=1) == targets
    edges = torch.linspace(0, 1, BINS + 1).numpy()
    number = np.digitize(top, edges) - 1
    rows = [number == index for index in range(BINS)]
    return [{"confidence": _mean(top[row]), "accuracy": _mean(right[row]), "count": int(row.sum())} for row in rows]


def _below_one(probs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Clip probabilities to below 1. torchmetrics puts a probability of 1 into a sixteenth bin."""
    return np.asarray(np.minimum(probs, np.nextafter(np.float32(1), np.float32(0))), np.float32)


def _by_label(predictions: Predictions, predicted: npt.NDArray[np.int64], probs: npt.NDArray[np.float32]) -> dict[str, Any]:
    classes = len(predictions.labels)
    truth, answer = torch.from_numpy(predictions.targets), torch.from_numpy(predicted)
    confusion = multiclass_confusion_matrix(answer, truth, num_classes=classes)
    precision = multiclass_precision(answer, truth, num_classes=classes, average="none")
    recall = multiclass_recall(answer, truth, num_classes=classes, average="none")
    f1 = multiclass_f1_score(answer, truth, num_classes=classes, average="none")
    counts, answered = confusion.sum(dim=1), confusion.sum(dim=0)
    by_label = {}
    for index, label in enumerate(predictions.labels):
        count = int(counts[index])
        # Compute one label against the rest. torchmetrics' multiclass metrics do the same, but warn
        # about absent labels and return 0 for them.
        own, of_label = torch.from_numpy(probs[:, index]), (truth == index).long()
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
        # torchmetrics' macro F1 counts a label that was predicted but never true as 0.
        "macro_f1": round(float(f1[counts > 0].mean()), 4),
        "labels": by_label,
        "confusion": confusion.tolist(),
    }


def _nll(predictions: Predictions, temperature: float) -> float:
    logits = torch.from_numpy(predictions.logits).double() / temperature
    return round(float(functional.cross_entropy(logits, torch.from_numpy(predictions.targets))), 4)


def _mean(values: npt.NDArray[Any]) -> float | None:
    """Return the rounded mean; None for no values."""
    return round(float(values.mean(dtype=np.float64)), 4) if len(values) else None
