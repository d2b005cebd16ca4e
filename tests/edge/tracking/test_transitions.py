"""Who comes and goes: events, and a count of people that takes no memory for those who are gone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from maskedge.events import Event
from maskedge.tracking.track import Track
from maskedge.tracking.transitions import ChangeWatcher
from maskedge.types import Face, Frame

BOX = (0.0, 0.0, 9.0, 9.0)


def frame(index: int) -> Frame:
    return Frame(np.zeros((8, 8, 3), np.uint8), index, 100.0 + index, 0.0, "0", float(index))


def face(track: int, label: str, *, unsure: bool = False) -> Face:
    return Face(BOX, label, 0.9, label, 0.9, track, unsure=unsure)


def track(identity: int, *, confirmed: bool = True) -> Track:
    return Track(identity, BOX, confirmed=confirmed)


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def test_a_person_comes_puts_a_mask_on_and_leaves() -> None:
    watcher = ChangeWatcher()
    assert watcher.observe(frame(0), [face(1, "without_mask")], [track(1, confirmed=False)]) == []
    assert watcher.people.total() == 0, "nobody yet"
    (appeared,) = watcher.observe(frame(1), [face(1, "without_mask")], [track(1)])
    assert appeared.to_json() == {
        "event": "face_appeared",
        "source": "0",
        "camera": "camera",
        "device": "",
        "time": "1970-01-01T00:01:41.000Z",
        "track": 1,
        "label": "without_mask",
        "score": 0.9,
    }
    assert watcher.observe(frame(2), [face(1, "with_mask", unsure=True)], [track(1)]) == [], "an unsure label is no change"
    (changed,) = watcher.observe(frame(3), [face(1, "with_mask")], [track(1)])
    assert (changed.kind, changed.details["before"], changed.details["label"]) == ("label_changed", "without_mask", "with_mask")
    assert watcher.observe(frame(4), [], [track(1)]) == [], "waited for"
    (left,) = watcher.observe(frame(5), [], [])
    assert (left.kind, left.details["label"], left.details["seconds"]) == ("face_left", "with_mask", 2.0)
    assert dict(watcher.people) == {"with_mask": 1}


def test_how_long_a_person_was_there_goes_by_the_film() -> None:
    watcher = ChangeWatcher()
    for index in range(3):
        watcher.observe(replace(frame(index), moment=index / 4), [face(1, "with_mask")], [track(1)])
    (left,) = watcher.observe(frame(9), [], [])
    assert left.details["seconds"] == 0.5


def test_who_is_outside_the_zones_is_nobody() -> None:
    watcher = ChangeWatcher()
    assert watcher.observe(frame(0), [], [track(1), track(2)]) == []
    assert kinds(watcher.observe(frame(1), [face(2, "with_mask")], [track(1), track(2)])) == ["face_appeared"]
    assert dict(watcher.people) == {"with_mask": 1}


def test_thousands_of_people_are_a_count() -> None:
    watcher = ChangeWatcher()
    for person in range(5000):
        watcher.observe(frame(person), [face(person, "with_mask")], [track(person)])
    assert dict(watcher.people) == {"with_mask": 5000}
    assert len(watcher._present) == 1
