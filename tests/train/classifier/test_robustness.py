from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.support import texture
from maskedge.modelfile.crop import CropRule
from maskedge.types import Image
from maskedge_train.classifier.checkpoint import ClassifierSpec
from maskedge_train.classifier.robustness import CONDITIONS, measure_robustness
from maskedge_train.data.crops import PATCH, Crops

LABELS = ("with_mask", "without_mask", "incorrect_mask")
SPEC = ClassifierSpec("made up", LABELS, 64, CropRule())


class Brightness(torch.nn.Module):
    """A net that predicts `with_mask` for bright crops and `without_mask` for dark ones."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """float32 `[N, 3, 64, 64]` to `[N, 3]`."""
        mean = pixels.mean(dim=(1, 2, 3))
        return torch.stack([mean, -mean, torch.full_like(mean, -9)], 1)


def crops(labels: list[str], patches: list[Image]) -> Crops:
    count = len(labels)
    exact = np.zeros((count, 64, 64, 3), np.uint8)
    text = np.full(count, "faces"), np.full(count, "face"), np.array([f"{number}.jpg" for number in range(count)])
    nowhere = np.full((count, 4), np.nan, np.float32)
    return Crops(np.stack(patches), exact, nowhere, np.array(labels), np.full(count, 2), *text)


def test_robustness_is_measured_on_masked_and_unmasked_faces() -> None:
    bright, dark = (np.full((PATCH, PATCH, 3), value, np.uint8) for value in (190, 60))
    rows = {
        row["condition"]: row
        for row in measure_robustness(Brightness(), SPEC, crops([*LABELS, "with_mask"], [bright, dark, dark, bright]))
    }
    assert rows["as they are"] == {"condition": "as they are", "accuracy": 1.0, "faces": 3}
    assert rows["rotated by 30 degrees"]["accuracy"] == 1.0
    # In the dark, bright crops are dark, too.
    assert rows["10% of the light"]["accuracy"] == pytest.approx(1 / 3, abs=1e-4)
    assert rows["a painted hand before the mouth"]["faces"] == 1
    assert set(CONDITIONS) < set(rows)


def test_conditions_change_the_faces_as_named() -> None:
    random = np.random.default_rng(2)
    patch = texture((PATCH, PATCH), random)
    plain = CONDITIONS["as they are"](patch, random).astype(float)
    for name, change in CONDITIONS.items():
        changed = change(patch, random)
        assert changed.shape == (64, 64, 3)
        assert changed.dtype == np.uint8
        if name != "as they are":
            assert np.abs(changed - plain).mean() > 0.2, name
    assert CONDITIONS["10% of the light"](patch, random).mean() < 0.2 * plain.mean()


def test_nothing_to_measure() -> None:
    patch = np.zeros((PATCH, PATCH, 3), np.uint8)
    assert measure_robustness(Brightness(), SPEC, crops(["incorrect_mask"], [patch])) == []
