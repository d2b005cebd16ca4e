"""The interface of a source, and the base class of all sources."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from maskedge.types import Frame, Image

OPENING, OPEN, LOST, ENDED = "opening", "open", "lost", "ended"


class Source(Protocol):
    """A source of frames.

    Attributes:
        name: The URI as the user wrote it, without secrets.
        video: True if consecutive frames show the same scene, so that faces are tracked; False for
            single pictures.
        live: True for a camera or a stream. It continues while a frame is processed.
        fps: Frames per second for display.
        length: Number of frames; None if unknown.
        warnings: Problems that did not end the run, one sentence each.
        incomplete: True if the source yielded fewer frames than it contains. A warning names the
            cause.
        captured: Number of frames that arrived.
        dropped: Number of arrived frames that newer frames replaced before they were read.
        skipped: Number of pictures that could not be read.
        reconnects: Number of times the source was opened again after a loss.
        state: `opening`, `open`, `lost` or `ended`.
        on_state: Called by `frames` when the state or the number of failed attempts changes. The
            arguments are the state, a message (empty if there is nothing to report), and the number
            of consecutive failed attempts.
        on_wait: Called by `frames` several times per second while no frame arrives.
    """

    name: str
    video: bool
    live: bool
    fps: float
    length: int | None
    warnings: list[str]
    incomplete: bool
    captured: int
    dropped: int
    skipped: int
    reconnects: int
    state: str
    on_state: Callable[[str, str, int], None]
    on_wait: Callable[[], None]

    def frames(self) -> Iterator[Frame]:
        """Yield the frames.

        Raises:
            SourceError: The source is lost and is not opened again.
        """
        ...

    def stop(self) -> None:
        """Request `frames` to end soon. A signal handler may call this method."""
        ...

    def close(self) -> None:
        """Release the device or file. This method may be called at any time and repeatedly."""
        ...


class BaseSource:
    """Default values and methods of a source."""

    def __init__(self, name: str, *, video: bool, live: bool = False, fps: float = 30.0, length: int | None = None) -> None:
        self.name = name
        self.video = video
        self.live = live
        self.fps = fps
        self.length = length
        self.warnings: list[str] = []
        self.incomplete = False
        self.captured = 0
        self.dropped = 0
        self.skipped = 0
        self.reconnects = 0
        self.state = OPEN
        self.on_state: Callable[[str, str, int], None] = lambda state, message, retries: None
        self.on_wait: Callable[[], None] = lambda: None
        self._stopping = False

    def stop(self) -> None:
        """Request `frames` to end soon."""
        self._stopping = True

    def close(self) -> None:
        """Do nothing. A source that holds a device or file overrides this method."""


def stamp(image: Image, index: int, source: str, moment: float | None = None) -> Frame:
    """Return the frame of a picture that arrived now.

    `moment` is the time of the frame by the source's clock, by default now.
    """
    arrival = time.perf_counter()
    return Frame(image, index, time.time(), arrival, source, arrival if moment is None else moment)
