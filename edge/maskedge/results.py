"""The result of one frame: its faces, its events, and the only pictures of it that may leave the program."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .events import Event
from .rendering.draw import Overlay, draw_faces, pixelate
from .support.timing import inner_stage
from .types import Box, Face, FaceLabel, Frame, Image


@dataclass
class FrameResult:
    """A frame and what was found in it.

    `plain` and `picture` are the only pictures that may leave the program (window, video, web, snapshots, clips): both are
    anonymised where that was asked for, and `frame.image` is not. A sink that shows or keeps pixels takes one of these two.

    Attributes:
        frame: The frame as it came. Its image is for detectors alone.
        faces: Its faces. What an output receives in a run with `[privacy] stats_only` are labels alone (`maskedge.privacy`).
        stages: Milliseconds of each stage, `total` among them.
        status: Text for the overlay.
        events: What happened in this frame.
        hidden: Boxes that are made unrecognisable in every picture (x1, y1, x2, y2 in pixels); None where nothing is hidden.
        overlay: What else is drawn: zones, a banner.
        drawn_from: The answer whose pictures are this one's, None for its own: pictures have boxes where `faces` has none.
        film_s: The frame's time in the film, in seconds; None for what is no video file.
    """

    frame: Frame
    faces: Sequence[Face | FaceLabel]
    stages: dict[str, float]
    status: str = ""
    events: Sequence[Event] = ()
    hidden: Sequence[Box] | None = None
    overlay: Overlay = field(default_factory=Overlay)
    drawn_from: FrameResult | None = field(default=None, repr=False)
    film_s: float | None = None

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._plain: Image | None = None
        self._picture: Image | None = None

    @property
    def located(self) -> list[Face]:
        """The faces of which the position is known: all, or none in what an output receives with `[privacy] stats_only`."""
        return [face for face in self.faces if isinstance(face, Face)]

    @property
    def plain(self) -> Image:
        """The frame as it may leave the program, without overlay: uint8 `[H, W, 3]` BGR. Must not be changed."""
        if self.drawn_from is not None:
            return self.drawn_from.plain
        with self._lock:
            if self._plain is None:
                self._plain = self.frame.image if self.hidden is None else pixelate(self.frame.image, self.hidden)
            return self._plain

    @property
    def picture(self) -> Image:
        """The frame with the overlay, uint8 `[H, W, 3]` BGR: drawn once, and only if a sink wants it. Must not be changed."""
        if self.drawn_from is not None:
            return self.drawn_from.picture
        with self._lock:
            if self._picture is None:
                with inner_stage("draw"):
                    self._picture = draw_faces(self.plain, self.located, self.status, self.overlay)
            return self._picture

    def with_banner(self, banner: str) -> FrameResult:
        """Give the same answer with a line across its picture, for a source that gives no newer one."""
        origin = None if self.drawn_from is None else self.drawn_from.with_banner(banner)
        return replace(self, overlay=replace(self.overlay, banner=banner), events=(), drawn_from=origin)
