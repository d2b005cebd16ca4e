"""Seconds between frames, from any time stamps or none."""

from __future__ import annotations

import math
import time

from maskedge.errors import UsageError

USUAL = 1 / 25
"""Seconds between the frames of a usual camera, at which the constants of tracking were chosen."""
_RESTART = 0.2
"""Seconds by which a time stamp must lie before the newest one to start a new count (the clock was
set, the video restarted); otherwise the frame is only late."""


class Elapsed:
    """The seconds between time stamps: never negative, with late, repeated and restarted stamps."""

    def __init__(self) -> None:
        self._newest: float | None = None

    def step(self, moment: float) -> float:
        """Advance to the next frame.

        Args:
            moment: Its time stamp in seconds.

        Returns:
            Seconds since the newest earlier stamp; 0 for the first frame and for one that is not
            newer.
        """
        newest, self._newest = self._newest, moment
        if newest is None or moment < newest - _RESTART:
            return 0.0
        self._newest = max(newest, moment)
        return self._newest - newest


class CallTimes:
    """Time stamps for frames without one: the time of the call, at least `USUAL` after the last.

    That is right for a live camera. A video that is read faster than real time counts as one of
    25 frames/s.
    """

    def __init__(self) -> None:
        self._moment = 0.0
        self._called: float | None = None

    def stamp(self, moment: float | None) -> float:
        """Return the time stamp of the next frame: `moment` if it is given.

        Raises:
            UsageError: `moment` is no finite number.
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
