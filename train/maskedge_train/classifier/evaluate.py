"""Measuring a trained classifier on labelled data, and writing the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskedge.errors import UsageError
from maskedge.types import NOT_A_FACE
from maskedge_train.data.crops import Crops
from maskedge_train.reports.report import write_report

from .checkpoint import ClassifierSpec, add_results, load_classifier
from .metrics import Answers, probabilities
from .robustness import measure_limits
from .training import answer

Card = dict[str, Any]
EMPTY = ("backgrounds", "generated")
"""Sources of pictures without people."""
_REJECTED = 0.97
"""Share of the detectors' false alarms at which `kept_at_97` is measured."""


def judge(checkpoint: Path, sets: Mapping[str, Crops]) -> tuple[ClassifierSpec, Card, list[Answers], dict[str, Any]]:
    """Let a checkpoint's net answer for several sets of crops.

    Args:
        checkpoint: A checkpoint of `edge-train classifier`.
        sets: Crops by the name of their data.

    Returns:
        What the checkpoint tells of its net, its card, the answers set by set, and for each set with negatives how the net does as
        a gate behind a detector (`gate`).

    Raises:
        ModelError: The checkpoint is refused.
        UsageError: The data has a label that the net does not know.
    """
    net, spec, card = load_classifier(checkpoint)
    answers, gates = [], {}
    for name, crops in sets.items():
        if unknown := set(crops.labels.tolist()) - set(spec.labels):
            raise UsageError(f"{name} has the label {min(unknown)!r}, which {checkpoint} does not know ({', '.join(spec.labels)}).")
        answers.append(answer(net, crops, spec.labels, name))
        if NOT_A_FACE in crops.labels:
            gates[name] = gate(answers[-1], crops, spec.temperature)
    return spec, card, answers, gates


def gate(answers: Answers, crops: Crops, temperature: float) -> dict[str, float | int | None]:
    """Measure how well a net throws out what detectors should not have found.

    Returns:
        `rejected`, the share of `false_alarms` (detectors' answers on pictures without people, and beside the face of a picture of
        `faces`) that it calls `not_a_face`, and
        `kept`, the share of labelled `faces` that it does not; `least_face`, the probability of a face below which lie 97 % of the
        false alarms, and `kept_at_97`, the share of faces above it.
    """
    none = answers.labels.index(NOT_A_FACE)
    rejected = answers.logits.argmax(axis=1) == none
    probable = 1 - probabilities(answers.logits, temperature)[:, none]
    alarms = (crops.origins == "false alarm") & (crops.sources != "scenes")
    faces = crops.labels != NOT_A_FACE
    least = float(np.quantile(probable[alarms], _REJECTED, method="higher")) if alarms.any() else None
    both = least is not None and faces.any()
    return {
        "least_face": None if least is None else round(least, 4),
        "kept_at_97": round(float((probable[faces] > least).mean()), 4) if both else None,
        "rejected": round(float(rejected[alarms].mean()), 4) if alarms.any() else None,
        "false_alarms": int(alarms.sum()),
        "kept": round(float((~rejected[faces]).mean()), 4) if faces.any() else None,
        "faces": int(faces.sum()),
    }


def measurable(crops: Crops) -> npt.NDArray[np.int64]:
    """Give the rows, int64 `[M]`, whose label is beyond doubt.

    Pieces of faces are a matter of degree, and what a cascade finds beside the labelled faces of a scene is too often a face that
    nobody labelled. Left are the faces, windows off them, and everything from pictures without people; of pictures of `faces` also
    the false alarms, which the bundled classifier has checked.
    """
    doubtful = (crops.origins == "piece of a face") & ~np.isin(crops.sources, EMPTY)
    doubtful |= (crops.origins == "false alarm") & (crops.sources == "scenes")
    return np.flatnonzero(~doubtful)


def report_on(
    checkpoint: Path,
    sets: Mapping[str, Crops],
    out: Path,
    *,
    facts: Mapping[str, Any],
    history: Sequence[Mapping[str, float]] = (),
    comparison: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure a checkpoint and write report.json, report.html and the charts to `out`. Gives the content of report.json."""
    spec, _, answers, gates = judge(checkpoint, sets)
    limits = measure_limits(load_classifier(checkpoint)[0], spec, next(iter(sets.values())))
    measured = {**({"gate": gates} if gates else {}), **({"limits": limits} if limits else {})}
    return write_report(
        out,
        f"{spec.net}: what it learnt",
        answers,
        temperature=spec.temperature,
        unsure_below=spec.unsure_below,
        facts={**facts, "labels": list(spec.labels), **measured},
        history=history,
        comparison=comparison,
    )


def enter_results(checkpoint: Path, report: Mapping[str, Any]) -> None:
    """Write a report's figures into the checkpoint as its card; calibration bins and the like stay in the report."""
    _, spec, _ = load_classifier(checkpoint)
    evaluations = [
        {**part, "calibration": {key: value for key, value in part["calibration"].items() if key != "bins"}}
        for part in report["evaluations"]
    ]
    card = {key: value for key, value in report.items() if key not in ("schema", "comparison", "evaluations", "history", "notes")}
    add_results(checkpoint, spec, {**card, "evaluations": evaluations})
