"""Sharpness, light and reach of a camera."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from maskedge import MaskDetector
from maskedge.cli.doctor.camera_check import SHARP, check_cameras, farthest_metres, measure_quality
from maskedge.config import load_config
from maskedge.sources import demo
from maskedge.types import Image

choose = MaskDetector.set_face_threshold


def problems(image: Image) -> list[str]:
    return [problem for problem, _ in measure_quality(image).problems]


def test_a_good_picture_has_no_problem() -> None:
    assert problems(demo.draw(150)) == []


def test_a_blurred_picture_is_found_at_any_size() -> None:
    sharp = demo.draw(150)
    for width in (320, 640, 1280):
        image = cv2.resize(sharp, (width, width * 3 // 4), interpolation=cv2.INTER_AREA)
        blurred = cv2.GaussianBlur(image, (0, 0), 2 * width / 640)
        assert measure_quality(blurred).sharpness < SHARP
        assert problems(np.asarray(blurred, np.uint8)) == ["blurred or without detail"]


@pytest.mark.parametrize(("factor", "offset", "problem"), [(0.1, 0, "too dark"), (0.5, 200, "too bright")])
def test_bad_light_is_found(factor: float, offset: float, problem: str) -> None:
    image = np.clip(demo.draw(150) * factor + offset, 0, 255).astype(np.uint8)
    assert problem in problems(image)


def test_shares_of_dark_and_burnt_pixels() -> None:
    image = np.full((100, 100, 3), 128, np.uint8)
    image[:30], image[30:50] = 0, 255
    quality = measure_quality(image)
    assert (quality.dark, quality.burnt) == (0.3, 0.2)


def test_a_face_of_twice_the_pixels_is_half_as_far() -> None:
    assert farthest_metres(40, 640) == pytest.approx(2.217, abs=0.001)
    assert farthest_metres(80, 640) == pytest.approx(farthest_metres(40, 640) / 2)


def test_a_camera_is_tried_at_its_own_operating_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = []
    monkeypatch.setattr(MaskDetector, "set_face_threshold", lambda self, *choice: chosen.append(choice) or choose(self, *choice))
    file = tmp_path / "edge.toml"
    tables = (
        f'[[camera]]\nname = "{name}"\nsource = "demo"\n[camera.detect]\noperating_point = "{name}"\n'
        for name in ("high", "recall")
    )
    file.write_text('[detect]\ndomain = "crowds"\n' + "".join(tables))
    chosen.clear()
    assert [finding.state for finding in check_cameras(load_config(file, {}))] == ["ok", "ok"]
    assert chosen[-2:] == [(None, "high", "crowds"), (None, "recall", "crowds")]
