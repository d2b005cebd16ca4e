"""Pictures as a camera gives them that hangs askew."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from maskedge.boxes import as_box
from maskedge.labelled_boxes import LabelledBox, move_boxes
from maskedge.types import Image


def turn(image: Image, degrees: float, *labels: Sequence[LabelledBox]) -> tuple[Image, list[list[LabelledBox]]]:
    """Turn a picture and its labelled boxes; the picture grows by black corners, so that nothing is cut off.

    Args:
        image: uint8 `[H, W, 3]`, BGR.
        degrees: How far, clockwise.
        labels: Boxes in pixels of `image`.

    Returns:
        The picture, uint8 `[H', W', 3]`, and the boxes about the same faces in its pixels, one list for each of `labels`.
    """
    height, width = image.shape[:2]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    linear = np.array([[cos, -sin], [sin, cos]])
    size = np.rint(np.abs(linear) @ (width, height)).astype(int)
    shift = size / 2 - linear @ (width / 2, height / 2)
    # OpenCV counts from the middle of the first pixel, boxes from its corner.
    by_middles = shift + linear @ (0.5, 0.5) - 0.5
    turned = cv2.warpAffine(image, np.column_stack([linear, by_middles]), size.tolist())
    moved = []
    for boxes in labels:
        places = move_boxes(np.array([box.box for box in boxes], np.float32).reshape(-1, 4), linear, shift)
        moved.append([LabelledBox(as_box(place), box.label) for place, box in zip(places, boxes, strict=True)])
    return np.asarray(turned, np.uint8), moved
