"""Fast resizing of pictures without visible aliasing."""

from __future__ import annotations

import cv2
import numpy as np

from maskedge.types import Image


def resize(image: Image, size: tuple[int, int], dst: Image | None = None, *, exact: bool = False) -> Image:
    """Resize a picture: halve it while it is at least twice too large, then average areas.

    OpenCV has vector code for halves, which average 2 x 2 pixels; averages of other areas take
    several times as long, so they are left to the last step. There, bilinear scaling would be
    faster still, but it loses small faces (F1 on held-out pictures -0.005). A halving leaves out
    the last row or column of an odd size. A smaller picture is enlarged bilinearly.

    Args:
        image: uint8 `[H, W, C]`.
        size: Width and height of the result in pixels.
        dst: Array for the result, uint8 `[height, width, C]`; None for a new one.
        exact: Halve only even sizes, so that nothing is left out.

    Returns:
        uint8 `[height, width, C]`.
    """
    height, width = image.shape[:2]
    while width >= 2 * size[0] and height >= 2 * size[1] and not (exact and (width % 2 or height % 2)):
        width, height = width // 2, height // 2
        image = np.asarray(cv2.resize(image[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    shrinks = width > size[0] or height > size[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, dst=dst, interpolation=interpolation), np.uint8)
