"""Who comes, who goes, who puts a mask on or takes it off: events, and the count of people, out of the tracks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from maskedge.events import FACE_APPEARED, FACE_LEFT, LABEL_CHANGED, Event
from maskedge.types import Face, Frame

from .tracker import Track


@dataclass(eq=False)
class _Person:
    label: str
    first: float
    last: float


class ChangeWatcher:
    """Compares each frame with the one before. Memory is bounded: people who are gone are a count by label.

    A person is a confirmed track that was seen where it counts (inside the zones).
    """

    def __init__(self) -> None:
        self._there: dict[int, _Person] = {}
        self._gone: Counter[str] = Counter()

    @property
    def people(self) -> Counter[str]:
        """Distinct people so far, by the label that counts, or counted last."""
        return self._gone + Counter(person.label for person in self._there.values())

    def observe(self, frame: Frame, faces: Sequence[Face], tracks: Iterable[Track]) -> list[Event]:
        """Give what changed with a frame.

        Args:
            frame: The frame.
            faces: Its faces that count.
            tracks: All tracks, those that are waited for among them.
        """
        events = []
        known = {track.identity: track.confirmed for track in tracks}

        def say(kind: str, identity: int, **details: object) -> None:
            events.append(Event(kind, frame.time, frame.source, {"track": identity, **details}))

        for face in faces:
            if face.track is None or not known.get(face.track):
                continue
            person = self._there.get(face.track)
            if person is None:
                self._there[face.track] = _Person(face.label, frame.moment, frame.moment)
                say(FACE_APPEARED, face.track, label=face.label, score=round(face.score, 4))
                continue
            person.last = frame.moment
            # What is not sure is no news.
            if face.label != person.label and not face.unsure:
                say(LABEL_CHANGED, face.track, label=face.label, before=person.label, score=round(face.score, 4))
                person.label = face.label
        for identity in [identity for identity in self._there if identity not in known]:
            person = self._there.pop(identity)
            self._gone[person.label] += 1
            say(FACE_LEFT, identity, label=person.label, seconds=round(person.last - person.first, 2))
        return events
