"""Several pictures in one, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from maskedge.types import Image

from .draw import text_width, write_text


def tile(pictures: Sequence[Image], names: Sequence[str], size: tuple[int, int]) -> Image:
    """Return pictures in a grid, in their order, row by row.

    Each picture keeps its proportions and is centred in its cell. The grid has as many columns as
    rows, or one more.

    Args:
        pictures: One or more pictures, each uint8 `[H, W, 3]`, BGR; not changed.
        names: The name of each picture, drawn into its lower right corner; empty for none.
        size: Width and height of the result in pixels, at least one pixel per cell.

    Returns:
        uint8 `[height, width, 3]`, BGR.
    """
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    width, height = size[0] // columns, size[1] // rows
    grid = np.zeros((size[1], size[0], 3), np.uint8)
    for number, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        scale = min(width / picture.shape[1], height / picture.shape[0])
        fitted = max(1, int(picture.shape[1] * scale)), max(1, int(picture.shape[0] * scale))
        cell = grid[number // columns * height :, number % columns * width :][:height, :width]
        top, left = (height - fitted[1]) // 2, (width - fitted[0]) // 2
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        cell[top : top + fitted[1], left : left + fitted[0]] = cv2.resize(picture, fitted, interpolation=method)
        # The status line of the picture is in its lower left corner.
        font = max(0.4, min(width, height) / 900)
        write_text(cell, name, (max(8, width - 8 - text_width(name, font)), height - 10), font)
    return grid
