"""Types that all packages share: pictures, boxes, frames and faces.

The classes are frozen, so that threads may share their objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Image: TypeAlias = npt.NDArray[np.uint8]
"""A picture: uint8 `[H, W, 3]`, BGR, as in OpenCV."""

Box: TypeAlias = tuple[float, float, float, float]
"""A bounding box: x1, y1, x2, y2 in pixels of the source frame."""

NOT_A_FACE = "not_a_face"
"""The label with which a classifier rejects a false alarm of the detector."""


def to_json_box(box: Box) -> list[float]:
    """Return `box` as a list for an event, rounded to a tenth of a pixel."""
    return [round(float(value), 1) for value in box]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a source.

    Attributes:
        image: uint8 `[H, W, 3]`, BGR.
        index: Number of the frame in its source, from 0. Dropped and unreadable frames leave gaps.
        time: Time of arrival in seconds since the epoch (wall clock, for events).
        arrival: Time of arrival in seconds of `time.perf_counter` (for latency).
        source: The user's name for the source; for pictures the file.
        moment: Time at which the frame was taken, in seconds of the source's clock, which never
            runs backwards: the position in a video file, or `time.perf_counter` at the arrival of a
            camera frame. Durations (votes, waits, alerts) are measured with this clock.
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
    """One face of a frame.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the frame.
        label: The label that counts: voted over the track, or `raw_label` without a track.
        score: Probability of `label`, 0 to 1.
        raw_label: The classifier's latest label for this face alone. Between detections a face
            with a stable label is not classified again.
        raw_score: Probability of `raw_label`, 0 to 1.
        track: Number of the track, constant from frame to frame; None without tracking.
        unsure: True if the label is not reliable: less than half of the latest classifications
            were for `label` with at least the probability `unsure_below` of the model's card. A
            single picture has one classification. In a video, classifications of a face whose mouth is
            below the picture do not count as reliable.
    """

    box: Box
    label: str
    score: float
    raw_label: str
    raw_score: float
    track: int | None = None
    unsure: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the face as it appears in an event (docs/contracts.md)."""
        return {
            "track": self.track,
            "box": to_json_box(self.box),
            **self.without_position().to_json(),
        }

    def without_position(self) -> FaceLabel:
        """Return the label and its scores, without position and identity."""
        return FaceLabel(self.label, self.score, self.raw_label, self.raw_score, self.unsure)


@dataclass(frozen=True, slots=True)
class FaceLabel:
    """The label of a face without position and identity: for `[privacy] stats_only`.

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
        """Return the label as it appears in an event (docs/contracts.md)."""
        return {
            "label": self.label,
            "score": round(self.score, 4),
            "raw_label": self.raw_label,
            "raw_score": round(self.raw_score, 4),
            "unsure": self.unsure,
        }
