"""Sizes and overlaps of bounding boxes, and non-maximum suppression."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from .types import Box

IOU = 0.3
"""Overlap (IoU) from which two boxes show the same face."""
CONTAINED = 0.6
"""Fraction of the smaller box inside the larger one from which two boxes show the same face.
Cascades find faces within faces."""


def as_box(corners: npt.NDArray[np.floating[Any]]) -> Box:
    """Convert float `[4]` to a box."""
    x1, y1, x2, y2 = corners.tolist()
    return x1, y1, x2, y2


def side(box: Box) -> float:
    """Return the geometric mean of a box's sides."""
    return sqrt(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))


def lies_in(box: Box, size: tuple[int, int]) -> bool:
    """Return True if a labelled box can be of a face in a picture of this width and height in pixels.

    More than a pixel of it is in the picture, and a quarter or more of its width and height.
    """
    x1, y1, x2, y2 = box
    inside = min(x2, size[0]) - max(x1, 0), min(y2, size[1]) - max(y1, 0)
    # NaN compares as false.
    return min(inside) > 1 and x2 - x1 <= 4 * inside[0] and y2 - y1 <= 4 * inside[1]


def same_face(one: Box, other: Box) -> bool:
    """Return True if two boxes of one frame show the same face."""
    return box_iou(one, other) > IOU or contained(one, other) > CONTAINED


def box_iou(one: Box, other: Box) -> float:
    """Return the intersection over union (IoU) of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    areas = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1])
    return both / (areas - both)


def contained(one: Box, other: Box) -> float:
    """Return the intersection of two boxes as a fraction of the smaller box's area."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / smaller if width > 0 and height > 0 and smaller > 0 else 0.0


def suppress(boxes: Sequence[Box], scores: npt.NDArray[np.floating]) -> list[int]:
    """Keep the best of the boxes on each face (greedy non-maximum suppression).

    Args:
        boxes: N boxes.
        scores: Scores of the boxes, float `[N]`, compared after rounding to a hundredth. If scores
            are equal, the earlier box is kept. A classifier with high confidence in several boxes
            does not rank them, so the detector's order decides.

    Returns:
        Positions of the kept boxes, in the order of `boxes`.
    """
    kept: list[int] = []
    better: list[Box] = []
    order = sorted(range(len(boxes)), key=lambda index: (-round(float(scores[index]), 2), index))
    for index in order:
        box = boxes[index]
        x1, y1, x2, y2 = box
        # Boxes that do not touch are compared inline: a crowd has thousands of such pairs.
        if not any(
            x1 < other[2] and other[0] < x2 and y1 < other[3] and other[1] < y2 and same_face(box, other) for other in better
        ):
            kept.append(index)
            better.append(box)
    return sorted(kept)
