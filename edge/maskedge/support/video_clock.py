"""The time of a film's frames, whatever their time stamps are like."""

from __future__ import annotations

import math

LONGEST_GAP = 3600.0
"""Seconds between two frames of a film; more is taken for a damaged time stamp."""


class VideoClock:
    """Gives the frames of a film their time, which never goes back.

    The container's time stamp counts. A frame without one, as in H.264 without a container, comes one frame after the one
    before it. So does one whose stamp goes back or more than an hour ahead, as in recordings strung together and in damaged
    files; the stamps behind it count on from there.

    Args:
        fps: Frames a second where there are no stamps.
    """

    def __init__(self, fps: float) -> None:
        self._step = 1 / fps
        self._shift = 0.0
        self._last: float | None = None

    def __call__(self, seconds: float) -> float:
        """Give the time of the next frame.

        Args:
            seconds: Its time stamp; 0 or nonsense where it has none.
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
