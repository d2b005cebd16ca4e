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
"""Longest side in pixels of the small picture."""
_POINTS = 4
"""Points that are followed on a face, in each direction."""
_INSIDE = 0.7
"""The part of the box that they cover: at its edge there is background."""
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
        if last is None or current is None or last.shape != current.shape or not boxes or min(last.shape) < 2 * _WINDOW:
            return [None] * len(boxes)
        corners = np.asarray(boxes, np.float32)
        sides = corners[:, 2:] - corners[:, :2]
        steps = ((np.arange(_POINTS, dtype=np.float32) + 0.5) / _POINTS - 0.5) * _INSIDE + 0.5
        grid = np.stack(np.meshgrid(steps, steps), -1).reshape(1, -1, 2)
        points = (corners[:, None, :2] + grid * sides[:, None]) * np.float32(scale)
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
        trusted = ((found.ravel() == 1) & (errors.ravel() < _TRUSTED_ERROR)).reshape(points.shape[:2])
        return [self._shift(*one) for one in zip(moved, trusted, sides.max(axis=1) * scale, strict=True)]

    def _shift(self, moved: npt.NDArray[np.float32], trusted: npt.NDArray[np.bool_], side: float) -> Shift | None:
        if trusted.mean() < _TRUSTED_POINTS:
            return None
        middle = np.median(moved[trusted], axis=0)
        if float(np.median(np.abs(moved[trusted] - middle))) > _TRUSTED_SPREAD * side:
            return None
        return float(middle[0]) / self._scale, float(middle[1]) / self._scale


def _small(image: Image) -> tuple[npt.NDArray[np.uint8], float]:
    """The green channel, shrunk, and its scale. Skipping pixels first: averaging all of a large picture would cost more than the flow."""
    step = max(1, max(image.shape[:2]) // (2 * SIDE))
    green = np.ascontiguousarray(image[::step, ::step, 1])
    scale = min(1.0, SIDE / max(green.shape))
    if scale < 1:
        size = max(1, round(green.shape[1] * scale)), max(1, round(green.shape[0] * scale))
        green = np.asarray(cv2.resize(green, size, interpolation=cv2.INTER_AREA), np.uint8)
    return green, scale / step
