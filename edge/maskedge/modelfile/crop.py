"""The crop of a face box for a classifier, shared by the device and training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.support.resize import resize
from maskedge.support.text import read_json
from maskedge.types import Box, Image


@dataclass(frozen=True, slots=True)
class CropRule:
    """The crop rule of a model, stored in its file as `maskedge.crop`.

    Attributes:
        margin: Margin added on every side, as a fraction of the box's side.
        square: Widen the shorter side first, so that the crop keeps the aspect ratio of the face.
    """

    margin: float = 0.1
    square: bool = True

    def to_json(self) -> str:
        """Return the rule as the JSON text of the metadata."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> CropRule:
        """Read the rule from the metadata of a model.

        Raises:
            ValueError: The text is not a rule of this version.
        """
        fields = read_json(text)
        if not isinstance(fields, dict) or set(fields) != {"margin", "square"}:
            raise ValueError(f"expected an object with margin and square, got {text[:100]}")
        margin, square = fields["margin"], fields["square"]
        if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 <= margin <= 2:
            raise ValueError(f"margin must be a number from 0 to 2, got {margin!r}")
        if not isinstance(square, bool):
            raise ValueError(f"square must be true or false, got {square!r}")
        return cls(float(margin), square)

    def region(self, box: Box) -> Box:
        """Return the region of a box: x1, y1, x2, y2 in pixels. It may extend beyond the frame."""
        x1, y1, x2, y2 = box
        half_w, half_h = (x2 - x1) / 2, (y2 - y1) / 2
        if self.square:
            half_w = half_h = max(half_w, half_h)
        half_w, half_h = half_w * (1 + 2 * self.margin), half_h * (1 + 2 * self.margin)
        cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
        return cx - half_w, cy - half_h, cx + half_w, cy + half_h

    def pixels(self, box: Box) -> tuple[int, int, int, int]:
        """Return the region in whole pixels x1, y1, x2, y2; it contains at least one pixel."""
        left, top, right, bottom = (round(value) for value in self.region(box))
        return left, top, max(right, left + 1), max(bottom, top + 1)


def crop_faces(image: Image, boxes: Sequence[Box], rule: CropRule, size: int) -> Image:
    """Crop faces from a frame.

    Args:
        image: uint8 `[H, W, 3]`, BGR.
        boxes: N face boxes in pixels of `image`; parts outside the image repeat its border pixels.
        rule: The crop rule of the model.
        size: Side S of the crops in pixels.

    Returns:
        uint8 `[N, S, S, 3]`, BGR.
    """
    return crop_regions(image, [rule.pixels(box) for box in boxes], size)


def crop_regions(image: Image, regions: Sequence[tuple[int, int, int, int]], size: int) -> Image:
    """Crop regions from a frame.

    Args:
        image: uint8 `[H, W, 3]`, BGR.
        regions: N regions of `CropRule.pixels`.
        size: Side S of the crops in pixels.

    Returns:
        uint8 `[N, S, S, 3]`, BGR.
    """
    crops = np.empty((len(regions), size, size, 3), np.uint8)
    height, width = image.shape[:2]
    for crop, (left, top, right, bottom) in zip(crops, regions, strict=True):
        # Clamped: a region outside the frame still contains a border pixel, which fills it.
        x1, x2 = min(max(left, 0), width - 1), max(min(right, width), 1)
        y1, y2 = min(max(top, 0), height - 1), max(min(bottom, height), 1)
        part: npt.NDArray[Any] = image[y1:y2, x1:x2]
        pad = max(y1 - top, 0), max(bottom - y2, 0), max(x1 - left, 0), max(right - x2, 0)
        if any(pad):
            part = cv2.copyMakeBorder(part, *pad, cv2.BORDER_REPLICATE)
        resize(part, (size, size), dst=crop)
    return crops
