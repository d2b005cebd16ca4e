"""Seconds between frames, with or without time stamps."""

from __future__ import annotations

import math
import time

from maskedge.errors import UsageError

USUAL = 1 / 25
"""Seconds between the frames of a usual camera. The constants of tracking were chosen at this rate.
"""
_RESTART = 0.2
"""A time stamp that is more than this number of seconds older than the newest one starts a new
count (the clock was set, or the video restarted). Otherwise the frame is only late."""


class Elapsed:
    """Measures the seconds between time stamps, which may be late, repeated or restarted."""

    def __init__(self) -> None:
        self._newest: float | None = None

    def step(self, moment: float) -> float:
        """Advance to the next frame.

        Args:
            moment: Time stamp of the frame in seconds.

        Returns:
            Seconds since the newest earlier stamp, never negative; 0 for the first frame and for a
            frame that is not newer.
        """
        newest, self._newest = self._newest, moment
        if newest is None or moment < newest - _RESTART:
            return 0.0
        self._newest = max(newest, moment)
        return self._newest - newest


class CallTimes:
    """Time stamps for frames without their own: the time of the call.

    Each stamp is at least `USUAL` after the previous one. This suits a live camera. A video that is
    read faster than real time is treated as 25 frames/s.
    """

    def __init__(self) -> None:
        self._moment = 0.0
        self._called: float | None = None

    def stamp(self, moment: float | None) -> float:
        """Return the time stamp of the next frame: `moment` if it is given.

        Raises:
            UsageError: `moment` is not finite.
        """
        now = time.perf_counter()
        if moment is not None:
            if not math.isfinite(moment):
                raise UsageError(f"moment is the time of a frame in seconds, a finite number; got {moment}.")
            self._moment = moment
        elif self._called is not None:
            self._moment += max(USUAL, now - self._called)
        self._called = now
        return self._moment
