"""The parts of a picture that have changed since they were last searched for faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.types import Box

from .optical_flow import SmallPicture

WHOLE_EVERY = 5
"""Every detection of this number searches the whole picture. A face that was missed, or that moved
too little to be noticed, is found then."""
_SIDE = 80
"""Longest side in blocks of the picture in which changes are measured."""
_CHANGED = 6
"""Difference of the mean grey level of a block that counts as a change. The noise of a sensor is
averaged out within a block."""
_SURROUNDINGS = np.ones((5, 5), np.uint8)
"""Blocks around a changed block that belong to the changed part. Parts of a moving face may be as
bright as before."""
_MARGIN = 0.08
"""Margin around a changed part, as a fraction of the longest side of the picture."""
_AROUND = 0.75
"""Margin around a face that is searched for, as a fraction of its side."""
_MOST = 0.5
"""Fraction of the picture from which the whole picture is searched."""
_OVERHEAD = 0.05
"""Cost of searching one more region, as a fraction of the cost of the whole picture."""
_INSIDE = 0.99
"""Fraction of a box that must lie in a searched part."""


@dataclass(frozen=True, slots=True, eq=False)
class SearchPlan:
    """The parts of a frame that a detection must search.

    Attributes:
        regions: N disjoint regions in pixels of the frame: none if nothing has changed. None: the
            whole picture.
        small: The frame.
    """

    regions: list[Box] | None
    small: SmallPicture


class MotionGate:
    """Chooses the parts of a picture that a detection must search.

    A part is searched if a block of it has changed since it was last searched, or if a face that is
    tracked there may have moved. The first frame, a light that is switched on and a moved camera
    change most blocks, so the whole picture is searched.
    """

    def __init__(self) -> None:
        self._reference: npt.NDArray[np.int16] | None = None
        self._size = (0, 0)
        self._since_whole = 0

    def plan(self, small: SmallPicture, young: Sequence[Box], known_faces: Sequence[Box] = ()) -> SearchPlan:
        """Choose the parts of a frame to search.

        Args:
            small: The frame.
            young: Boxes in pixels of the frame whose surroundings are searched in any case.
            known_faces: Boxes whose surroundings are searched if a part of them has changed.
        """
        blocks, known = _blocks(small), self._reference
        whole = SearchPlan(None, small)
        if known is None or known.shape != blocks.shape or self._size != small.size or self._since_whole + 1 >= WHOLE_EVERY:
            return whole
        changed = np.asarray(np.abs(blocks - known) > _CHANGED, np.uint8)
        changed = np.asarray(cv2.dilate(changed, _SURROUNDINGS), np.uint8)
        width, height = small.size
        across, down = width / blocks.shape[1], height / blocks.shape[0]
        margin = _MARGIN * max(width, height)
        _, _, parts, _ = cv2.connectedComponentsWithStats(changed, connectivity=8)
        grown = [_grown((x * across, y * down, (x + w) * across, (y + h) * down), margin) for x, y, w, h in parts[1:, :4].tolist()]
        touched = [box for box in known_faces if any(_overlap(box, part) for part in grown)]
        grown += [_grown(box, _AROUND * max(box[2] - box[0], box[3] - box[1])) for box in (*young, *touched)]
        clipped = [(max(x1, 0.0), max(y1, 0.0), min(x2, width), min(y2, height)) for x1, y1, x2, y2 in grown]
        regions = _disjoint([box for box in clipped if box[2] - box[0] >= 1 and box[3] - box[1] >= 1])
        area = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in regions) / (width * height)
        if area + _OVERHEAD * len(regions) > _MOST:
            return whole
        return SearchPlan(regions, small)

    def mark_searched(self, plan: SearchPlan) -> None:
        """Record that the parts of a plan were searched."""
        blocks, known = _blocks(plan.small), self._reference
        if plan.regions is None or known is None or known.shape != blocks.shape:
            self._reference, self._size, self._since_whole = blocks, plan.small.size, 0
            return
        self._since_whole += 1
        across, down = plan.small.size[0] / blocks.shape[1], plan.small.size[1] / blocks.shape[0]
        for x1, y1, x2, y2 in plan.regions:
            part = slice(int(y1 / down), ceil(y2 / down)), slice(int(x1 / across), ceil(x2 / across))
            known[part] = blocks[part]


def is_inside(box: Box, regions: Sequence[Box]) -> bool:
    """Return True if nearly all of a box lies in one of the regions."""
    area = max(box[2] - box[0], 1e-6) * max(box[3] - box[1], 1e-6)
    for region in regions:
        width = min(box[2], region[2]) - max(box[0], region[0])
        height = min(box[3], region[3]) - max(box[1], region[1])
        if width > 0 and height > 0 and width * height >= _INSIDE * area:
            return True
    return False


def _blocks(small: SmallPicture) -> npt.NDArray[np.int16]:
    """Return the mean grey level of each block, int16 `[h, w]`."""
    height, width = small.grey.shape
    factor = max(1.0, max(height, width) / _SIDE)
    size = max(1, round(width / factor)), max(1, round(height / factor))
    return np.asarray(cv2.resize(small.grey, size, interpolation=cv2.INTER_AREA), np.int16)


def _grown(box: Box, margin: float) -> Box:
    return box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin


def _disjoint(regions: list[Box]) -> list[Box]:
    """Replace regions that overlap by the box around both, until none overlap."""
    merged: list[Box] = []
    for region in regions:
        current = region
        while True:
            touching = [other for other in merged if _overlap(current, other)]
            if not touching:
                break
            merged = [other for other in merged if not _overlap(current, other)]
            for other in touching:
                current = min(current[0], other[0]), min(current[1], other[1]), max(current[2], other[2]), max(current[3], other[3])
        merged.append(current)
    return merged


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
