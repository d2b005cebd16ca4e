"""Records of the history: counts of series, and events. This module does not load SQLite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Series(NamedTuple):
    """The subject of a count.

    Attributes:
        camera: Name of the camera.
        zone: Name of the zone; empty for the whole picture.
        line: Name of the line; empty for faces in view.
        direction: Direction across the line: `in` or `out`.
        label: Label of the faces; empty for the seconds that the camera was observed.
    """

    camera: str
    zone: str = ""
    line: str = ""
    direction: str = ""
    label: str = ""


class Count(NamedTuple):
    """An amount that is added to a series.

    Attributes:
        series: The series.
        seconds: Seconds in which a face was visible, summed over the faces; or seconds observed.
        people: New people, or people who crossed a line.
    """

    series: Series
    seconds: float = 0.0
    people: int = 0


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event for the history.

    Attributes:
        time: Seconds since the epoch.
        camera: Name of the camera.
        kind: Kind of the event.
        details: Its fields, without positions and identities.
    """

    time: float
    camera: str
    kind: str
    details: Mapping[str, Any]
