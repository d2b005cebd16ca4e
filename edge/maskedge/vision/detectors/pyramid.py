"""The sizes of a picture at which a cascade scans it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.support.timing import inner_stage
from maskedge.types import Box, Image

from .scaling import scaled_size


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """A picture, or a part of it, at one size.

    Attributes:
        grey: uint8 `[H, W]`, with the border.
        left: Position of its first column, in pixels of the picture.
        top: Position of its first row, in pixels of the picture.
        scale: Factors from pixels of the picture to pixels of the level, horizontal and vertical.
            They differ because sizes are whole pixels.
    """

    grey: Image
    left: float
    top: float
    scale: tuple[float, float]

    def to_picture(self, squares: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Convert squares from pixels of the level to pixels of the picture.

        Args:
            squares: `[N, 4]`, x, y, width and height in pixels of the level.

        Returns:
            float64 `[N, 4]`, x, y, width and height in pixels of the picture.
        """
        scaled = np.asarray(squares, np.float64).reshape(-1, 4) / (*self.scale, *self.scale)
        return np.asarray(scaled + np.array([self.left, self.top, 0, 0]), np.float64)


@dataclass(frozen=True, slots=True)
class Pyramid:
    """The series of sizes of a scan.

    Attributes:
        scale: Factor from pixels of the picture to pixels of the first level, at most 1.
        step: Factor from each size to the next smaller one, above 1.
        border: Width of the border of each level, as a fraction of the picture's longest side.
        widest: Maximum width of the border in pixels of the level; None for no maximum.
    """

    scale: float
    step: float
    border: float
    widest: int | None = None

    def levels(self, image: Image, region: Box | None, least: Sequence[int]) -> Iterator[Level]:
        """Return the levels of a picture, or of a part of it, largest first.

        The border shows the surroundings of the part. Beyond the edge of the picture the edge
        pixels are repeated.

        Args:
            image: uint8 `[H, W, 3]`, BGR.
            region: The part, x1, y1, x2, y2 in pixels; None for the whole picture.
            least: Minimum width and height of a level, with its border.
        """
        height, width = image.shape[:2]
        x1, y1, x2, y2 = _clip(region, width, height)
        if x2 <= x1 or y2 <= y1:
            return
        margin = math.ceil(self.border * max(width, height))
        left, top = max(0, x1 - margin), max(0, y1 - margin)
        with inner_stage("resize"):
            part = image[top : min(height, y2 + margin), left : min(width, x2 + margin)]
            grey = np.asarray(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY), np.uint8)
        full_height, full_width = grey.shape
        scale = self.scale
        while True:
            size = scaled_size(full_width, full_height, scale)
            with inner_stage("resize"):
                if size != grey.shape[::-1]:
                    # From the level before, which has fewer pixels than the picture.
                    grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
                pad = round(self.border * max(scaled_size(width, height, scale)))
                pad = pad if self.widest is None else min(pad, self.widest)
                across, down = size[0] / full_width, size[1] / full_height
                columns = math.floor((x1 - left) * across) - pad, math.ceil((x2 - left) * across) + pad
                rows = math.floor((y1 - top) * down) - pad, math.ceil((y2 - top) * down) + pad
                if columns[1] - columns[0] < least[0] or rows[1] - rows[0] < least[1]:
                    return
                view = _view(grey, columns, rows)
            yield Level(view, left + columns[0] / across, top + rows[0] / down, (across, down))
            scale /= self.step


def _clip(region: Box | None, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the part of a picture that `region` covers, in whole pixels."""
    if region is None:
        return 0, 0, width, height
    x1, y1, x2, y2 = region
    return max(0, math.floor(x1)), max(0, math.floor(y1)), min(width, math.ceil(x2)), min(height, math.ceil(y2))


def _view(grey: Image, columns: tuple[int, int], rows: tuple[int, int]) -> Image:
    """Return the columns and rows from the first number up to the second.

    Those outside of `grey` repeat its edge.
    """
    height, width = grey.shape
    inside = grey[max(0, rows[0]) : min(height, rows[1]), max(0, columns[0]) : min(width, columns[1])]
    edges = max(0, -rows[0]), max(0, rows[1] - height), max(0, -columns[0]), max(0, columns[1] - width)
    if not any(edges):
        return np.ascontiguousarray(inside)
    return np.asarray(cv2.copyMakeBorder(inside, *edges, cv2.BORDER_REPLICATE), np.uint8)
