"""Faces turned aside or bent down, in place.

The picture around a face is a surface in space: the landmarks at their own distance, the sides of the head
behind them, and the surroundings, which stay. The surface is turned and drawn again (Zhu et al., "Face
alignment across large poses: a 3D solution", 2016).
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.tri import Triangulation

from maskedge.types import Box, Image

from .landmarks import LEFT_CHEEK, OVAL, RIGHT_CHEEK, Points

_AXIS = 0.15
"""Distance of the axis of the head behind the cheeks, in widths of the face."""
_SIDES = ((1.22, 0.15), (1.42, 0.40))
"""Rings around the face that turn with it: size relative to the outline of the face, and distance behind
the axis in widths of the face."""
_STILL = 2.1
"""Size of the ring that stays where it is, relative to the outline of the face."""
_BEHIND = 5.0
"""Distance of the still ring, in widths of the face: behind everything that turns."""
_MOST_MARGIN = 0.15
"""Largest distance of the sides of a box from the landmarks, relative to their extent."""
_SUBPIXELS = 4
"""Bits of the fraction of a corner's position in a drawing."""


def turn_face(image: Image, points: Points, yaw: float, pitch: float) -> tuple[Image, Points]:
    """Turn a face aside and bend it.

    Args:
        image: uint8 `[H, W, 3]`, BGR. It is not changed.
        points: The landmarks of the face.
        yaw: Degrees to turn by, positive to the right of the picture.
        pitch: Degrees to bend by, positive downwards.

    Returns:
        The new picture, uint8 `[H, W, 3]`, and the landmarks in it.
    """
    surface, moving = _surface(points)
    rotated = surface.copy()
    axis, width = _axis(points)
    rotated[:moving] = (surface[:moving] - axis) @ _rotation(yaw, pitch).T + axis
    rotated[moving:, 2] = axis[2] + _BEHIND * width
    low = np.floor(surface[moving:, :2].min(0)).astype(int)
    high = np.ceil(surface[moving:, :2].max(0)).astype(int)
    patch = _draw(image, surface[:, :2], rotated - np.array([*low, 0]), moving, (high - low + 1).tolist(), low)
    result = image.copy()
    height, wide = image.shape[:2]
    (left, top), (right, bottom) = np.maximum(low, 0).tolist(), np.minimum(high + 1, [wide, height]).tolist()
    result[top:bottom, left:right] = patch[top - low[1] : bottom - low[1], left - low[0] : right - low[0]]
    return result, rotated[: len(points)]


def turned_box(box: Box, before: Points, after: Points) -> Box:
    """Return the box of a turned face: as far from its landmarks as before, at most `_MOST_MARGIN`.

    Args:
        box: The box of the face before, as x1, y1, x2, y2.
        before: Its landmarks before.
        after: Its landmarks now.
    """
    low, high = before[:, :2].min(0), before[:, :2].max(0)
    margins = np.concatenate([(box[:2] - low) / (high - low), (box[2:] - high) / (high - low)]).clip(-_MOST_MARGIN, _MOST_MARGIN)
    low, high = after[:, :2].min(0), after[:, :2].max(0)
    x1, y1 = (low + margins[:2] * (high - low)).tolist()
    x2, y2 = (high + margins[2:] * (high - low)).tolist()
    return x1, y1, x2, y2


def _axis(points: Points) -> tuple[npt.NDArray[np.float64], float]:
    """Return a point on the axis of the head, and the width of the face."""
    left, right = points[LEFT_CHEEK], points[RIGHT_CHEEK]
    width = float(np.linalg.norm(right - left))
    middle = (left + right) / 2
    return middle + np.array([0, 0, _AXIS * width]), width


def _surface(points: Points) -> tuple[Points, int]:
    """Return the corners of the surface, float64 `[N, 3]`, and how many of them move; the rest stay."""
    axis, width = _axis(points)
    outline = points[list(OVAL), :2]
    middle = outline.mean(0)
    rings = [
        np.column_stack([middle + size * (outline - middle), np.full(len(OVAL), axis[2] + back * width)]) for size, back in _SIDES
    ]
    still = np.column_stack([middle + _STILL * (outline - middle), np.zeros(len(OVAL))])
    corners = np.concatenate([points, *rings, still])
    return corners, len(corners) - len(still)


def _rotation(yaw: float, pitch: float) -> npt.NDArray[np.float64]:
    cos, sin = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    aside = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
    cos, sin = math.cos(math.radians(pitch)), math.sin(math.radians(pitch))
    return np.asarray(np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ aside)


def _draw(
    image: Image, corners: npt.NDArray[np.float64], rotated: Points, moving: int, size: list[int], low: npt.NDArray[np.int64]
) -> Image:
    """Draw the turned surface, the farthest triangle first.

    Args:
        image: The picture.
        corners: float64 `[N, 2]`, the corners in the picture.
        rotated: float64 `[N, 3]`, the turned corners in the drawing.
        moving: How many of them move.
        size: Width and height of the drawing.
        low: The upper left corner of the drawing in the picture. Where no triangle lies, it shows the picture.

    Returns:
        uint8 `[H, W, 3]`.
    """
    triangles = np.asarray(Triangulation(corners[:, 0], corners[:, 1]).triangles)
    before, after = _areas(corners[triangles]), _areas(rotated[triangles])
    still = (triangles >= moving).any(1)
    # A triangle of the head that shows its back is hidden.
    triangles = triangles[(np.abs(after) > 1e-3) & (still | (np.sign(before) == np.sign(after)))]
    distance = rotated[triangles, 2].mean(1)
    triangles = triangles[np.argsort(-distance)]
    number = np.full((size[1], size[0]), -1, np.int32)
    for index, corner in enumerate(np.round(rotated[triangles, :2] * 2**_SUBPIXELS).astype(np.int32)):
        cv2.fillConvexPoly(number, corner, index, cv2.LINE_8, _SUBPIXELS)
    rows, columns = np.nonzero(number >= 0)
    # An affine map for each triangle: from the drawing to the picture.
    own = np.concatenate([rotated[triangles, :2], np.ones((len(triangles), 3, 1))], axis=2)
    maps = np.linalg.pinv(own) @ corners[triangles]
    x, y = np.meshgrid(*(np.arange(length, dtype=np.float32) + start for length, start in zip(size, low.tolist(), strict=True)))
    pixels = np.column_stack([columns, rows, np.ones(len(rows))])
    x[rows, columns], y[rows, columns] = np.einsum("nk,nkj->jn", pixels, maps[number[rows, columns]])
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _areas(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return twice the areas of triangles, float64 `[T, 3, 2]` or more, negative if they run the other way round."""
    first, second = corners[:, 1, :2] - corners[:, 0, :2], corners[:, 2, :2] - corners[:, 0, :2]
    return np.asarray(first[:, 0] * second[:, 1] - second[:, 0] * first[:, 1])
