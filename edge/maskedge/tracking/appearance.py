"""Descriptors of faces: the colours of hair, forehead and eyes, which a mask does not change."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.types import Box, Image

Descriptor = npt.NDArray[np.float32]
"""A descriptor: float32 `[384]`, the square roots of a colour histogram, with norm 1."""

# The described part of a face box, as fractions of the box: the upper part, which a mask never
# covers, and some of the hair above.
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.1, 0.9, -0.2, 0.4
_SIDE = 16
_BINS = [6, 8, 8]
# Ranges in L*a*b*: skin, hair and cloth fill only the middle of a and b.
_RANGES = [0, 256, 100, 164, 100, 164]

# The conversion from sRGB to CIE 1976 L*a*b* with the white point D65 (IEC 61966-2-1).
_GREY = np.arange(256) / 255
_LINEAR = np.where(_GREY > 0.04045, ((_GREY + 0.055) / 1.055) ** 2.4, _GREY / 12.92).astype(np.float32)
_TO_XYZ = np.asarray(
    [[0.180423 / 0.950456, 0.072169, 0.950227 / 1.088754],
     [0.357580 / 0.950456, 0.715160, 0.119193 / 1.088754],
     [0.412453 / 0.950456, 0.212671, 0.019334 / 1.088754]],
    np.float32,
)  # fmt: skip
"""From linear blue, green and red to X, Y and Z relative to the white point."""
_DARK, _SLOPE = 0.008856, 7.787


def describe(image: Image, box: Box) -> Descriptor | None:
    """Compute the descriptor of a face.

    Args:
        image: uint8 `[H, W, 3]`, BGR.
        box: The face's box in pixels of `image`.

    Returns:
        The descriptor; None if the upper part of the face is outside the picture.
    """
    x1, y1, x2, y2 = box
    height, width = image.shape[:2]
    left, right = (round(x1 + part * (x2 - x1)) for part in (_LEFT, _RIGHT))
    top, bottom = (round(y1 + part * (y2 - y1)) for part in (_TOP, _BOTTOM))
    part = image[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    if part.shape[0] < 2 or part.shape[1] < 2:
        return None
    small = to_lab(np.asarray(cv2.resize(part, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8))
    histogram = cv2.calcHist([small], [0, 1, 2], None, _BINS, _RANGES).ravel()
    total = float(histogram.sum())
    return np.asarray(np.sqrt(histogram / total), np.float32) if total else None


def to_lab(image: Image) -> Image:
    """Convert uint8 `[H, W, 3]` BGR to L*a*b* as OpenCV does, up to rounding.

    `cv2.cvtColor` calculates tables for 40 ms or more in its first call, and the frame would wait.
    """
    x, y, z = np.moveaxis(_LINEAR[image] @ _TO_XYZ, -1, 0)
    fx, fy, fz = (np.where(part > _DARK, np.cbrt(part), _SLOPE * part + 16 / 116) for part in (x, y, z))
    lab = np.stack([(116 * fy - 16) * 2.55, 500 * (fx - fy) + 128, 200 * (fy - fz) + 128], axis=-1)
    return np.asarray(np.clip(np.rint(lab), 0, 255), np.uint8)


def similarity(one: Descriptor | None, other: Descriptor | None) -> float:
    """Return the Bhattacharyya coefficient of two descriptors, 0 to 1; 1 if either is None."""
    return 1.0 if one is None or other is None else float(one @ other)
