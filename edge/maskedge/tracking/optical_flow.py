"""Movement of faces between frames without detection: optical flow on a small grey picture."""

from __future__ import annotations

from collections.abc import Sequence

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
_WINDOW = 11
_LEVELS = 2
_TRUSTED_POINTS = 0.5
"""Fraction of the points of a face that must be found again."""
_TRUSTED_ERROR = 25.0
"""Mean difference of grey levels around a point up to which it counts as found again."""
_TRUSTED_SPREAD = 0.2
"""Maximum median spread of the movements of a face's points, as a fraction of its side."""


class Motion:
    """Movement of boxes: the median pyramidal Lucas-Kanade optical flow of points in each box."""

    def __init__(self) -> None:
        self._last: npt.NDArray[np.uint8] | None = None
        self._scale = 1.0

    @property
    def is_empty(self) -> bool:
        """True if there is no previous frame to compare the next one with."""
        return self._last is None

    def forget(self) -> None:
        """Drop the previous frame."""
        self._last = None

    def set_frame(self, image: Image) -> None:
        """Keep `image`, uint8 `[H, W, 3]` BGR, as the previous frame for the next one."""
        self._last, self._scale = _small(image)

    def shifts(self, image: Image, boxes: Sequence[Box]) -> list[Shift | None]:
        """Return the movement of each of N boxes of the previous frame, and keep `image`.

        Args:
            image: The new frame, uint8 `[H, W, 3]`, BGR.
            boxes: N boxes in pixels of the previous frame.

        Returns:
            N movements in pixels; None where the flow is not reliable.
        """
        last, scale = self._last, self._scale
        self.set_frame(image)
        current = self._last
        if last is None or current is None or not boxes or min(last.shape) < 2 * _WINDOW:
            return [None] * len(boxes)
        if (last.shape, scale) != (current.shape, self._scale):
            return [None] * len(boxes)
        corners = np.asarray(boxes, np.float32)
        sides = corners[:, 2:] - corners[:, :2]
        points = (corners[:, None, :2] + _GRID * sides[:, None]) * np.float32(scale)
        flat = np.ascontiguousarray(points.reshape(-1, 2))
        # The type stub does not accept None, which allocates the output.
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
        # The median tolerates that nearly half of the points are lost.
        middle = np.median(moved, axis=1)
        spread = np.median(np.abs(moved - middle[:, None]), axis=1).max(axis=1)
        trusted = (good >= _TRUSTED_POINTS) & (spread <= _TRUSTED_SPREAD * scale * sides.max(axis=1))
        return [
            (x / scale, y / scale) if reliable else None for (x, y), reliable in zip(middle.tolist(), trusted.tolist(), strict=True)
        ]


def _small(image: Image) -> tuple[npt.NDArray[np.uint8], float]:
    """Return the green channel, shrunk to about `SIDE`, and its scale.

    Subsampling followed by smoothing tracks faces as well as area averaging, at a tenth of the
    cost.
    """
    step = max(1, max(image.shape[:2]) // SIDE)
    return np.asarray(cv2.blur(image[::step, ::step, 1], (3, 3)), np.uint8), 1 / step
