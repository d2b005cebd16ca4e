from __future__ import annotations

import numpy as np
import pytest

from maskedge_train.classifier.evaluate import gate
from maskedge_train.classifier.metrics import Answers
from maskedge_train.data.crops import Crops

LABELS = ("with_mask", "not_a_face")


def gate_of(faces: int, alarms: int) -> dict[str, float | int | None]:
    """The gate of a net whose logit of a face rises from crop to crop, among faces and among alarms."""
    count = faces + alarms
    logits = np.zeros((count, 2), np.float32)
    logits[:faces, 0] = np.linspace(-1, 9, faces)
    logits[faces:, 0] = np.linspace(-9, 1, alarms) - 0.01
    labels = np.array(["with_mask"] * faces + ["not_a_face"] * alarms)
    small = np.zeros((count, 8, 8, 3), np.uint8)
    texts = {
        "sources": np.array(["scenes"] * faces + ["backgrounds"] * alarms),
        "origins": np.array(["face"] * faces + ["false alarm"] * alarms),
        "names": np.array(["a"] * count),
    }
    crops = Crops(small, small, np.full((count, 4), np.nan, np.float32), labels, np.full(count, 2), **texts)
    answers = Answers("made up", LABELS, logits, crops.targets(LABELS), ["a"] * count, small)
    return gate(answers, crops, temperature=2.0)


def test_gate_by_hand() -> None:
    found = gate_of(faces=101, alarms=101)
    assert (found["faces"], found["false_alarms"]) == (101, 101)
    # Nine in ten on either side of 0, where both are as likely.
    assert found["rejected"] == pytest.approx(0.9, abs=0.01)
    assert found["kept"] == pytest.approx(0.9, abs=0.01)
    # The 97th of a hundred steps from -9 to 1 is 0.7: 0.69 of a face at twice the temperature; below it lie 17 faces.
    assert found["least_face"] == pytest.approx(1 / (1 + np.exp(-0.345)), abs=1e-4)
    assert found["kept_at_97"] == pytest.approx(84 / 101, abs=1e-4)


def test_gate_without_faces_or_alarms() -> None:
    assert gate_of(faces=0, alarms=9) | {"rejected": None, "least_face": None} == {
        "rejected": None, "false_alarms": 9, "kept": None, "faces": 0, "least_face": None, "kept_at_97": None,
    }  # fmt: skip
    found = gate_of(faces=9, alarms=0)
    assert (found["rejected"], found["kept_at_97"], found["faces"]) == (None, None, 9)
