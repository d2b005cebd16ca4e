"""Clips of real people, if the data folder has them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from maskedge import MaskDetector
from maskedge.sources import open_source
from maskedge.vision.pipeline import DETECT_EVERY


def track_clip(path: Path, *, asynchronous: bool) -> tuple[MaskDetector, dict[int, list[str]]]:
    """Process a clip as `edge-run` does; return the labels of each person, in order.

    Asynchronous results are three frames late.
    """
    detector = MaskDetector(detect_every=DETECT_EVERY)
    detector.start_tracking(asynchronous=asynchronous)
    labels: dict[int, list[str]] = {}
    source = open_source(str(path))
    for frame in source.frames():
        if frame.index % 3 == 0:
            detector.wait()
        for face in detector(frame.image, frame.moment):
            assert face.track is not None
            own = labels.setdefault(face.track, [])
            if own[-1:] != [face.label]:
                own.append(face.label)
    source.close()
    detector.close()
    assert detector.tracker is not None
    people = {track.identity for track in detector.tracker.tracks if track.confirmed}
    return detector, {identity: own for identity, own in labels.items() if identity in people}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_four_people_put_masks_on(data_dir: Path, asynchronous: bool) -> None:
    """Three put a mask on; the fourth also takes it off for four seconds and puts it on again.

    While they put it on, the label may be `incorrect_mask`.
    """
    detector, labels = track_clip(data_dir / "clips" / "four_people_putting_masks_on.mp4", asynchronous=asynchronous)
    assert detector.tracker is not None
    assert detector.tracker.people.total() in (4, 5), "the painting on the wall is a fifth at most"
    once, again = ["without_mask", "with_mask"], ["without_mask", "with_mask"] * 2
    counts = Counter(tuple(label for label in own if label != "incorrect_mask") for own in labels.values())
    assert counts[tuple(once)] >= 3
    assert counts[tuple(once)] + counts[tuple(again)] >= 4


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("clip", "label"), [("one_man_no_mask", "without_mask"), ("one_woman_masked", "with_mask")])
def test_one_person_is_one(data_dir: Path, clip: str, label: str, asynchronous: bool) -> None:
    detector, labels = track_clip(data_dir / "clips" / f"{clip}.mp4", asynchronous=asynchronous)
    assert list(labels.values()) == [[label]]
    assert detector.tracker is not None
    assert detector.tracker.people.total() == 1
