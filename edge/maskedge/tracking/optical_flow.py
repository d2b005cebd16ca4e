"""Where faces have moved since the last frame, without looking for them anew: optical flow on a small grey picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.types import Box, Image

Shift = tuple[float, float]
"""A movement: x and y in pixels of the frame."""

SIDE = 240
"""Longest side in pixels of the small picture; it has up to twice as many."""
_POINTS = 4
"""Points that are followed on a face, in each direction."""
_INSIDE = 0.7
"""The part of the box that they cover: at its edge there is background."""
_STEPS = ((np.arange(_POINTS, dtype=np.float32) + 0.5) / _POINTS - 0.5) * _INSIDE + 0.5
_GRID = np.stack(np.meshgrid(_STEPS, _STEPS), -1).reshape(1, -1, 2)
"""The points as fractions of the box, float32 `[1, P, 2]`."""
_WINDOW = 11
_LEVELS = 2
_TRUSTED_POINTS = 0.5
"""Fraction of a face's points that must be found again."""
_TRUSTED_ERROR = 25.0
"""Mean difference of grey levels round a point, up to which it counts as found again."""
_TRUSTED_SPREAD = 0.2
"""How far the points of a face may move apart, as a fraction of its side."""


class Motion:
    """Follows boxes from frame to frame (Lucas and Kanade's method, in a pyramid; the median over the points of a box)."""

    def __init__(self) -> None:
        self._last: npt.NDArray[np.uint8] | None = None
        self._scale = 1.0

    @property
    def blind(self) -> bool:
        """Tell whether there is no last frame to compare the next one with."""
        return self._last is None

    def forget(self) -> None:
        """Forget the last frame: the next one has nothing to be compared with."""
        self._last = None

    def see(self, image: Image) -> None:
        """Keep `image`, uint8 `[H, W, 3]` BGR, as the frame that the next one is compared with."""
        self._last, self._scale = _small(image)

    def shifts(self, image: Image, boxes: Sequence[Box]) -> list[Shift | None]:
        """Tell how each of N boxes of the last frame has moved, and keep `image` for the next.

        Returns:
            N movements in pixels; None where it cannot be told.
        """
        last, scale = self._last, self._scale
        self.see(image)
        current = self._last
        if last is None or current is None or not boxes or min(last.shape) < 2 * _WINDOW:
            return [None] * len(boxes)
        if (last.shape, scale) != (current.shape, self._scale):
            return [None] * len(boxes)
        corners = np.asarray(boxes, np.float32)
        sides = corners[:, 2:] - corners[:, :2]
        points = (corners[:, None, :2] + _GRID * sides[:, None]) * np.float32(scale)
        flat = np.ascontiguousarray(points.reshape(-1, 2))
        # The stub wants an array where None asks for a new one.
        there, found, errors = cv2.calcOpticalFlowPyrLK(
            last,
            current,
            flat,
            None,
            winSize=(_WINDOW, _WINDOW),
            maxLevel=_LEVELS,  # type: ignore[call-overload]
        )
        moved = there.reshape(points.shape) - points
        good = ((found == 1) & (errors < _TRUSTED_ERROR)).reshape(points.shape[:2]).mean(axis=1)
        # The median bears that nearly half of the points went astray.
        middle = np.median(moved, axis=1)
        spread = np.median(np.abs(moved - middle[:, None]), axis=1).max(axis=1)
        trusted = (good >= _TRUSTED_POINTS) & (spread <= _TRUSTED_SPREAD * scale * sides.max(axis=1))
        return [(x / scale, y / scale) if seen else None for (x, y), seen in zip(middle.tolist(), trusted.tolist(), strict=True)]


def _small(image: Image) -> tuple[npt.NDArray[np.uint8], float]:
    """The green channel, shrunk to about `SIDE`, and its scale.

    Skipping pixels and smoothing what is left follows faces as well as averaging all of them does, at a tenth of the cost.
    """
    step = max(1, max(image.shape[:2]) // SIDE)
    return np.asarray(cv2.blur(image[::step, ::step, 1], (3, 3)), np.uint8), 1 / step
