from __future__ import annotations

import numpy as np
import pytest

from maskedge.modelfile.crop import CropRule, crop_faces


def test_region_is_square_with_margin() -> None:
    assert CropRule(0.1, True).region((10, 20, 30, 60)) == pytest.approx((-4, 16, 44, 64))
    assert CropRule(0.0, False).region((10, 20, 30, 60)) == pytest.approx((10, 20, 30, 60))


def test_crop_shows_the_box() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[40:60, 40:60] = (10, 200, 30)
    (crop,) = crop_faces(image, [(40, 40, 60, 60)], CropRule(0.0), 32)
    assert crop.shape == (32, 32, 3)
    assert (crop == (10, 200, 30)).all()


@pytest.mark.parametrize("box", [(-30, -30, 20, 20), (90, 90, 150, 150), (-80, 10, -20, 70), (300, 300, 360, 360), (5, 5, 5, 5)])
def test_outside_is_filled_with_the_border(box: tuple[float, float, float, float]) -> None:
    image = np.full((100, 100, 3), 77, np.uint8)
    (crop,) = crop_faces(image, [box], CropRule(), 16)
    assert (crop == 77).all()


def test_no_box_gives_no_crop() -> None:
    assert crop_faces(np.zeros((9, 9, 3), np.uint8), [], CropRule(), 64).shape == (0, 64, 64, 3)


def test_rule_survives_json() -> None:
    rule = CropRule(0.25, False)
    assert CropRule.from_json(rule.to_json()) == rule


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", '{"margin": "wide", "square": true}', '{"margin": 9, "square": true}', '{"margin": 0.1, "square": 1}', "no json"],
)
def test_bad_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        CropRule.from_json(text)
