"""Playing of videos and the demo clip in a loop, or at their own speed like a camera."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from maskedge.types import Frame, Image

from .base import BaseSource, Source, stamp
from .config import SourceConfig
from .live import LiveSource


class LoopSource(BaseSource):
    """A video that starts again at its end. Frame numbers and times continue.

    Args:
        make: Opens the video at its start.
    """

    def __init__(self, make: Callable[[], Source]) -> None:
        self._make = make
        self._inner: Source | None = make()
        super().__init__(self._inner.name, video=True, fps=self._inner.fps)
        self.warnings += self._inner.warnings

    def frames(self) -> Iterator[Frame]:
        """Yield every frame, without an end. A video without frames ends at once.

        Raises:
            SourceError: The video cannot be opened again. Another call opens it if it is back.
        """
        given, start, moment = -1, 0.0, 0.0
        while self.captured != given and not self._stopping:
            given = self.captured
            inner = self._inner = self._inner or self._make()
            for frame in inner.frames():
                if self._stopping:
                    return
                self.captured += 1
                moment = start + frame.moment
                yield stamp(frame.image, self.captured - 1, self.name, moment)
            start = moment + 1 / self.fps
            self.incomplete = self.incomplete or inner.incomplete
            self.warnings += [warning for warning in inner.warnings if warning not in self.warnings]
            self._inner = None
            inner.close()

    def close(self) -> None:
        """Close the video."""
        if self._inner is not None:
            self._inner.close()


class ReplayDevice:
    """A device that plays a source by its time stamps.

    Late frames are skipped, as long as that makes up for the delay. A machine that decodes too slowly
    plays slowly.

    Args:
        source: Source of the pictures. It delivers them without waiting.
        fps: Frames per second. A rate other than the source's own plays the source faster or
            slower.
    """

    finite = True
    damaged = 0

    def __init__(self, source: Source, fps: float) -> None:
        self.fps = fps
        self.skipped = 0
        self.warnings = source.warnings
        self._source = source
        self._frames = source.frames()
        self._speed = fps / source.fps
        self._start: float | None = None
        self._following: Frame | None = None

    def read(self) -> Image | None:
        """Wait until the next picture is due and return the picture.

        Return None after the last one.
        """
        frame, self._following = self._following or next(self._frames, None), None
        if frame is None:
            return None
        while (late := self._lateness(frame)) > 1 / self.fps:
            following = next(self._frames, None)
            if following is None or self._lateness(following) < 0:
                self._following = following
                break
            self.skipped += 1
            frame = following
            if self._start is not None and (still := self._lateness(frame)) >= late:
                self._start += still
        time.sleep(max(0.0, -late))
        return frame.image

    def _lateness(self, frame: Frame) -> float:
        """Return the seconds since a frame was due. The first frame is due now."""
        now, moment = time.perf_counter(), frame.moment / self._speed
        if self._start is None:
            self._start = now - moment
        return now - self._start - moment

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class ReplaySource(LiveSource):
    """A recorded source, played by its time stamps. What is missing in it is known only at its end.

    Args:
        source: The recorded source.
        fps: Frames per second; None for the source's own rate.
    """

    def __init__(self, source: Source, fps: float | None) -> None:
        rate = fps or source.fps
        # A replay does not hang, and a still picture in it is intended, so both timeouts are off.
        unwatched = SourceConfig(uri=source.name, stall_timeout=0, frozen_timeout=0)
        super().__init__(source.name, lambda: ReplayDevice(source, rate), unwatched)
        self._source = source

    def frames(self) -> Iterator[Frame]:
        """Yield the newest frame at each step, until the end of the recording."""
        try:
            yield from super().frames()
        finally:
            self.incomplete = self._source.incomplete
            self.warnings += [warning for warning in self._source.warnings if warning not in self.warnings]
