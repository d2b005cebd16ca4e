"""A source: the built-in clip, backwards."""

from __future__ import annotations

from collections.abc import Iterator

from maskedge.sources import BaseSource, RecordedKind, demo
from maskedge.sources.base import stamp
from maskedge.types import Frame

FRAMES = 12


class ToySource(BaseSource):
    """Play twelve frames of the built-in clip from the last to the first."""

    def __init__(self) -> None:
        super().__init__("toy", video=True, fps=25, length=FRAMES)

    def frames(self) -> Iterator[Frame]:
        """Yield the frames."""
        for index in range(FRAMES):
            self.captured += 1
            yield stamp(demo.draw(150 - index), index, self.name, index / self.fps)


KIND = RecordedKind(lambda uri: uri == "toy", lambda uri: ToySource())
