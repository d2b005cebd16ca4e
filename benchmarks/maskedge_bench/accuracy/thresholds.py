"""Operating points: face thresholds by detector and domain, chosen on curves of held-out pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskedge.errors import UsageError
from maskedge.settings import DOMAINS
from maskedge.system.host import host_facts

from .detection_counts import TWO, DetectionCounts, ratio
from .scored_pictures import PictureSet, Scorer, score_pictures, source_of

SCHEMA = "maskedge.thresholds/1"
BOUNDS = tuple(
    round(float(bound), 4)
    for bound in (*np.arange(0.05, 0.5, 0.05), *np.arange(0.5, 0.9, 0.02), *np.arange(0.9, 0.99, 0.01), 0.99, 0.995, 0.998)
)
"""Face thresholds of the curve."""
WEIGHTS: Mapping[str, Mapping[str, float]] = {
    "webcam": {"^ilc": 1, "^webcam": 1, "^robo": 1, "^lfw": 0.2, "^flickr": 0.5, "^smoke": 0.2},
    "crowds": {"^web_": 1, "^kaggle": 1, "^haon": 1},
}
"""Weight of a picture by a regular expression for its file name, by domain. A picture that matches
none does not count."""
NEAR_BEST = 0.002
"""`balanced`: fewest false alarms among the thresholds whose F1 is this close to the best."""
HIGH_PRECISION = 0.98
"""`high`: least precision, if it can be reached. At least half of the wrong faces of `balanced` go."""
_LOST_RECALL = 0.1
"""`high`: most recall to lose against `balanced`."""
MOST_ALARMS = 0.02
"""`recall`: most false alarms per background."""
_LEAST_PRECISION = 0.9
"""`recall`: least precision."""


def measure_thresholds(
    pictures: PictureSet,
    scorers: Sequence[Scorer],
    weights: Mapping[str, Mapping[str, float]] | None = None,
    *,
    held_out: bool = False,
    progress: Callable[[int], None] = lambda total: None,
) -> dict[str, Any]:
    """Measure the curve of every pipeline and domain, and choose the operating points.

    Args:
        pictures: The pictures.
        scorers: The pipelines.
        weights: Weights by regular expression, by domain. A domain without a matching picture is left
            out. None: `WEIGHTS`, and if no picture matches those, all count as `webcam`.
        held_out: True if `pictures` are those that trainings hold out; a note for the reader.
        progress: Called after each picture with the total number of pictures.

    Raises:
        UsageError: A picture cannot be read, or none has a given weight.
    """
    names = list(pictures.names.values())
    chosen = WEIGHTS if weights is None else weights
    by_domain = {domain: _weights(names, own) for domain, own in chosen.items()}
    used = {domain: (dict(chosen[domain]), own) for domain, own in by_domain.items() if own.any()}
    if not used and weights is not None:
        raise UsageError("no file name of a picture matches a --weight: leave --weight out, and all pictures count as webcam.")
    used = used or {DOMAINS[0]: ({"": 1.0}, np.ones(len(names)))}
    # [scorers, bounds, pictures, 3]: right, predicted and labelled faces.
    counts = np.zeros((len(scorers), len(BOUNDS), len(names), 3))
    alarms = np.zeros((len(scorers), len(BOUNDS)))
    for number, (path, _, scored) in enumerate(score_pictures(pictures, scorers, progress)):
        for row, own in enumerate(scored):
            for column, bound in enumerate(BOUNDS):
                if path in pictures.scenes:
                    one = DetectionCounts(TWO)
                    one.add(pictures.scenes[path], own.select(bound)[1], own.scale)
                    counts[row, column, number] = one.by_picture()[0]
                else:
                    alarms[row, column] += own.false_alarms(bound)
    backgrounds = len(pictures.backgrounds)
    rows = [
        _measured(scorer, domain, patterns, own, counts[row], alarms[row] / backgrounds if backgrounds else None, names)
        | {"backgrounds": backgrounds}
        for row, scorer in enumerate(scorers)
        for domain, (patterns, own) in used.items()
    ]
    return {
        "schema": SCHEMA,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "pictures": len(names),
        "backgrounds": backgrounds,
        "held_out": held_out,
        "facts": host_facts(),
        "rows": rows,
    }


def _weights(names: Sequence[str], patterns: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Return the weight of each picture, that of the first expression which matches its file name."""
    files = [Path(name).name for name in names]
    found = [next((weight for pattern, weight in patterns.items() if re.search(pattern, file)), 0.0) for file in files]
    return np.array(found, np.float64)


def _measured(
    scorer: Scorer,
    domain: str,
    patterns: Mapping[str, float],
    weights: npt.NDArray[np.float64],
    counts: npt.NDArray[np.float64],
    alarms: npt.NDArray[np.float64] | None,
    names: Sequence[str],
) -> dict[str, Any]:
    curve = []
    for column, bound in enumerate(BOUNDS):
        right, predicted, labelled = (weights @ counts[column]).tolist()
        curve.append(
            {
                "face_threshold": bound,
                "precision": ratio(right, predicted),
                "recall": ratio(right, labelled),
                "f1": ratio(2 * right, predicted + labelled),
                "false_alarms_a_background": None if alarms is None else round(float(alarms[column]), 4),
            }
        )
    counted = weights > 0
    sources = sorted({source_of(name) for name, kept in zip(names, counted, strict=True) if kept})
    return {
        "detector": scorer.name,
        **scorer.facts(),
        "domain": domain,
        "weights": dict(patterns),
        "sources": {source: sum(source_of(name) == source for name in np.array(names)[counted]) for source in sources},
        "pictures": int(counted.sum()),
        "faces": int(counts[0, counted, 2].sum()),
        "default": round(scorer.detector.detector.default_threshold, 4),
        "points": choose_points(curve),
        "curve": curve,
    }


def choose_points(curve: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Choose the face threshold of each operating point.

    - `balanced`: the fewest false alarms among the thresholds whose F1 is within `NEAR_BEST` of
      the best; of equal ones that with the best F1.
    - `high`: the lowest threshold with half of the wrong faces of `balanced` or fewer, and a
      precision of `HIGH_PRECISION` or more. If none reaches both, that with the best precision. It
      loses `_LOST_RECALL` of the recall at most.
    - `recall`: the most recall with `MOST_ALARMS` false alarms per background or fewer, and a
      precision of `_LEAST_PRECISION` or more. It is never above `balanced`.

    Args:
        curve: Rows in ascending order of `face_threshold`, with `precision`, `recall`, `f1` and
            `false_alarms_a_background` (None without backgrounds).

    Raises:
        UsageError: No face was found at any threshold.
    """
    best = max(row["f1"] for row in curve)
    if not best:
        raise UsageError("no face was found at any threshold: check the labels and boxes of --scenes.")

    def alarms(row: Mapping[str, Any]) -> float:
        return float(row["false_alarms_a_background"] or 0.0)

    near = [row for row in curve if row["f1"] >= best - NEAR_BEST]
    balanced = min(near, key=lambda row: (alarms(row), -row["f1"], row["face_threshold"]))
    above = [
        row
        for row in curve
        if row["face_threshold"] >= balanced["face_threshold"] and row["recall"] >= balanced["recall"] - _LOST_RECALL
    ]
    wanted = max(HIGH_PRECISION, (1 + balanced["precision"]) / 2)
    high = next((row for row in above if row["precision"] >= wanted), None)
    high = high or max(above, key=lambda row: (row["precision"], -row["face_threshold"]))
    below = [
        row
        for row in curve
        if row["face_threshold"] <= balanced["face_threshold"]
        and alarms(row) <= MOST_ALARMS
        and row["precision"] >= _LEAST_PRECISION
    ]
    recall = max([*below, balanced], key=lambda row: (row["recall"], row["face_threshold"]))
    chosen = {"balanced": balanced, "high": high, "recall": recall}
    return {name: float(row["face_threshold"]) for name, row in chosen.items()}
