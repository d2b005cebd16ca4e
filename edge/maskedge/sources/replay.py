"""Files and the built-in clip, played again and again, or by the clock as a camera would give them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from maskedge.types import Frame, Image

from .base import BaseSource, Source, stamp


class LoopSource(BaseSource):
    """A video that starts again at its end. Frames are counted on.

    Args:
        make: Opens the video, each time from its start.
    """

    def __init__(self, make: Callable[[], Source]) -> None:
        self._make = make
        self._inner = make()
        super().__init__(self._inner.name, video=True, fps=self._inner.fps)
        self.warnings = self._inner.warnings

    def frames(self) -> Iterator[Frame]:
        """Give every frame, for ever (a video that gives none ends)."""
        given, start, moment = -1, 0.0, 0.0
        while self.captured != given and not self._stopping:
            given = self.captured
            for frame in self._inner.frames():
                if self._stopping:
                    return
                self.captured += 1
                moment = start + frame.moment
                yield stamp(frame.image, self.captured - 1, self.name, moment)
            start = moment + 1 / self.fps
            self._inner.close()
            self._inner = self._make()

    def close(self) -> None:
        """Close the video."""
        self._inner.close()


class ReplayDevice:
    """A source's pictures by their time stamps. Where it cannot keep up, the frames that it is late by are counted as skipped.

    Args:
        source: Gives the pictures, as fast as they are wanted.
        fps: Frames a second: other than the source's own, it is played that much faster or slower.
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

    def read(self) -> Image | None:
        """Wait for the time of the next picture; None after the last."""
        frame = next(self._frames, None)
        if frame is None:
            return None
        now, moment = time.perf_counter(), frame.moment / self._speed
        if self._start is None:
            self._start = now - moment
        late = now - self._start - moment
        missed = max(0, int(late * self.fps))
        self.skipped += missed
        # What comes after is not hurried: the clock waits for it.
        self._start += missed / self.fps
        time.sleep(max(0.0, -late))
        return frame.image

    def close(self) -> None:
        """Close the source."""
        self._source.close()
