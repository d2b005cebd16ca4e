"""Rotated pictures, as from a tilted camera."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from maskedge.boxes import as_box
from maskedge.labelled_boxes import LabelledBox, move_boxes
from maskedge.types import Image


def rotate(image: Image, degrees: float, *labels: Sequence[LabelledBox]) -> tuple[Image, list[list[LabelledBox]]]:
    """Rotate a picture and its labelled boxes.

    The rotated picture is larger and has black corners, so that no content is cut off.

    Args:
        image: uint8 `[H, W, 3]`, BGR.
        degrees: Angle, clockwise.
        labels: Lists of boxes in pixels of `image`.

    Returns:
        The rotated picture, uint8 `[H', W', 3]`, BGR, and the rotated boxes in pixels of that
        picture, one list per list of `labels`.
    """
    height, width = image.shape[:2]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    linear = np.array([[cos, -sin], [sin, cos]])
    size = np.rint(np.abs(linear) @ (width, height)).astype(int)
    shift = size / 2 - linear @ (width / 2, height / 2)
    # The origin of OpenCV is the centre of the first pixel. The origin of boxes is the corner of
    # that pixel.
    by_centres = shift + linear @ (0.5, 0.5) - 0.5
    rotated = cv2.warpAffine(image, np.column_stack([linear, by_centres]), size.tolist())
    moved = []
    for boxes in labels:
        places = move_boxes(np.array([box.box for box in boxes], np.float32).reshape(-1, 4), linear, shift)
        moved.append([LabelledBox(as_box(place), box.label) for place, box in zip(places, boxes, strict=True)])
    return np.asarray(rotated, np.uint8), moved
