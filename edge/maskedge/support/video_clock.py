"""Times of a video's frames, from missing or damaged time stamps too."""

from __future__ import annotations

import math

LONGEST_GAP = 3600.0
"""Maximum time between two frames, in seconds. A longer time is treated as a damaged time stamp."""


class VideoClock:
    """Assigns a time to each frame of a video. The times never decrease.

    A frame has the time stamp of the container. A frame without a stamp, as in raw H.264, is placed
    one frame interval after the previous frame. A frame is also placed there if its stamp goes back
    or jumps more than an hour ahead, as in concatenated recordings and damaged files. Later stamps
    are then shifted accordingly.

    Args:
        fps: Frames per second, for frames without stamps.
    """

    def __init__(self, fps: float) -> None:
        self._step = 1 / fps
        self._shift = 0.0
        self._last: float | None = None

    def __call__(self, seconds: float) -> float:
        """Return the time of the next frame in seconds.

        Args:
            seconds: Time stamp of the frame; 0 or an invalid number if it has none.
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
