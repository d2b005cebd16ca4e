"""How much time goes by from frame to frame, whatever their time stamps are like."""

from __future__ import annotations

import math
import time

from maskedge.errors import UsageError

USUAL = 1 / 25
"""Seconds from frame to frame of a usual camera. What tracking does was chosen at this rate."""
_RESTART = 0.2
"""A time stamp that is further back than this starts a new count (the clock was set, the video began again); one that is less far
back is late only."""


class Elapsed:
    """Counts the seconds between time stamps: never negative, and not fooled by stamps that are late, repeated, or begin again."""

    def __init__(self) -> None:
        self._newest: float | None = None

    def step(self, moment: float) -> float:
        """Go on to the next frame.

        Args:
            moment: Its time stamp in seconds.

        Returns:
            Seconds since the newest stamp before; 0 for the first frame and for one that is not newer.
        """
        newest, self._newest = self._newest, moment
        if newest is None or moment < newest - _RESTART:
            return 0.0
        self._newest = max(newest, moment)
        return self._newest - newest


class CallTimes:
    """Gives frames that came without a time stamp one: the time of the call, but at least `USUAL` after the one before.

    Right for a camera, which is waited for. A video that is read faster than it was taken is taken for one of 25 frames/s.
    """

    def __init__(self) -> None:
        self._moment = 0.0
        self._called: float | None = None

    def stamp(self, moment: float | None) -> float:
        """Give the time stamp of the next frame: `moment` where there is one.

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
