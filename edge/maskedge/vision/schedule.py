"""The choice of the frames of a video in which a detector runs."""

from __future__ import annotations

from maskedge.tracking.elapsed import USUAL

_EARLIEST = 2 * USUAL
"""Minimum number of seconds between two detections when an early one is wanted."""
_ROUNDING = 1e-6
"""Tolerance in seconds for sums of durations."""


class DetectionSchedule:
    """Decides in which frames a detector runs.

    It runs after a number of frames, or after the time that this number takes at 25 frames/s.
    """

    def __init__(self) -> None:
        self._frames = 0
        self._seconds = 0.0
        self._credit = 0.0
        self._begun = False

    def next_frame(self, interval: float, every: int, *, redetect_soon: bool) -> bool:
        """Advance to the next frame and return True if a detection is due in it.

        Args:
            interval: Seconds since the previous frame.
            every: Frames from one detection to the next, at 25 frames/s or more.
            redetect_soon: True if an early detection is wanted.
        """
        longest = every * USUAL
        self._frames += 1
        self._seconds += interval
        # Detection does not run in consecutive frames, unless they are far apart. On a small board
        # detection takes most of the time, and every frame would be late.
        late = self._seconds >= longest - _ROUNDING and (self._frames > 1 or interval >= 2 * longest - _ROUNDING)
        # Early detections add at most a third to the number of detections. Otherwise faces that
        # come and go would make every frame expensive.
        self._credit = min(self._credit + max(1 / every, min(interval / longest, 1)) / 3, 3.0)
        due = not self._begun or self._frames >= every or late
        early = redetect_soon and self._seconds >= _EARLIEST - _ROUNDING and self._credit >= 1
        if not due and early:
            self._credit -= 1
            due = True
        if due:
            self._begun, self._frames, self._seconds = True, 0, 0.0
        return due
