"""Movement of faces between frames without detection: optical flow on small grey pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.types import Box, Image

Shift = tuple[float, float]
"""A movement in pixels of the frame: x, y."""

SIDE = 240
"""Longest side of the small picture in pixels. Rounding gives up to twice as many."""
_POINTS = 4
"""Number of points per face in each direction."""
_INSIDE = 0.7
"""Fraction of the box that the points cover. The edge of a box shows background."""
_STEPS = ((np.arange(_POINTS, dtype=np.float32) + 0.5) / _POINTS - 0.5) * _INSIDE + 0.5
_GRID = np.stack(np.meshgrid(_STEPS, _STEPS), -1).reshape(1, -1, 2)
"""The points as fractions of the box, float32 `[1, P, 2]`."""
_FIRST, _SECOND = np.triu_indices(_POINTS * _POINTS, 1)
"""The pairs of points, whose distances give the change of size."""
_DISTANCE = np.linalg.norm(_GRID[0, _FIRST] - _GRID[0, _SECOND], axis=1)
# The median of an even number of values; numpy.median would load numpy.ma at every start.
_APART = np.sort(_DISTANCE)[len(_DISTANCE) // 2 - 1 : len(_DISTANCE) // 2 + 1].mean() <= _DISTANCE
_FIRST, _SECOND = _FIRST[_APART], _SECOND[_APART]
_WINDOW = 11
_LEVELS = 2
_TRUSTED_POINTS = 0.5
"""Fraction of the points of a face that must be found again."""
_TRUSTED_ERROR = 25.0
"""Mean difference of grey levels around a point up to which it counts as found again."""
_TRUSTED_SPREAD = 0.2
"""Maximum median spread of the movements of a face's points, as a fraction of its side."""
_SMALLEST = 12.0
"""Minimum side of a face in the small picture, in pixels, for a measurement of its size."""
_LARGEST_CHANGE = 0.1
"""Maximum change of a face's size from one frame to the next, as a fraction."""


@dataclass(frozen=True, slots=True, eq=False)
class SmallPicture:
    """A small grey picture of a frame.

    Attributes:
        grey: uint8 `[h, w]`.
        scale: Pixels of `grey` per pixel of the frame.
        size: Width and height of the frame in pixels.
    """

    grey: npt.NDArray[np.uint8]
    scale: float
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Movement:
    """The movement of a box from one frame to the next.

    Attributes:
        shift: Movement of the centre in pixels of the frame.
        growth: New size as a factor of the old size.
    """

    shift: Shift
    growth: float = 1.0


def shrink(image: Image) -> SmallPicture:
    """Return the small picture of `image`, uint8 `[H, W, 3]` BGR: its green channel.

    Subsampling followed by smoothing tracks faces as well as area averaging, at a tenth of the
    cost.
    """
    height, width = image.shape[:2]
    step = max(1, max(height, width) // SIDE)
    grey = np.asarray(cv2.blur(image[::step, ::step, 1], (3, 3)), np.uint8)
    return SmallPicture(grey, 1 / step, (width, height))


def movements(last: SmallPicture, current: SmallPicture, boxes: Sequence[Box]) -> list[Movement | None]:
    """Return the movement of N boxes, measured by pyramidal Lucas-Kanade optical flow.

    The shift is the median of the movements of points in the box. The growth is the median ratio of
    the distances between these points (Kalal et al., "Forward-Backward Error", 2010).

    Args:
        last: The previous frame.
        current: The new frame.
        boxes: N boxes in pixels of the previous frame.

    Returns:
        N movements; None where the flow is not reliable.
    """
    scale = current.scale
    if not boxes or last.size != current.size or min(last.grey.shape) < 2 * _WINDOW:
        return [None] * len(boxes)
    corners = np.asarray(boxes, np.float32)
    sides = corners[:, 2:] - corners[:, :2]
    points = (corners[:, None, :2] + _GRID * sides[:, None]) * np.float32(scale)
    flat = np.ascontiguousarray(points.reshape(-1, 2))
    # The type stub does not accept None, which allocates the output.
    there, found, errors = cv2.calcOpticalFlowPyrLK(
        last.grey,
        current.grey,
        flat,
        None,
        winSize=(_WINDOW, _WINDOW),
        maxLevel=_LEVELS,  # type: ignore[call-overload]
    )
    there = there.reshape(points.shape)
    moved = there - points
    good = ((found == 1) & (errors < _TRUSTED_ERROR)).reshape(points.shape[:2]).mean(axis=1)
    # The median tolerates that nearly half of the points are lost.
    middle = np.median(moved, axis=1)
    spread = np.median(np.abs(moved - middle[:, None]), axis=1).max(axis=1)
    longest = sides.max(axis=1)
    trusted = (good >= _TRUSTED_POINTS) & (spread <= _TRUSTED_SPREAD * scale * longest)
    growth = np.where(longest * scale >= _SMALLEST, _growth(points, there), 1.0)
    return [
        Movement((x / scale, y / scale), factor) if reliable else None
        for (x, y), factor, reliable in zip(middle.tolist(), growth.tolist(), trusted.tolist(), strict=True)
    ]


def _growth(before: npt.NDArray[np.float32], after: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the median ratio of the distances of points, float32 `[N]`; points are `[N, P, 2]`."""
    old = np.linalg.norm(before[:, _FIRST] - before[:, _SECOND], axis=2)
    new = np.linalg.norm(after[:, _FIRST] - after[:, _SECOND], axis=2)
    ratio = np.median(new / np.maximum(old, 1e-3), axis=1)
    return np.asarray(np.clip(ratio, 1 - _LARGEST_CHANGE, 1 + _LARGEST_CHANGE), np.float32)
