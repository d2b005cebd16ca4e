"""What outputs may know of people: boxes to pixelate, and results without position and identity (docs/privacy.md).

Both are applied in the loop, once, before any output sees a result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import singledispatch
from typing import Any

from maskedge.results import FrameResult
from maskedge.tracking.tracker import Track

from .events import Event
from .types import Box, Face

PERSONAL_KEYS = ("box", "track", "tracks")
"""Keys of events that say where a person is or who is who."""


def hidden_boxes(faces: Iterable[Face], tracks: Iterable[Track] = ()) -> list[Box]:
    """Give the boxes that are pixelated to hide people.

    Args:
        faces: All faces of the frame, also those that do not count (outside the zones, too small to be shown).
        tracks: All tracks, also those that wait for a face which is not seen at the moment.
    """
    return [face.box for face in faces] + [track.box for track in tracks]


@singledispatch
def without_people(result: Any) -> Any:
    """Give an answer, an event or the state of alerts without position and identity of people (`[privacy] stats_only`).

    Pictures of an answer still have boxes and labels, but no track numbers: a picture shows where people are in any case.

    Raises:
        TypeError: It is nothing that outputs receive.
    """
    raise TypeError(f"{type(result).__name__} is nothing that outputs receive.")


@without_people.register
def _(result: FrameResult) -> FrameResult:
    origin = replace(result, faces=[replace(face, track=None) for face in result.located], events=())
    return replace(
        result,
        faces=[face.without_position() for face in result.located],
        events=[without_people(event) for event in result.events],
        hidden=None,
        drawn_from=origin,
    )


@without_people.register
def _(result: Event) -> Event:
    return replace(result, details=_impersonal(result.details))


@without_people.register(list)
def _(result: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**alert, "details": _impersonal(alert["details"])} for alert in result]


def _impersonal(details: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in details.items() if name not in PERSONAL_KEYS}
