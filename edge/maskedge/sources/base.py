"""What every source is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from maskedge.types import Frame, Image

OPENING, OPEN, LOST, ENDED = "opening", "open", "lost", "ended"


class Source(Protocol):
    """Gives frames, one after the other, to its end.

    Attributes:
        name: What the user called it.
        video: True where consecutive frames show the same scene (they are tracked), False for single pictures.
        live: True for a camera or a stream: it goes on while a frame is worked on.
        fps: Frames a second at which it should be shown.
        length: Number of frames, None where it is not known.
        warnings: What went wrong and did not end the run (one sentence each).
        incomplete: True when less came out than the source holds; the sentence is among `warnings`.
        captured: Frames that arrived.
        dropped: Frames that arrived and were overtaken by newer ones.
        skipped: Pictures that could not be read, also of a live source.
        reconnects: How often it was lost and came back.
        state: `opening`, `open`, `lost` or `ended`.
        on_state: Called by `frames` when the state or the number of failed attempts changes: state, a sentence that says why
            (empty where there is nothing to say), failed attempts in a row.
        on_wait: Called by `frames` several times a second while no frame comes.
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
        """Give the frames.

        Raises:
            SourceError: The source was lost for good.
        """
        ...

    def stop(self) -> None:
        """Ask `frames` to end soon. Safe in a signal handler."""
        ...

    def close(self) -> None:
        """Let go of the device or file. May be called at any time, and twice."""
        ...


class BaseSource:
    """The plain values of a source."""

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
        self.on_state: Callable[[str, str, int], None] = lambda state, sentence, retries: None
        self.on_wait: Callable[[], None] = lambda: None
        self._stopping = False

    def stop(self) -> None:
        """Ask `frames` to end soon."""
        self._stopping = True

    def close(self) -> None:
        """Let go of what is held: nothing here."""


def stamp(image: Image, index: int, source: str, moment: float | None = None) -> Frame:
    """Make a frame of a picture that arrived just now, and was taken at `moment` of the source's own clock or just now."""
    arrival = time.perf_counter()
    return Frame(image, index, time.time(), arrival, source, arrival if moment is None else moment)
