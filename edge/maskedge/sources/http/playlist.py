"""Playlists of segments (HLS, DASH), read with FFmpeg."""

from __future__ import annotations

import time

import cv2

from maskedge.sources.devices.capture import CaptureDevice
from maskedge.types import Image

_JUMP = 1.0
"""Greatest distance in seconds between the time stamps of two consecutive frames. Beyond, as after
lost segments, the schedule starts anew."""


class SegmentedCapture(CaptureDevice):
    """An open `cv2.VideoCapture` of a playlist.

    All frames of a segment arrive at once. They are returned by their time stamps. Otherwise, all
    but the newest would be dropped, and the time until the next segment would look like a loss.
    """

    _start: float | None = None
    _last = 0.0

    def catch_up(self) -> bool:
        """Read the first picture. The buffered segments bridge the time until the next segment.

        Return False if there is no picture.
        """
        return self.begin()

    def read(self) -> Image | None:
        """Wait until the next picture is due, and return it. Return None at the end."""
        image = super().read()
        now, moment = time.monotonic(), self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        # The schedule is kept if only the network was slow. The next frames are then overdue and
        # returned at once, until the delay is made up for. Otherwise, delays would add up until the
        # server drops the segments.
        if self._start is None or abs(moment - self._last) > _JUMP:
            self._start = now - moment
        self._last = moment
        time.sleep(max(0.0, self._start + moment - now))
        return image
