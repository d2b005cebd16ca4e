"""Events of tracks (faces appear, leave or change their label), and the count of people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from maskedge.events import FACE_APPEARED, FACE_LEFT, LABEL_CHANGED, Event
from maskedge.types import Face, Frame

from .track import Track


@dataclass(eq=False)
class _Person:
    label: str
    first: float
    last: float


class ChangeWatcher:
    """Compares the faces of each frame with the previous frame and returns events.

    A person is a confirmed track with a face inside the zones. Memory is bounded: only a count by
    label remains of people who left.
    """

    def __init__(self) -> None:
        self._present: dict[int, _Person] = {}
        self._gone: Counter[str] = Counter()

    @property
    def people(self) -> Counter[str]:
        """Distinct people so far, by their current or last label."""
        return self._gone + Counter(person.label for person in self._present.values())

    def observe(self, frame: Frame, faces: Sequence[Face], tracks: Iterable[Track]) -> list[Event]:
        """Return the events of a frame.

        Args:
            frame: The frame.
            faces: The faces of the frame inside the zones.
            tracks: All tracks, including tracks of lost faces.
        """
        events = []
        known = {track.identity: track.confirmed for track in tracks}

        def add(kind: str, identity: int, **details: object) -> None:
            events.append(Event(kind, frame.time, frame.source, {"track": identity, **details}))

        for face in faces:
            if face.track is None or not known.get(face.track):
                continue
            person = self._present.get(face.track)
            if person is None:
                self._present[face.track] = _Person(face.label, frame.moment, frame.moment)
                add(FACE_APPEARED, face.track, label=face.label, score=round(face.score, 4))
                continue
            person.last = frame.moment
            # An unsure label is not a change.
            if face.label != person.label and not face.unsure:
                add(LABEL_CHANGED, face.track, label=face.label, before=person.label, score=round(face.score, 4))
                person.label = face.label
        for identity in [identity for identity in self._present if identity not in known]:
            person = self._present.pop(identity)
            self._gone[person.label] += 1
            add(FACE_LEFT, identity, label=person.label, seconds=round(person.last - person.first, 2))
        return events
