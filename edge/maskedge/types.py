"""What flows through everything: a frame in, faces out. Frozen, so that a sink on another thread may keep them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Image: TypeAlias = npt.NDArray[np.uint8]
"""A picture: uint8 `[H, W, 3]`, BGR, as OpenCV gives it."""

Box: TypeAlias = tuple[float, float, float, float]
"""A box: x1, y1, x2, y2 in pixels of the source frame."""


def to_json_box(box: Box) -> list[float]:
    """Give `box` as the list of an event, rounded to a tenth of a pixel."""
    return [round(float(value), 1) for value in box]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a source.

    Attributes:
        image: uint8 `[H, W, 3]`, BGR.
        index: Number of the frame in its source, from 0. Gaps are frames that were dropped or unreadable.
        time: When the frame arrived, in seconds since the epoch (wall clock, for events).
        arrival: When the frame arrived, in seconds of `time.perf_counter` (for latency).
        source: What the user called the source; for pictures the file.
        moment: When it was taken, in seconds of the source's own clock, which never goes back: time in the film for a video file,
            `time.perf_counter` at its arrival for a camera. Durations (a vote, a wait, an alert) are measured by it.
    """

    image: Image
    index: int
    time: float
    arrival: float
    source: str
    moment: float

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True, slots=True)
class Face:
    """One face of a frame and what is known of it.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the frame that was given.
        label: The answer that counts: voted over the track, or `raw_label` where there is no track.
        score: Probability of `label`, 0 to 1.
        raw_label: The classifier's latest answer for this face by itself. Between detections a face whose label stands firm is not
            asked for again.
        raw_score: Probability of `raw_label`, 0 to 1.
        track: Identity between frames; None where frames are not tracked (single pictures).
        unsure: True where the answer should not be relied on: less than half of the latest answers were both for `label` and at
            least as probable as the model's card asks (`unsure_below`). Of a single picture there is one answer.
    """

    box: Box
    label: str
    score: float
    raw_label: str
    raw_score: float
    track: int | None = None
    unsure: bool = False

    def to_json(self) -> dict[str, Any]:
        """Give the face as it stands in an event (docs/contracts.md)."""
        return {"track": self.track, "box": to_json_box(self.box), **self.without_position().to_json()}

    def without_position(self) -> FaceLabel:
        """Give what remains when position and identity are left out."""
        return FaceLabel(self.label, self.score, self.raw_label, self.raw_score, self.unsure)


@dataclass(frozen=True, slots=True)
class FaceLabel:
    """The label of one face, without its position and identity: all that outputs receive with `[privacy] stats_only`.

    Attributes:
        label: See `Face`.
        score: See `Face`.
        raw_label: See `Face`.
        raw_score: See `Face`.
        unsure: See `Face`.
    """

    label: str
    score: float
    raw_label: str
    raw_score: float
    unsure: bool = False

    def to_json(self) -> dict[str, Any]:
        """Give the label as it stands in an event (docs/contracts.md)."""
        return {
            "label": self.label,
            "score": round(self.score, 4),
            "raw_label": self.raw_label,
            "raw_score": round(self.raw_score, 4),
            "unsure": self.unsure,
        }
