from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from maskedge_train.classifier.evaluate import measure_rejection
from maskedge_train.classifier.metrics import Predictions
from maskedge_train.data.crops import Crops

LABELS = ("with_mask", "not_a_face")


def rejection_of(faces: int, false_positives: int) -> dict[str, Any]:
    """Measure a net whose face logit rises from crop to crop, for faces and for false positives."""
    count = faces + false_positives
    logits = np.zeros((count, 2), np.float32)
    logits[:faces, 0] = np.linspace(-1, 9, faces)
    logits[faces:, 0] = np.linspace(-9, 1, false_positives) - 0.01
    labels = np.array(["with_mask"] * faces + ["not_a_face"] * false_positives)
    small = np.zeros((count, 8, 8, 3), np.uint8)
    texts = {
        "sources": np.array(["scenes"] * faces + ["backgrounds"] * false_positives),
        "origins": np.array(["face"] * faces + ["false alarm"] * false_positives),
        "names": np.array(["a"] * count),
    }
    crops = Crops(small, small, np.full((count, 4), np.nan, np.float32), labels, np.full(count, 2), **texts)
    answers = Predictions("made up", LABELS, logits, crops.targets(LABELS), ["a"] * count, small)
    return measure_rejection(answers, crops, temperature=2.0)


def test_rejection_by_hand() -> None:
    found = rejection_of(faces=101, false_positives=101)
    assert (found["faces"], found["false_alarms"]) == (101, 101)
    # 90 % on either side of 0, where both labels are equally likely.
    assert found["rejected"] == pytest.approx(0.9, abs=0.01)
    assert found["kept"] == pytest.approx(0.9, abs=0.01)
    # The 97th of a hundred steps from -9 to 1 is 0.7: a face probability of 0.69 at twice the
    # temperature. 17 faces lie below.
    assert found["least_face"] == pytest.approx(1 / (1 + np.exp(-0.345)), abs=1e-4)
    assert found["kept_at_97"] == pytest.approx(84 / 101, abs=1e-4)
    curve = {row["face_threshold"]: row for row in found["curve"]}
    assert curve[0.5]["kept"] == found["kept"]
    assert curve[0.5]["rejected"] == pytest.approx(found["rejected"], abs=0.011)
    kept = [row["kept"] for row in found["curve"]]
    assert kept == sorted(kept, reverse=True)


def test_rejection_without_faces_or_false_positives() -> None:
    assert rejection_of(faces=0, false_positives=9) | {"rejected": None, "least_face": None, "curve": None} == {
        "rejected": None, "false_alarms": 9, "kept": None, "faces": 0, "least_face": None, "kept_at_97": None,
        "curve": None,
    }  # fmt: skip
    found = rejection_of(faces=9, false_positives=0)
    assert (found["rejected"], found["kept_at_97"], found["faces"]) == (None, None, 9)
