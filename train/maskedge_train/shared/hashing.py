"""Detection of copies of pictures: near-identical, mirrored, rotated."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.types import Image

_BYTE_BITS = np.array([value.bit_count() for value in range(256)], np.uint8)
NEAR = 6
"""Differing bits of 64 up to which two pictures are near-duplicates."""
_ANGLES, _RINGS = 48, 16
_MAX_ASPECT = 16
"""Longest side of a picture for its polar thumbnail, in shortest sides. OpenCV remaps up to 32,766 pixels."""
_MAX_ROTATION = 7
"""Maximum rotation in steps of 7.5 degrees: slightly over 50 degrees in either direction."""


def perceptual_hash(grey: npt.NDArray[np.uint8]) -> np.uint64:
    """Hash a grey picture `[H, W]` to 64 bits.

    The bits are the signs of the 64 lowest frequencies of a 32 x 32 thumbnail's cosine transform,
    relative to their median (the DCT hash of C. Zauner, "Implementation and benchmarking of
    perceptual image hash functions", 2010).
    """
    thumbnail = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(thumbnail)[:8, :8].ravel()
    # The first coefficient is the mean brightness, which does not depend on the content.
    bits = low > np.median(low[1:])
    packed: np.uint64 = np.packbits(bits).view(np.uint64)[0]
    return packed


def perceptual_hashes(image: Image) -> npt.NDArray[np.uint64]:
    """Hash a BGR picture and its mirror image: uint64 `[2]`."""
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    return np.array([perceptual_hash(grey), perceptual_hash(grey[:, ::-1])], np.uint64)


def polar_thumbnail(image: Image) -> npt.NDArray[np.float32]:
    """Describe the largest circle in a picture: float32 `[48, 16]`, angle by radius.

    The result has mean 0 and length 1. A rotated copy has the same thumbnail, rolled along the
    angle; a mirrored copy has it reversed. The corners, which a rotation fills with black, are left
    out.
    """
    longest = _MAX_ASPECT * min(image.shape[:2])
    top, left = (max(0, side - longest) // 2 for side in image.shape[:2])
    image = image[top : top + longest, left : left + longest]
    height, width = image.shape[:2]
    scale = 128 / min(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    grey = cv2.GaussianBlur(cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), (0, 0), 2)
    centre = (size[0] - 1) / 2, (size[1] - 1) / 2
    polar = cv2.warpPolar(grey, (64, 2 * _ANGLES), centre, 62, cv2.WARP_POLAR_LINEAR)
    rings = cv2.resize(polar, (_RINGS, _ANGLES), interpolation=cv2.INTER_AREA).astype(np.float32)
    # Outer rings cover more of the picture.
    area = np.arange(_RINGS, dtype=np.float32) + 0.5
    rings -= (rings * area).sum() / (area.sum() * _ANGLES)
    rings *= np.sqrt(area)
    return np.asarray(rings / (np.linalg.norm(rings) + 1e-6), np.float32)


def is_near(hashes: npt.NDArray[np.uint64], own: np.uint64, distance: int = NEAR) -> npt.NDArray[np.bool_]:
    """Return which of `[N]` hashes differ from `own` in at most `distance` bits, bool `[N]`."""
    return np.asarray(_BYTE_BITS[(hashes ^ own).view(np.uint8).reshape(-1, 8)].sum(axis=1) <= distance, np.bool_)


def near_pairs(
    hashes: npt.NDArray[np.uint64], distance: int = NEAR, progress: Callable[[], None] = lambda: None
) -> npt.NDArray[np.int64]:
    """Find pairs of similar pictures, mirrored or not.

    Args:
        hashes: uint64 `[N, 2]`: hash and mirror hash of each picture.
        distance: Maximum number of differing bits.
        progress: Called after each picture.

    Returns:
        int64 `[P, 2]`: index pairs, first < second.
    """
    pairs = []
    plain = hashes[:, 0]
    for index in range(len(plain) - 1):
        rest = plain[index + 1 :]
        close = np.zeros(len(rest), bool)
        for own in hashes[index]:
            close |= is_near(rest, own, distance)
        found = np.flatnonzero(close) + index + 1
        pairs.append(np.stack([np.full_like(found, index), found], axis=1))
        progress()
    return np.concatenate(pairs) if pairs else np.empty((0, 2), np.int64)


def rotated_pairs(thumbnails: npt.NDArray[np.float32], correlation: float = 0.95) -> npt.NDArray[np.int64]:
    """Find pairs of pictures that are rotations of each other by up to about 50 degrees.

    Mirrored pictures are found, too.

    Args:
        thumbnails: float32 `[N, 48, 16]` from `polar_thumbnail`.
        correlation: Minimum correlation, 0 to 1.

    Returns:
        int64 `[P, 2]`: index pairs, first < second.
    """
    count = len(thumbnails)
    flat = thumbnails.reshape(count, -1)
    pairs = []
    for start in range(0, count, 1024):
        rows = thumbnails[start : start + 1024]
        best = np.full((len(rows), count - start), -1, np.float32)
        for rotated in (rows, np.roll(rows[:, ::-1], 1, axis=1)):
            for step in range(-_MAX_ROTATION, _MAX_ROTATION + 1):
                np.maximum(best, np.roll(rotated, step, axis=1).reshape(len(rows), -1) @ flat[start:].T, out=best)
        first, second = np.nonzero(best >= correlation)
        later = second > first
        pairs.append(np.stack([first[later] + start, second[later] + start], axis=1))
    return np.concatenate(pairs).astype(np.int64) if pairs else np.empty((0, 2), np.int64)
