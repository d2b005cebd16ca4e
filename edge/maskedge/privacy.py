"""Privacy: the boxes to pixelate, and results without positions and identities (docs/privacy.md).

The loop applies both once, before anything else receives a result.
`maskedge.runtime.frame_processor` sets the boxes. `maskedge.runtime.event_publisher` removes
positions and identities.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import singledispatch
from typing import Any

from maskedge.results import FrameResult
from maskedge.tracking.track import Track

from .events import PERSONAL_KEYS, Event
from .types import Box, Face


def hidden_boxes(faces: Iterable[Face], tracks: Iterable[Track] = ()) -> list[Box]:
    """Return the boxes to pixelate.

    Args:
        faces: All faces of the frame, including faces that do not count (outside the zones).
        tracks: All tracks, including tracks of faces that are not visible in this frame.
    """
    return [face.box for face in faces] + [track.box for track in tracks]


@singledispatch
def without_people(result: Any) -> Any:
    """Return a result, an event or the active alerts without positions and identities.

    The key `[privacy] stats_only` asks for this. Pictures keep boxes and labels but lose track
    numbers. Any picture shows where people are.

    Raises:
        TypeError: Outputs do not receive values of this type.
    """
    raise TypeError(f"outputs receive no {type(result).__name__}.")


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
