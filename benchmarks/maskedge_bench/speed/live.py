"""Live runs: a source with a fixed frame rate, and the age of each frame at its result."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import cv2

from maskedge.sources.base import BaseSource
from maskedge.support.timing import summarise
from maskedge.types import Frame
from maskedge.vision.pipeline import MaskDetector
from maskedge_bench.rounds import cpu_seconds


class PacedSource(BaseSource):
    """A source with a fixed frame rate that returns the newest frame, like a camera.

    Frames need no decoding and no thread, because the clock determines the newest frame.

    Args:
        frames: Frames, repeated in a loop.
        rate: Frames per second.
        seconds: Duration.
    """

    def __init__(self, frames: Sequence[Frame], rate: float, seconds: float) -> None:
        super().__init__("paced", video=True, live=True, fps=rate, length=None)
        self.captured = 0
        self._frames = frames
        self._seconds = seconds

    def frames(self) -> Iterator[Frame]:
        """Yield the newest frame. If it was already yielded, wait for the next frame first."""
        period = 1 / self.fps
        start, wall = time.perf_counter(), time.time()
        end = round(self._seconds * self.fps)
        index = -1
        while index < end - 1 and not self._stopping:
            newest = min(int((time.perf_counter() - start) / period), end - 1)
            if newest <= index:
                newest = index + 1
                time.sleep(max(0.0, start + newest * period - time.perf_counter()))
            self.dropped += newest - index - 1
            index = newest
            self.captured = index + 1
            image = self._frames[index % len(self._frames)].image
            yield Frame(image, index, wall + index * period, start + index * period, self.name, start + index * period)


def measure_live(name: str, detector: MaskDetector, frames: Sequence[Frame], rate: float, seconds: float) -> dict[str, Any]:
    """Run a pipeline on a live source.

    Args:
        name: Name of the row.
        detector: The pipeline. Tracking is started.
        frames: Consecutive frames of a video.
        rate: Frames per second of the source.
        seconds: Duration.

    Returns:
        The row: frames captured, processed and dropped, frame age at the result, and CPU share of
        one core.
    """
    source = PacedSource(frames, rate, seconds)
    detector.start_tracking()
    detector.clock.reset()
    cv2.setNumThreads(1)
    processed = 0
    cpu, start = cpu_seconds(), time.perf_counter()
    for frame in source.frames():
        detector(frame.image, frame.moment)
        detector.clock.close_frame(frame.arrival)
        detector.clock.next_frame()
        processed += 1
    wall = time.perf_counter() - start
    age = summarise(detector.clock.history()["total"])
    return {
        "name": name,
        "rate": rate,
        "seconds": round(wall, 2),
        "captured": source.captured,
        "processed": processed,
        "dropped": source.dropped,
        "age_ms": {key: round(value, 2) for key, value in age.items()},
        "cpu_share": round((cpu_seconds() - cpu) / wall, 3),
    }
