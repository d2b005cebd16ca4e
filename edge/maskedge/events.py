"""What happens beside the frames: a face comes or goes, a mask is put on, a camera is lost, a rule is broken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from maskedge.support.text import utc

FACE_APPEARED = "face_appeared"
FACE_LEFT = "face_left"
LABEL_CHANGED = "label_changed"
SOURCE_LOST = "source_lost"
SOURCE_BACK = "source_back"
ALERT = "alert"
ALERT_ENDED = "alert_ended"
HEALTH = "health"
OUTPUT_LOST = "output_lost"
OUTPUT_BACK = "output_back"
KINDS = (FACE_APPEARED, FACE_LEFT, LABEL_CHANGED, SOURCE_LOST, SOURCE_BACK, ALERT, ALERT_ENDED, HEALTH, OUTPUT_LOST, OUTPUT_BACK)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        kind: One of `KINDS`.
        time: When, in seconds since the epoch.
        source: What the user called the source, without name and password.
        details: What belongs to the kind, of JSON's types alone (docs/contracts.md).
        film_s: When in the film, in seconds; None for what is no video file.
    """

    kind: str
    time: float
    source: str
    details: Mapping[str, Any] = field(default_factory=dict)
    film_s: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Give the event as it stands among the events (docs/contracts.md)."""
        film = {} if self.film_s is None else {"film_s": round(self.film_s, 3)}
        return {"event": self.kind, "source": self.source, "time": utc(self.time), **film, **self.details}
