"""One stage of a cascade: Gentle AdaBoost over decision stumps.

Source: Friedman, Hastie and Tibshirani, "Additive logistic regression", 2000.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .features import BINS, Codes, Features, Integrals, Weak

_Floats = npt.NDArray[np.float64]
MARGIN = 1e-5
"""OpenCV passes a window whose sum is below the stage's threshold by up to this margin."""


@dataclass(frozen=True)
class Stage:
    """A stage of a cascade. It passes windows whose sum of stump values reaches `threshold`."""

    weaks: tuple[Weak, ...]
    threshold: float


@dataclass(frozen=True)
class StageFigures:
    """Shares of the training faces and negatives that a stage passes."""

    features: int
    hit_rate: float
    false_alarm: float


def train_stage(
    kind: Features,
    positives: Integrals,
    negatives: Integrals,
    positive_weights: _Floats,
    groups: npt.NDArray[np.int64],
    known: list[tuple[int, ...]],
    random: np.random.Generator,
    *,
    hit_rate: float,
    false_alarm: float,
    pool: int,
    tried: int,
    most: int,
    progress: Callable[[int, float], None] = lambda count, rate: None,
) -> tuple[Stage, StageFigures]:
    """Add decision stumps until the stage rejects enough negatives.

    Args:
        kind: Kind of features.
        positives: P faces.
        negatives: Q windows that passed all earlier stages.
        positive_weights: float64 `[P]`.
        groups: int64 `[P]`, 1 for masked faces. The hit rate holds for each group.
        known: Features of the cascade so far. The features of the stage are appended.
        random: Draws the pool, and the candidates for each stump.
        hit_rate: Share of each group that the stage must pass.
        false_alarm: Share of the negatives that the stage may pass.
        pool: Number of candidate features for the stage.
        tried: Number of candidate features for each stump.
        most: Maximum number of stumps.
        progress: Called after each stump with the number of stumps and the share of negatives that
            pass.

    Returns:
        The stage and its figures on the training samples.
    """
    features = kind.pool(random, pool)
    joined = Integrals(
        np.concatenate([positives.sums, negatives.sums], axis=2), np.concatenate([positives.contrast, negatives.contrast])
    )
    codes, edges = kind.codes(joined, features)
    count = len(positives.contrast)
    target = np.where(np.arange(codes.shape[1]) < count, 1.0, -1.0)
    weights = (
        np.concatenate([positive_weights / positive_weights.sum(), np.full(codes.shape[1] - count, 1 / (codes.shape[1] - count))])
        / 2
    )
    scores = np.zeros(codes.shape[1])
    weaks: list[Weak] = []
    threshold, passed = 0.0, 1.0
    while len(weaks) < most:
        rows = random.choice(len(features), min(tried, len(features)), replace=False)
        row, left_bins, left, right = _best(codes, rows, weights, count, ordered=kind.ordered)
        known.append(features[row])
        # The bins left of the cut hold values below the lower edge of the first bin right of it.
        cut = float(np.float32(edges[row, int(left_bins.sum())])) if kind.ordered else 0.0
        weak = Weak(len(known) - 1, left, right, cut, () if kind.ordered else tuple(left_bins.tolist()))
        weaks.append(weak)
        goes_left = kind.goes_left(joined, features[row], weak)
        answers = np.where(goes_left, left, right)
        scores += answers
        weights *= np.exp(-target * answers)
        weights /= weights.sum()
        threshold = min(float(np.quantile(scores[:count][groups == group], 1 - hit_rate)) for group in np.unique(groups))
        passed = float((scores[count:] >= threshold - MARGIN).mean())
        progress(len(weaks), passed)
        if passed <= false_alarm:
            break
    hit = float((scores[:count] >= threshold - MARGIN).mean())
    return Stage(tuple(weaks), threshold), StageFigures(len(weaks), hit, passed)


def _best(
    codes: Codes, rows: npt.NDArray[np.int64], weights: _Floats, count: int, *, ordered: bool
) -> tuple[int, npt.NDArray[np.bool_], float, float]:
    """Choose the feature and the cut with the smallest squared error.

    Returns:
        The feature's row, the bins that go left, and the values of left and right.
    """
    positive = np.stack([np.bincount(codes[row, :count], weights[:count], BINS) for row in rows])
    negative = np.stack([np.bincount(codes[row, count:], weights[count:], BINS) for row in rows])
    total, signed = positive + negative, positive - negative
    if ordered:
        order = np.broadcast_to(np.arange(BINS), total.shape)
    else:
        # Codes have no order. Once they are sorted by their mean value, the best of all subsets is
        # a cut (Fisher, 1958).
        order = np.argsort(signed / np.maximum(total, 1e-15), axis=1, kind="stable")
        total, signed = np.take_along_axis(total, order, 1), np.take_along_axis(signed, order, 1)
    left_total, left_signed = total.cumsum(axis=1)[:, :-1], signed.cumsum(axis=1)[:, :-1]
    all_total, all_signed = total.sum(axis=1, keepdims=True), signed.sum(axis=1, keepdims=True)
    right_total, right_signed = all_total - left_total, all_signed - left_signed
    gain = left_signed**2 / np.maximum(left_total, 1e-12) + right_signed**2 / np.maximum(right_total, 1e-12)
    gain[(left_total < 1e-9) | (right_total < 1e-9)] = -1
    best, cut = np.unravel_index(int(gain.argmax()), gain.shape)
    left_bins = np.zeros(BINS, np.bool_)
    left_bins[order[best, : cut + 1]] = True
    left = float(left_signed[best, cut] / left_total[best, cut])
    right = float(right_signed[best, cut] / right_total[best, cut])
    return int(rows[best]), left_bins, left, right
