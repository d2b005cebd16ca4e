"""The resize of pictures and crops."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from maskedge.support.resize import resize


@pytest.mark.parametrize("size", [(480, 360), (320, 240), (100, 75), (64, 64), (900, 700)])
def test_a_photograph_is_close_to_the_mean_over_areas(size: tuple[int, int], photograph: np.ndarray) -> None:
    found = resize(photograph, size)
    assert found.shape == (size[1], size[0], 3)
    shrinks = size[0] < photograph.shape[1]
    wanted = cv2.resize(photograph, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    assert np.abs(found.astype(int) - wanted).mean() < 3


def test_no_pixel_is_skipped() -> None:
    """White lines one pixel wide, at distances that a bilinear scaling by eight would skip."""
    image = np.zeros((512, 512, 3), np.uint8)
    image[:, 1::8] = 255
    assert abs(float(resize(image, (64, 64)).mean()) - 255 / 8) < 2


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (1, 5), (129, 257)])
def test_any_size_works(size: tuple[int, int]) -> None:
    image = np.full((257, 131, 3), 9, np.uint8)
    assert (resize(image, size) == 9).all()


def test_the_result_is_written_where_asked() -> None:
    frame = np.zeros((40, 50, 3), np.uint8)
    resize(np.full((90, 80, 3), 7, np.uint8), (20, 30), dst=frame[:30, :20])
    assert (frame[:30, :20] == 7).all()
    assert not frame[30:].any()
    assert not frame[:, 20:].any()


@pytest.fixture
def photograph() -> np.ndarray:
    """A frame of the built-in clip, 640 x 480."""
    from maskedge.sources import demo

    return demo.draw(150)
