"""JPEG encoding with an optional smaller size, for snapshots, feeds, MQTT and pages."""

from __future__ import annotations

import cv2
import numpy as np

from maskedge.types import Image


def shrink(image: Image, *, width: int = 0, longest_side: int = 0) -> Image:
    """Return `image` reduced to a width or to a longest side; a smaller image is not changed.

    Args:
        image: uint8 `[H, W, 3]`, BGR.
        width: Greatest width in pixels; 0 for no limit.
        longest_side: Greatest width and height in pixels; 0 for no limit.
    """
    scale = min(
        width / image.shape[1] if width else 1.0,
        longest_side / max(image.shape[:2]) if longest_side else 1.0,
    )
    if scale >= 1:
        return image
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def encode_jpeg(image: Image, quality: int = 90, *, width: int = 0, longest_side: int = 0) -> bytes:
    """Encode an image as JPEG, after `shrink`.

    Args:
        image: uint8 `[H, W, 3]`, BGR.
        quality: 1 to 100.
        width: Greatest width in pixels; 0 for no limit.
        longest_side: Greatest width and height in pixels; 0 for no limit.
    """
    small = shrink(image, width=width, longest_side=longest_side)
    return cv2.imencode(".jpg", small, (cv2.IMWRITE_JPEG_QUALITY, quality))[1].tobytes()
