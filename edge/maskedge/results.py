"""The result of one frame: faces, events, and the only pictures that may leave the program."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from .events import UNNAMED, Event
from .rendering.draw import Overlay, draw_faces, pixelate
from .support.timing import inner_stage
from .types import Box, Face, FaceLabel, Frame, Image


@dataclass
class FrameResult:
    """A frame, its faces and its events.

    `plain` and `picture` are the only pictures that may leave the program (window, video, web,
    snapshots, clips). Both are pixelated if the user hides faces; `frame.image` is not. A sink that
    shows or stores pixels uses `plain` or `picture`.

    Attributes:
        frame: The frame as captured. Its image is for detectors only.
        faces: The faces of the frame. With `[privacy] stats_only`, outputs receive labels only
            (`maskedge.privacy`).
        stages: Milliseconds of each stage, including `total`.
        status: Text for the overlay.
        events: Events of this frame.
        hidden: Boxes that are pixelated in every picture (x1, y1, x2, y2 in pixels);
            None: nothing is pixelated.
        overlay: Zones, counting lines and banner, drawn in addition to the faces.
        drawn_from: Another result, whose pictures are used in place of this one's. It has boxes
            where `faces` has none. None: this result draws its own pictures.
        film_s: Time of the frame in the video file in seconds; None for other sources.
        zones: Faces of this frame, by zone and label.
        people: People who appeared in this frame, by zone and label. The zone "" is the whole
            picture.
        camera: Name of the camera.
        device: Name of the device.
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
    zones: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    people: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    camera: str = UNNAMED
    device: str = ""

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._plain: Image | None = None
        self._picture: Image | None = None

    @property
    def located(self) -> list[Face]:
        """Faces with a known position: all, or none in an output with `[privacy] stats_only`."""
        return [face for face in self.faces if isinstance(face, Face)]

    @property
    def plain(self) -> Image:
        """The frame as it may leave the program, without overlay: uint8 `[H, W, 3]`, BGR.

        Read-only.
        """
        if self.drawn_from is not None:
            return self.drawn_from.plain
        with self._lock:
            if self._plain is None:
                self._plain = self.frame.image if self.hidden is None else pixelate(self.frame.image, self.hidden)
            return self._plain

    @property
    def picture(self) -> Image:
        """The frame with the overlay: uint8 `[H, W, 3]`, BGR. Drawn once, on demand. Read-only."""
        if self.drawn_from is not None:
            return self.drawn_from.picture
        with self._lock:
            if self._picture is None:
                with inner_stage("draw"):
                    self._picture = draw_faces(self.plain, self.located, self.status, self.overlay)
            return self._picture

    def without_picture(self) -> FrameResult:
        """Return a copy whose pictures are pixelated as a whole and show no faces."""
        width, height = self.frame.size
        hidden = [(0.0, 0.0, float(width), float(height))]
        drawn = replace(self, faces=[], events=(), hidden=hidden, drawn_from=None)
        return replace(self, hidden=hidden, drawn_from=drawn)

    def with_banner(self, banner: str) -> FrameResult:
        """Return a copy with a banner on its picture, for a source without a newer frame."""
        origin = None if self.drawn_from is None else self.drawn_from.with_banner(banner)
        return replace(self, overlay=replace(self.overlay, banner=banner), events=(), drawn_from=origin)
