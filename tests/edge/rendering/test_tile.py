"""Several pictures in one."""

from __future__ import annotations

import numpy as np
import pytest

from maskedge.rendering.tile import tile
from maskedge.types import Image


def plain(level: int, width: int, height: int) -> Image:
    return np.full((height, width, 3), level, np.uint8)


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 2, 2), (5, 3, 2), (32, 6, 6)])
def test_pictures_fill_a_grid_in_their_order(count: int, columns: int, rows: int) -> None:
    size = 40 * columns, 30 * rows
    grid = tile([plain(100 + number, 40, 30) for number in range(count)], [""] * count, size)
    assert grid.shape == (size[1], size[0], 3)
    levels = grid[15::30, 20::40, 0].ravel().tolist()
    assert levels == [100 + number for number in range(count)] + [0] * (columns * rows - count)


def test_pictures_keep_their_proportions_in_the_middle_of_their_cells() -> None:
    grid = tile([plain(200, 100, 200), plain(200, 1000, 100)], ["", ""], (400, 200))
    lit = grid[:, :, 0] > 100
    assert np.flatnonzero(lit[100, :200])[[0, -1]].tolist() == [50, 149], "a tall picture has bars at its sides"
    assert np.flatnonzero(lit[:, 300])[[0, -1]].tolist() == [90, 109], "a wide one has bars above and below"


def test_names_are_drawn_and_the_pictures_not_changed() -> None:
    pictures = [plain(128, 320, 240), plain(128, 320, 240)]
    named = tile(pictures, ["door", "Tor Süd \N{DOOR} \udcff"], (640, 240))
    assert (tile(pictures, ["", ""], (640, 240)) == 128).all()
    for cell in (named[:, :320], named[:, 320:]):
        assert (cell[200:, 160:] > 200).any(), "the name is in the lower right corner"
        assert (cell[:200] == 128).all()
    assert all((picture == 128).all() for picture in pictures)


def test_an_accent_does_not_change_the_letter() -> None:
    picture = [plain(128, 320, 240)]
    assert np.array_equal(tile(picture, ["Süd"], (320, 240)), tile(picture, ["Sud"], (320, 240)))
