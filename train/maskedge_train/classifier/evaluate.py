"""Evaluation of a trained classifier on labelled crops."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskedge.errors import UsageError
from maskedge.types import NOT_A_FACE
from maskedge_train.data.crops import Crops
from maskedge_train.shared.checkpoint import Card

from .checkpoint import ClassifierSpec, load_classifier, store_card
from .metrics import Predictions, probabilities
from .training import predict_crops

EMPTY = ("backgrounds", "generated")
"""Sources of pictures without people."""
_REJECTED = 0.97
"""Share of rejected false positives at which `kept_at_97` is measured."""


_CURVE = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.94, 0.97, 0.99)
"""Face probabilities of the curve of kept faces and rejected false positives."""


def predict_sets(checkpoint: Path, sets: Mapping[str, Crops]) -> tuple[ClassifierSpec, Card, list[Predictions], dict[str, Any]]:
    """Run a checkpoint's network on several sets of crops.

    Args:
        checkpoint: A checkpoint of `edge-train classifier`.
        sets: Crops by the name of their data set.

    Returns:
        The checkpoint's spec, its card, the predictions for each set, and for each set with
        negatives the rejection of false positives (`measure_rejection`).

    Raises:
        ModelError: The checkpoint is refused.
        UsageError: The data has a label that the network does not have.
    """
    net, spec, card = load_classifier(checkpoint)
    predictions, gates = [], {}
    for name, crops in sets.items():
        if unknown := set(crops.labels.tolist()) - set(spec.labels):
            raise UsageError(f"{name} has the label {min(unknown)!r}, which {checkpoint} does not have ({', '.join(spec.labels)}).")
        predictions.append(predict_crops(net, crops, spec.labels, name))
        if NOT_A_FACE in crops.labels:
            gates[name] = measure_rejection(predictions[-1], crops, spec.temperature)
    return spec, card, predictions, gates


def measure_rejection(predictions: Predictions, crops: Crops, temperature: float) -> dict[str, Any]:
    """Measure how well a network rejects the false positives of detectors.

    Args:
        predictions: The network's predictions for `crops`.
        crops: Labelled crops with negatives.
        temperature: Divisor of the logits.

    Returns:
        `rejected`: share of the `false_alarms` classified as `not_a_face`. These are detections in
            pictures without people and beside the face of a `faces` picture.
        `kept`: share of the labelled `faces` that get another label.
        `least_face`: face probability below which 97 % of the false positives lie.
        `kept_at_97`: share of faces above it.
        `curve`: rows of `face_threshold`, and the shares `kept` and `rejected` there. The threshold
            is that of a detector without scores, before the refinement of `edge-run`.
        A figure without data is None.
    """
    none = predictions.labels.index(NOT_A_FACE)
    rejected = predictions.logits.argmax(axis=1) == none
    probable = 1 - probabilities(predictions.logits, temperature)[:, none]
    false_positives = (crops.origins == "false alarm") & (crops.sources != "scenes")
    faces = crops.labels != NOT_A_FACE
    threshold = float(np.quantile(probable[false_positives], _REJECTED, method="higher")) if false_positives.any() else None
    both = threshold is not None and faces.any()

    def share(rows: npt.NDArray[np.bool_], bound: float) -> float | None:
        return round(float((probable[rows] >= bound).mean()), 4) if rows.any() else None

    curve = [(bound, share(faces, bound), share(false_positives, bound)) for bound in _CURVE]
    return {
        "least_face": None if threshold is None else round(threshold, 4),
        "kept_at_97": round(float((probable[faces] > threshold).mean()), 4) if both else None,
        "rejected": round(float(rejected[false_positives].mean()), 4) if false_positives.any() else None,
        "false_alarms": int(false_positives.sum()),
        "kept": round(float((~rejected[faces]).mean()), 4) if faces.any() else None,
        "faces": int(faces.sum()),
        "curve": [
            {"face_threshold": bound, "kept": kept, "rejected": None if passed is None else round(1 - passed, 4)}
            for bound, kept, passed in curve
        ],
    }


def reliable_rows(crops: Crops) -> npt.NDArray[np.int64]:
    """Return the rows with a certain label: int64 `[M]`.

    A part of a face is neither clearly a face nor clearly a negative, and a detection beside the
    labelled faces of a scene is often an unlabelled face. The result keeps faces, windows beside
    them, and all crops from pictures without people. Of `faces` pictures it also keeps the false
    positives, which the bundled classifier has checked.
    """
    doubtful = (crops.origins == "piece of a face") & ~np.isin(crops.sources, EMPTY)
    doubtful |= (crops.origins == "false alarm") & (crops.sources == "scenes")
    return np.flatnonzero(~doubtful)


def store_results(checkpoint: Path, report: Mapping[str, Any]) -> None:
    """Store a report's figures in the checkpoint as its card.

    Calibration bins and other long lists stay in the report.
    """
    _, spec, _ = load_classifier(checkpoint)
    evaluations = [
        {**part, "calibration": {key: value for key, value in part["calibration"].items() if key != "bins"}}
        for part in report["evaluations"]
    ]
    card = {key: value for key, value in report.items() if key not in ("schema", "comparison", "evaluations", "history", "notes")}
    store_card(checkpoint, spec, {**card, "evaluations": evaluations})
