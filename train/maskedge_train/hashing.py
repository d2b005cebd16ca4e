"""Perceptual hashes: pictures that look alike get hashes that differ in few bits."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.types import Image

_BYTE_BITS = np.array([value.bit_count() for value in range(256)], np.uint8)


def perceptual_hash(grey: npt.NDArray[np.uint8]) -> np.uint64:
    """Hash a grey picture `[H, W]` to 64 bits.

    The sign of the 64 lowest frequencies of a 32 x 32 thumbnail's cosine transform against their median
    (the DCT hash of C. Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010).
    """
    thumbnail = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(thumbnail)[:8, :8].ravel()
    # The first coefficient is the mean brightness: it says nothing of what is in the picture.
    bits = low > np.median(low[1:])
    packed: np.uint64 = np.packbits(bits).view(np.uint64)[0]
    return packed


def perceptual_hashes(image: Image) -> npt.NDArray[np.uint64]:
    """Hash a picture and its mirror image: uint64 `[2]`."""
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    return np.array([perceptual_hash(grey), perceptual_hash(grey[:, ::-1])], np.uint64)


def near_pairs(hashes: npt.NDArray[np.uint64], distance: int = 6) -> npt.NDArray[np.int64]:
    """Find the pairs of pictures that look alike, mirrored or not.

    Args:
        hashes: uint64 `[N, 2]`: hash and mirror hash of each picture.
        distance: Greatest number of differing bits.

    Returns:
        int64 `[P, 2]`: index pairs, first < second.
    """
    pairs = []
    plain = hashes[:, 0]
    for index in range(len(plain) - 1):
        rest = plain[index + 1 :]
        close = np.zeros(len(rest), bool)
        for own in hashes[index]:
            differing = _BYTE_BITS[(rest ^ own).view(np.uint8).reshape(-1, 8)].sum(axis=1)
            close |= differing <= distance
        found = np.flatnonzero(close) + index + 1
        pairs.append(np.stack([np.full_like(found, index), found], axis=1))
    return np.concatenate(pairs) if pairs else np.empty((0, 2), np.int64)
