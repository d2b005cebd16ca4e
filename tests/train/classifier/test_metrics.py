from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from maskedge import UsageError
from maskedge_train.classifier.calibration import MIN_FACES, calibrate, fit_temperature, unsure_threshold
from maskedge_train.classifier.metrics import Predictions, calibration_bins, calibration_error, measure, probabilities

LABELS = ("with_mask", "without_mask", "incorrect_mask", "not_a_face")


def answers_of(
    logits: list[list[float]] | np.ndarray, targets: list[int] | np.ndarray, labels: tuple[str, ...] = LABELS
) -> Predictions:
    count = len(targets)
    scores = np.asarray(logits, np.float32).reshape(count, len(labels))
    files = [f"{number}.jpg" for number in range(count)]
    return Predictions("made up", labels, scores, np.asarray(targets, np.int64), files, np.zeros((count, 8, 8, 3), np.uint8))


def calibrated(count: int, spread: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Return calibrated logits: each target is drawn with their softmax."""
    random = np.random.default_rng(5)
    logits = random.normal(0, spread, (count, 4)).astype(np.float32)
    cumulated = probabilities(logits).cumsum(axis=1)
    return logits, (random.uniform(size=(count, 1)) > cumulated).sum(axis=1).clip(0, 3).astype(np.int64)


def test_softmax_is_stable() -> None:
    chances = probabilities(np.array([[1e4, 0, -1e4], [0, 0, 0]], np.float32))
    assert chances.dtype == np.float32
    assert chances.tolist() == [[1, 0, 0], pytest.approx([1 / 3] * 3)]
    assert probabilities(np.array([[2, 0]], np.float32), 2.0)[0, 0] == pytest.approx(1 / (1 + np.exp(-1)))


def test_figures_by_hand() -> None:
    # Truth and prediction: three of label 0 (one predicted as 1), two of label 1 (both right), one
    # of label 2 (predicted as 0).
    logits = [[2, 0, 0, 0], [3, 0, 0, 0], [0, 1, 0, 0], [0, 2, 0, 0], [1, 4, 0, 0], [5, 0, 1, 0]]
    figures = measure(answers_of(logits, [0, 0, 0, 1, 1, 2]), 1.0, 0.6)
    assert figures["pictures"] == 6
    assert figures["confusion"] == [[2, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert figures["accuracy"] == round(4 / 6, 4)
    assert figures["macro_f1"] == round((2 / 3 + 0.8 + 0) / 3, 4)
    by_label = figures["labels"]
    first = {name: value for name, value in by_label["with_mask"].items() if "_" not in name}
    assert first == {"precision": 0.6667, "recall": 0.6667, "f1": 0.6667, "count": 3}
    # All three crops of label 0 score higher than two of the three others, and lower than the last
    # one.
    assert by_label["with_mask"]["roc_auc"] == round(6 / 9, 4)
    assert by_label["without_mask"]["precision"] == 0.6667
    assert by_label["without_mask"]["roc_auc"] == by_label["without_mask"]["average_precision"] == 1
    assert by_label["incorrect_mask"]["precision"] is None  # never the answer
    assert by_label["incorrect_mask"]["f1"] == 0
    assert by_label["not_a_face"] == dict.fromkeys(("precision", "recall", "f1", "roc_auc", "average_precision")) | {"count": 0}
    # Top probabilities: 0.711, 0.870, 0.475, 0.711, 0.920, 0.969. The third is unsure; of the other
    # five, four are right.
    assert figures["unsure"] == {"below": 0.6, "share_unsure": round(1 / 6, 4), "accuracy_of_the_sure": 0.8}
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_two_way() -> None:
    # The first is rejected as no face, but the right one of the two labels is likelier. The last
    # has another label.
    logits = [[2, 0, 0, 5], [0, 3, 0, 0], [3, 1, 0, 0], [0, 0, 5, 0]]
    assert measure(answers_of(logits, [0, 1, 1, 2]), 1.0, 0.5)["two_way"] == {"strict": 0.3333, "two_labels": 0.6667}
    assert "two_way" not in measure(answers_of(logits, [0, 0, 2, 3]), 1.0, 0.5)


def test_a_label_that_is_predicted_but_never_true_stays_out_of_the_average() -> None:
    figures = measure(answers_of([[3, 0, 0, 0], [0, 3, 0, 0], [0, 0, 3, 0]], [0, 1, 1]), 1.0, 0.5)
    assert figures["labels"]["incorrect_mask"]["precision"] == 0
    assert figures["labels"]["incorrect_mask"]["recall"] is None
    assert figures["macro_f1"] == round((1 + 2 / 3) / 2, 4)


def test_one_label_alone() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = measure(answers_of([[3, 0], [0, 1]], [0, 0], LABELS[:2]), 2.0, 0.99)
    assert figures["labels"]["with_mask"]["roc_auc"] is None
    assert figures["labels"]["with_mask"]["recall"] == 0.5
    assert figures["unsure"] == {"below": 0.99, "share_unsure": 1.0, "accuracy_of_the_sure": None}
    assert "two_way" not in figures


def test_nothing_and_not_a_number_are_refused() -> None:
    with pytest.raises(UsageError, match="no crops"):
        measure(answers_of([], []), 1.0, 0.5)
    with pytest.raises(UsageError, match="diverged"):
        measure(answers_of([[np.nan, 0, 0, 0]], [0]), 1.0, 0.5)


def test_calibration_error_by_hand() -> None:
    # Two predictions at 0.9 (one right) and two at exactly 1 (both right): half of them are off by
    # 0.4.
    chances = np.array([[0.9, 0.1], [0.1, 0.9], [1, 0], [0, 1]], np.float32)
    targets = np.array([0, 0, 0, 1])
    assert calibration_error(chances, targets) == pytest.approx(0.2, abs=1e-3)
    bins = calibration_bins(chances, targets)
    assert len(bins) == 15
    assert bins[13] == {"confidence": 0.9, "accuracy": 0.5, "count": 2}
    assert bins[14] == {"confidence": 1.0, "accuracy": 1.0, "count": 2}
    assert bins[0] == {"confidence": None, "accuracy": None, "count": 0}


def test_bins_and_calibration_error_agree() -> None:
    logits, targets = calibrated(3000, spread=12.0)
    chances = probabilities(logits, 0.5)
    assert (chances.max(axis=1) == 1).any()
    bins = calibration_bins(chances, targets)
    assert sum(part["count"] for part in bins) == 3000
    error = sum(abs(part["confidence"] - part["accuracy"]) * part["count"] for part in bins if part["count"]) / 3000
    assert calibration_error(chances, targets) == pytest.approx(error, abs=3e-4)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_temperature_undoes_a_known_scaling(factor: float) -> None:
    logits, targets = calibrated(6000)
    scaled = (logits * factor).astype(np.float32)
    temperature = fit_temperature(scaled, targets)
    assert temperature == pytest.approx(factor, rel=0.07)
    figures = measure(answers_of(scaled, targets), temperature, 0.5)["calibration"]
    assert figures["ece_after"] < 0.02
    assert figures["nll_after"] <= figures["nll_before"]
    if factor != 1:
        assert figures["ece_after"] < figures["ece_before"] / 3


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0, 1e4])
def test_temperature_keeps_in_bounds(scale: float) -> None:
    random = np.random.default_rng(1)
    targets = random.integers(0, 4, 200)
    separated = (np.eye(4)[targets] * scale * random.uniform(1, 2, (200, 1))).astype(np.float32)
    assert 0.25 <= fit_temperature(separated, targets) <= 8
    wrong = ((targets + 1) % 4).astype(np.int64)
    assert fit_temperature(separated, wrong) == pytest.approx(8, rel=0.01)


def test_temperature_of_little_or_nothing() -> None:
    assert fit_temperature(np.zeros((0, 4), np.float32), np.zeros(0, np.int64)) == 1
    assert fit_temperature(np.zeros((5, 4), np.float32), np.zeros(5, np.int64)) == 1
    assert 0.25 <= fit_temperature(np.array([[9, 0]], np.float32), np.array([0])) <= 8


def test_separable_predictions_become_no_more_confident_than_their_number_allows() -> None:
    targets = np.arange(98) % 2
    logits = (np.eye(2)[targets] * 3).astype(np.float32)
    # 98 right predictions imply 1 wrong one in 100; Platt's smoothing splits it over two labels.
    assert probabilities(logits, fit_temperature(logits, targets)).max() == pytest.approx(0.995, abs=1e-3)


def test_threshold_is_the_lowest_that_does() -> None:
    logits, targets = calibrated(4000)
    chances = probabilities(logits)
    right, top = chances.argmax(axis=1) == targets, chances.max(axis=1)
    for wanted in (0.8, 0.9, 0.95):
        bound = unsure_threshold(chances, targets, wanted)
        assert right[top >= bound].mean() >= wanted
        lower = np.arange(0, round(bound * 1000)) / 1000
        assert all(right[top >= other].mean() < wanted for other in lower)


def test_threshold_of_little_data() -> None:
    chances = np.array([[0.6, 0.4], [0.8, 0.2], [0.95, 0.05]], np.float32)
    assert unsure_threshold(chances, np.array([0, 0, 0])) == 0
    assert unsure_threshold(chances, np.array([0, 1, 0])) == pytest.approx(0.801)
    assert unsure_threshold(chances, np.array([1, 0, 0])) == pytest.approx(0.601)
    assert unsure_threshold(chances, np.array([1, 1, 1])) == 0.99
    assert unsure_threshold(chances[:0], np.zeros(0, np.int64)) == 0
    sure_but_wrong = np.array([[0.9999, 0.0001], [0.7, 0.3]], np.float32)
    assert unsure_threshold(sure_but_wrong, np.array([1, 0])) == 0.99


def test_too_few_faces_calibrate_nothing_and_are_reported() -> None:
    logits, targets = calibrated(2 * MIN_FACES)
    faces = np.arange(len(targets)) < MIN_FACES
    # Negatives take part in the fit but do not count as faces.
    enough, few = calibrate(logits * 3, targets, faces), calibrate(logits * 3, targets, faces & (np.arange(len(targets)) > 0))
    assert enough.fitted and not few.fitted
    assert enough.temperature != 1.0
    assert (few.temperature, few.unsure_below) == (1.0, 0.0)
    assert str(few).startswith(f"Not calibrated: {MIN_FACES - 1} faces")
    assert few.to_card() == {"faces": MIN_FACES - 1, "needed": MIN_FACES, "fitted": False}
    assert "fitted to" in str(enough)


def test_the_probabilities_of_a_blend_are_not_sharpened() -> None:
    logits, targets = calibrated(2 * MIN_FACES)
    faces = np.ones(len(targets), np.bool_)
    fitted = calibrate(logits, targets, faces).temperature
    kept, own = calibrate(logits, targets, faces, fitted + 0.3), calibrate(logits, targets, faces, fitted - 0.2)
    assert kept.temperature == pytest.approx(fitted + 0.3, abs=1e-4)
    assert own.temperature == fitted
    assert "the lowest allowed here" in str(kept)
    assert "the lowest allowed here" not in str(own)
    few = calibrate(logits, targets, faces & (np.arange(len(targets)) > 2 * MIN_FACES - 9), 0.7)
    assert (few.temperature, few.unsure_below) == (0.7, 0.0)
    assert "the temperature stays 0.7" in str(few)
