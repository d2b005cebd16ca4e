"""Time of a video's frames, whatever their time stamps are like."""

from __future__ import annotations

import math

LONGEST_GAP = 3600.0
"""Longest time in seconds between two frames. A longer one is taken for a damaged time stamp."""


class VideoClock:
    """Assigns the frames of a video their times, which never go back.

    The time stamp of the container counts. A frame without one, as in raw H.264, comes one frame
    interval after the frame before it. So does a frame whose stamp goes back or jumps more than an
    hour ahead, as in concatenated recordings and damaged files; the stamps after it count on from
    there.

    Args:
        fps: Frames per second where there are no stamps.
    """

    def __init__(self, fps: float) -> None:
        self._step = 1 / fps
        self._shift = 0.0
        self._last: float | None = None

    def __call__(self, seconds: float) -> float:
        """Return the time of the next frame in seconds.

        Args:
            seconds: Its time stamp; 0 or an invalid number where it has none.
        """
        if self._last is None:
            self._last = seconds if math.isfinite(seconds) and seconds > 0 else 0.0
            return self._last
        following = self._last + self._step
        if math.isfinite(seconds) and seconds > 0:
            if not 0 < seconds + self._shift - self._last <= LONGEST_GAP:
                self._shift = following - seconds
            following = seconds + self._shift
        self._last = following
        return following
