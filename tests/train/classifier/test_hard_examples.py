"""Crops that the initial network classifies wrongly are drawn more often."""

from __future__ import annotations

import numpy as np
import torch

from maskedge.modelfile.contract import default_model
from maskedge_train.classifier.training import CropsData, Recipe, predict
from maskedge_train.classifier.warm_start import load_start
from maskedge_train.data.crops import Crops

LABELS = ("with_mask", "without_mask", "incorrect_mask", "not_a_face")


def make_crops(seed: int) -> Crops:
    """Return noise as crops, a quarter of each label; the last eight are for validation."""
    random = np.random.default_rng(seed)
    count = 48
    exact = random.integers(0, 256, (count, 64, 64, 3), np.uint8)
    return Crops(
        patches=random.integers(0, 256, (count, 104, 104, 3), np.uint8),
        exact=exact,
        places=np.full((count, 4), np.nan, np.float32),
        labels=np.array([LABELS[index % 4] for index in range(count)]),
        parts=np.array([0] * (count - 8) + [1] * 8),
        sources=np.array(["scenes"] * count),
        origins=np.array(["face"] * count),
        names=np.array([f"{'ilc' if index % 3 else 'web'}_{index}.jpg" for index in range(count)]),
    )


def test_wrong_crops_are_drawn_as_often_as_the_factor_says() -> None:
    crops = make_crops(1)
    recipe = Recipe("edgenet", samples=64, batch_size=8, oversample=(("^ilc_", 2),), hard_examples=5)
    data = CropsData(crops, LABELS, recipe, seed=0)
    before = data.times.copy()
    net = load_start(default_model(), "edgenet", LABELS, torch.zeros(2, 3, 64, 64))
    data.draw_hard_examples(net)

    train = crops.where("train")
    own = torch.from_numpy(predict(net, crops.exact)).softmax(dim=1).numpy()[train, crops.targets(LABELS)[train]]
    factors = data.times / before
    assert set(before.tolist()) == {1, 2}
    assert (factors[own > 0.99] == 1).all()
    assert (factors[own < 0.01] == 5).all()
    assert len(set(factors.tolist())) > 1
    assert data.times.dtype == np.int64


def test_predict_of_rows_equals_the_rows_of_predict() -> None:
    crops = make_crops(2)
    net = load_start(default_model(), "edgenet", LABELS, torch.zeros(2, 3, 64, 64))
    rows = np.array([3, 30, 7])
    assert np.allclose(predict(net, crops.exact, rows), predict(net, crops.exact)[rows], atol=1e-5)
