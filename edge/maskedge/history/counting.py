"""The counts of a camera's frames, for the history and for the statistics of a fleet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from maskedge.counts import Labelled, count_labels

from .records import Count, Series

_LONGEST_GAP = 10.0
"""Maximum time between two frames that counts as observed, in seconds."""


class FrameCounter:
    """Counts the faces of a camera's frames. It keeps the time of the last frame.

    Args:
        camera: Name of the camera.
    """

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._last: float | None = None

    def count_frame(
        self,
        arrival: float,
        faces: Iterable[Labelled],
        zones: Mapping[str, Mapping[str, int]],
        people: Mapping[str, Mapping[str, int]],
    ) -> list[Count]:
        """Return the counts of a frame: the time since the last one, its faces and its new people.

        Args:
            arrival: Time of arrival in seconds of `time.perf_counter`.
            faces: The faces of the frame.
            zones: Its faces by zone and label.
            people: People who appeared in it, by zone and label. The zone "" is the whole picture.
        """
        seconds = 0.0 if self._last is None else min(max(arrival - self._last, 0.0), _LONGEST_GAP)
        self._last = arrival
        counts = [Count(Series(self._camera), seconds)]
        for zone, labels in {"": count_labels(faces), **zones}.items():
            counts += [Count(Series(self._camera, zone, label=label), seconds * seen) for label, seen in labels.items() if seen]
        for zone, labels in people.items():
            counts += [Count(Series(self._camera, zone, label=label), people=number) for label, number in labels.items()]
        return counts

    def count_crossing(self, details: Mapping[str, Any]) -> Count:
        """Return the count of an event `line_crossed`.

        Args:
            details: Its fields, with `line`, `direction` and `label`.
        """
        series = Series(self._camera, "", *(str(details.get(key, "")) for key in ("line", "direction", "label")))
        return Count(series, people=1)

    def forget_last(self) -> None:
        """Count no time until the next frame, because the camera is lost."""
        self._last = None
