"""Fusion of scores and thresholds, by their numbers."""

from __future__ import annotations

import numpy as np
import pytest

from maskedge.vision.detectors import FACE_THRESHOLD
from maskedge.vision.scoring import Thresholds, fuse_scores

SCORES = np.array([0.5, 0.9, 0.1], np.float32)
PROBABILITIES = np.array([0.5, 0.6, 0.9], np.float32)
BOX = (0.0, 0.0, 50.0, 50.0)


def test_fusion_is_a_weighted_sum_of_log_odds() -> None:
    fused = fuse_scores(SCORES, PROBABILITIES, (0.75, 0.5))
    odds = (SCORES / (1 - SCORES)) ** 0.75 * (PROBABILITIES / (1 - PROBABILITIES)) ** 0.5
    assert fused == pytest.approx(odds / (1 + odds), rel=1e-5)


def test_one_of_the_two_counts_alone_without_the_other() -> None:
    assert fuse_scores(None, PROBABILITIES, None) is PROBABILITIES
    assert fuse_scores(None, PROBABILITIES, (0.75, 0.5)) is PROBABILITIES
    assert fuse_scores(SCORES, PROBABILITIES, None) is PROBABILITIES
    assert fuse_scores(SCORES, PROBABILITIES, (1.0, 0.0)) is SCORES


def test_a_tracked_face_has_lower_thresholds() -> None:
    alone = Thresholds(0.8, fused=False, min_face_size=60)
    assert not alone.accepts(BOX, 0.9), "smaller than 60 pixels"
    assert alone.keeps(BOX, 0.6), "0.7 of the score and 0.8 of the size are enough"
    assert not alone.keeps(BOX, 0.5)
    assert alone.voted == 0.8
    fused = Thresholds(0.8, fused=True)
    assert fused.voted == fused.verified == pytest.approx(0.7 * FACE_THRESHOLD)
