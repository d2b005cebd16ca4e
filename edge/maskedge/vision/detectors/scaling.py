"""The size at which a detector scans a picture."""

from __future__ import annotations

_SMALLEST_SCAN = 96
"""Minimum of the longest side of a scan, in pixels. A smaller picture has too little detail."""


def scaled_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """Return width and height in whole pixels after scaling, at least 1 each."""
    return max(1, round(width * scale)), max(1, round(height * scale))


def choose_scale(smallest: float, min_face_size: int | None, side: int | None, longest: int) -> float:
    """Return the factor from pixels of a picture to pixels of the scan, at most 1.

    A picture is never enlarged, since enlarging finds no further faces.

    Args:
        smallest: Side in pixels of the smallest face that the detector finds in its scan.
        min_face_size: Side in pixels of the picture of the smallest face that must be found.
        side: Longest side of the scan if `min_face_size` is None; None for full size.
        longest: Longest side of the picture.
    """
    if min_face_size is not None:
        return min(1.0, max(smallest / min_face_size, _SMALLEST_SCAN / longest))
    return min(1.0, side / longest) if side else 1.0
