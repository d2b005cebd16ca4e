"""The interface of a source, and the values that all sources share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from maskedge.types import Frame, Image

OPENING, OPEN, LOST, ENDED = "opening", "open", "lost", "ended"


class Source(Protocol):
    """A source of frames, one after another, up to its end.

    Attributes:
        name: The URI as the user wrote it, without secrets.
        video: True where consecutive frames show the same scene (faces are tracked), False for
            single pictures.
        live: True for a camera or a stream, which goes on while a frame is processed.
        fps: Frames per second at which to show it.
        length: Number of frames, None where it is unknown.
        warnings: Problems that did not end the run, one sentence each.
        incomplete: True when fewer frames came out than the source holds. A warning says why.
        captured: Number of frames that arrived.
        dropped: Number of frames that arrived and were replaced by newer ones before they were
            read.
        skipped: Number of pictures that could not be read.
        reconnects: Number of times the source was lost and came back.
        state: `opening`, `open`, `lost` or `ended`.
        on_state: Called by `frames` when the state or the number of failed attempts changes, with
            the state, a message (empty where there is nothing to report), and the number of
            consecutive failed attempts.
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
        """Ask `frames` to end soon. Safe in a signal handler."""
        ...

    def close(self) -> None:
        """Release the device or file. May be called at any time, and twice."""
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
        """Ask `frames` to end soon."""
        self._stopping = True

    def close(self) -> None:
        """Release nothing: a source that holds a device or file overrides this."""


def stamp(image: Image, index: int, source: str, moment: float | None = None) -> Frame:
    """Return the frame of a picture that arrived now.

    `moment` is its time by the source's clock, by default now.
    """
    arrival = time.perf_counter()
    return Frame(image, index, time.time(), arrival, source, arrival if moment is None else moment)
