"""Events of a run: for example, a face appears, a label changes, a camera is lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from maskedge.support.text import utc

FACE_APPEARED = "face_appeared"
FACE_LEFT = "face_left"
LABEL_CHANGED = "label_changed"
LINE_CROSSED = "line_crossed"
SOURCE_LOST = "source_lost"
SOURCE_BACK = "source_back"
ALERT = "alert"
ALERT_ENDED = "alert_ended"
HEALTH = "health"
OUTPUT_LOST = "output_lost"
OUTPUT_BACK = "output_back"
KINDS = (
    *(FACE_APPEARED, FACE_LEFT, LABEL_CHANGED, LINE_CROSSED, SOURCE_LOST, SOURCE_BACK, ALERT, ALERT_ENDED),
    *(HEALTH, OUTPUT_LOST, OUTPUT_BACK),
)

PERSONAL_KEYS = ("box", "track", "tracks")
"""Keys of events that hold the position or the identity of a person."""

UNNAMED = "camera"
"""Name of a camera to which the user gives none."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a run.

    Attributes:
        kind: One of `KINDS`.
        time: Seconds since the epoch.
        source: Display name of the source, without user name and password.
        details: Fields of this kind of event, in JSON types (docs/contracts.md).
        film_s: Time in the video file in seconds; None for other sources.
        camera: Name of the camera. The run sets it when it publishes the event.
        device: Name of the device. The run sets it when it publishes the event.
    """

    kind: str
    time: float
    source: str
    details: Mapping[str, Any] = field(default_factory=dict)
    film_s: float | None = None
    camera: str = UNNAMED
    device: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the event in JSON types, as it is published (docs/contracts.md)."""
        in_video = {} if self.film_s is None else {"film_s": round(self.film_s, 3)}
        places = {"source": self.source, "camera": self.camera, "device": self.device}
        return {"event": self.kind, **places, "time": utc(self.time), **in_video, **self.details}
