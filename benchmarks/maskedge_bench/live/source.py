"""A camera for the measurement: `LiveSource` on composed frames at a fixed rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from maskedge.sources.base import BaseSource, stamp
from maskedge.sources.config import SourceConfig
from maskedge.sources.live import LiveSource
from maskedge.sources.replay import ReplayDevice
from maskedge.types import Frame, Image


class RepeatedFrames(BaseSource):
    """A video of pictures in memory, which repeat.

    Args:
        images: The pictures, uint8 `[H, W, 3]`, BGR.
        rate: Frames per second.
        length: Number of frames.
    """

    def __init__(self, images: Sequence[Image], rate: float, length: int) -> None:
        super().__init__("repeated frames", video=True, fps=rate, length=length)
        self._images = images
        self._length = length

    def frames(self) -> Iterator[Frame]:
        """Yield every frame without waiting."""
        for index in range(self._length):
            if self._stopping:
                return
            yield stamp(self._images[index % len(self._images)], index, self.name, index / self.fps)


def paced_source(images: Sequence[Image], rate: float, seconds: float) -> LiveSource:
    """Return a live source that a thread fills at a fixed rate, as `edge-run --live` plays a file.

    Frames need no decoding. Whoever is too slow gets the newest frame, and the others are counted
    as dropped.

    Args:
        images: The pictures, uint8 `[H, W, 3]`, BGR. They repeat.
        rate: Frames per second.
        seconds: Duration.
    """
    video = RepeatedFrames(images, rate, max(1, round(seconds * rate)))
    # A still scene is intended where the pictures show one.
    config = SourceConfig(uri="camera", stall_timeout=0, frozen_timeout=0)
    return LiveSource(video.name, lambda: ReplayDevice(video, rate), config)
