"""Counting lines: what a line is, when a crossing counts, and whether the counts of the demo clip are true."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskedge import UsageError
from maskedge.events import Event
from maskedge.rendering.draw import Overlay, draw_faces
from maskedge.sources import demo
from maskedge.sources.base import stamp
from maskedge.tracking.lines import BAND, MOST_LINES, LineConfig, LineCounter, parse_line, parse_lines
from maskedge.tracking.track import Track
from maskedge.types import Face
from maskedge.vision.pipeline import MaskDetector

SIZE = (640, 480)
SIDE = 80.0
UPWARD = parse_line("door", "0.5,1 0.5,0")
"""Drawn from below to above: who goes from the left of the picture to the right comes in."""
DEMO = {
    "middle": "0.5,0 0.5,1",
    "back": "0.5,1 0.5,0",
    "low": "0.3,0.5 0.3,1",
    "slant": "0.35,0.45 0.6,1",
    "entry": "0.35,0.17 0.7,0.17",
    "bend": "0.25,1 0.3,0.6 0.5,0.55 0.7,0.6 0.75,1",
    "right": "0.7,1 0.7,0.5",
    "wall": "0,0.5 1,0.45",
    "nobody": "0.9,0.4 0.9,0.1",
}


class Walk:
    """One person whose places are given, at a rate."""

    def __init__(self, counter: LineCounter, *, rate: float = 25) -> None:
        self.counter = counter
        self.track = Track(1, (0, 0, 1, 1), confirmed=True)
        self.rate = rate
        self.frames = 0

    def step(
        self, x: float | None, y: float = 240, *, label: str = "with_mask", unsure: bool = False, found: bool = True
    ) -> list[Event]:
        """Go on to the next frame, with the face's centre at x and y in pixels; None: it is lost."""
        image = np.zeros((*SIZE[::-1], 3), np.uint8)
        frame = stamp(image, self.frames, "walk", self.frames / self.rate)
        self.frames += 1
        self.track.since_found = 0.0 if found and x is not None else self.track.since_found + 1 / self.rate
        faces: list[Face] = []
        if x is not None:
            box = (x - SIDE / 2, y - SIDE / 2, x + SIDE / 2, y + SIDE / 2)
            faces = [Face(box, label, 0.9, label, 0.9, 1, unsure)]
        return self.counter.observe(frame, faces, [self.track])

    def steps(self, places: Iterable[float], **options: bool) -> list[str]:
        """Go through places. Return the directions that were counted."""
        return [str(event.details["direction"]) for x in places for event in self.step(x, **options)]


def walk(line: str = "0.5,1 0.5,0", **options: float) -> Walk:
    return Walk(LineCounter([parse_line("door", line)], ["with_mask", "without_mask"]), **options)


def way(start: float, end: float, steps: int = 20) -> list[float]:
    return [start + (end - start) * step / steps for step in range(steps + 1)]


@pytest.mark.parametrize(
    ("name", "points", "complaint"),
    [
        ("door", "", "has 0 points"),
        ("door", "0.5,0.5", "has 1 point: 2 to 50"),
        ("door", " ".join(f"{x / 60:.4f},0.5" for x in range(60)), "has 60 points"),
        ("door", "0.5,0.5 0.5,0.5", "points 1 and 2 of line door are too close"),
        ("door", "0.1,0.1 0.5,0.5 0.5,0.501", "points 2 and 3 of line door are too close"),
        ("door", "0.1,0.1 1.5,0.5", "outside the picture"),
        ("door", "0.1,0.1 nan,0.5", "outside the picture"),
        ("door", "0.1,0.1 a,0.5", "is not X,Y"),
        ("door", "0.1 0.1", "is not X,Y"),
        ("door", "0,0 1,1 1,0 0,1", "cross or touch"),
        ("door", "0,0 1,1 0.5,0.5", "cross or touch"),
        ("", "0,0 1,1", "line.name is empty"),
        ("a/b", "0,0 1,1", "line.name contains '/'"),
    ],
)
def test_a_line_that_cannot_count_is_refused_in_a_sentence(name: str, points: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        parse_lines([LineConfig(name, points)])


def test_two_lines_of_one_name_and_too_many_lines_are_refused() -> None:
    with pytest.raises(UsageError, match="2 lines with the name door"):
        parse_lines([LineConfig("door", "0,0 1,1"), LineConfig("door", "0,1 1,0")])
    with pytest.raises(UsageError, match=f"{MOST_LINES + 1} lines are too many"):
        parse_lines([LineConfig(f"line {number}", "0,0 1,1") for number in range(MOST_LINES + 1)])


def test_who_crosses_from_left_to_right_of_the_line_comes_in_and_back_goes_out() -> None:
    person = walk()
    assert person.steps(way(200, 440)) == ["in"]
    assert person.steps(way(440, 200)) == ["out"]
    assert person.counter.counts == {
        "door": {"in": {"with_mask": 1, "without_mask": 0}, "out": {"with_mask": 1, "without_mask": 0}}
    }
    assert walk("0.5,0 0.5,1").steps(way(200, 440)) == ["out"], "the line is drawn the other way"
    down = walk("0,0.5 1,0.5")
    assert [event.details["direction"] for y in way(100, 400) for event in down.step(320, y)] == ["in"]


def test_who_stands_on_the_line_trembles_there_or_turns_back_is_not_counted() -> None:
    random = np.random.default_rng(1)
    person = walk()
    assert not person.steps(way(200, 310))
    assert not person.steps(320 + random.normal(0, 4, 500))
    assert not person.steps(way(320, 325))
    assert not person.steps(way(325, 200))
    assert person.steps([*way(200, 320), *(320 + random.normal(0, 4, 100)), *way(320, 440)]) == ["in"], "once for each passage"
    stands = walk()
    assert not stands.steps([*(320 + random.normal(0, 4, 100)), *way(320, 440)]), "who is first seen on the line has not crossed it"


def test_who_walks_around_the_end_of_a_line_is_not_counted() -> None:
    person = walk("0.5,1 0.5,0.6")
    assert not person.steps(way(200, 440)), "the line begins lower"
    assert not [event for y in way(240, 420) for event in person.step(440, y)]
    assert [event.details["direction"] for x in way(440, 200) for event in person.step(x, 420)] == ["out"]


def test_a_person_who_is_lost_at_the_line_and_found_on_the_other_side_is_counted_once() -> None:
    person = walk()
    assert not person.steps(way(200, 300))
    assert not [event for _ in range(50) for event in person.step(None)]
    assert person.steps([420] * 5) == ["in"]


def test_an_expected_place_proves_no_crossing() -> None:
    person = walk()
    assert not person.steps(way(200, 280))
    person.track.unobserved = 0.1
    assert not person.steps(way(280, 440)), "nothing observed the face"
    person.track.unobserved = 0.0
    assert not person.steps(way(280, 200)), "the face never was on the other side"
    flows = walk()
    assert not flows.steps(way(200, 280))
    assert not flows.steps(way(280, 440), found=False), "optical flow may follow someone who passes"
    assert not flows.steps(way(440, 200), found=False)
    assert flows.steps(way(200, 440)) == ["in"]


def test_a_crossing_waits_a_second_at_most_for_a_sure_label() -> None:
    person = walk()
    assert not [event for x in way(200, 440) for event in person.step(x, label="without_mask", unsure=True)]
    (event,) = person.step(440, label="with_mask")
    assert event.details == {"line": "door", "direction": "in", "track": 1, "label": "with_mask"}
    never = walk()
    events = [event for x in [*way(200, 440), *[440] * 50] for event in never.step(x, label="without_mask", unsure=True)]
    assert [event.details["label"] for event in events] == ["without_mask"]
    lost = walk()
    assert not [event for x in way(200, 440) for event in lost.step(x, label="without_mask", unsure=True)]
    assert [event.details["label"] for event in lost.step(None)] == ["without_mask"], "nothing better will come"


def test_a_face_that_is_not_a_person_yet_is_counted_when_it_is_one() -> None:
    person = walk()
    person.track.confirmed = False
    assert not person.steps(way(200, 440))
    person.track.confirmed = True
    assert person.steps([440]) == ["in"]


def test_lines_that_stay_the_same_keep_their_counts_when_others_change() -> None:
    person = walk()
    person.steps(way(200, 440))
    other = parse_line("desk", "0,0.9 1,0.9")
    person.counter.change([UPWARD, other])
    assert sum(person.counter.counts["door"]["in"].values()) == 1
    assert person.steps(way(440, 200)) == ["out"]
    person.counter.change([parse_line("door", "0.4,1 0.4,0")])
    assert person.counter.names == ("door",)
    assert not any(sum(counts.values()) for counts in person.counter.counts["door"].values()), "a line that moves begins anew"


def courses(seed: int, count: int = 100) -> Iterable[list[tuple[float, float]]]:
    """Ways of 2 to 29 places anywhere in the picture."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield [(x, y) for x, y in random.uniform((0, 0), SIZE, (random.integers(2, 30), 2)).tolist()]


@pytest.mark.parametrize("points", ["0.5,1 0.5,0", "0.2,0.9 0.5,0.4 0.9,0.8", "0.1,0.5 0.9,0.45"])
def test_a_line_drawn_the_other_way_swaps_in_and_out(points: str) -> None:
    counted = 0
    for course in courses(1):
        forth, back = walk(points), walk(" ".join(reversed(points.split())))
        for x, y in course:
            forth.step(x, y)
            back.step(x, y)
        ways, others = forth.counter.counts["door"], back.counter.counts["door"]
        assert (ways["in"], ways["out"]) == (others["out"], others["in"])
        counted += sum(ways["in"].values())
    assert counted > 50


def test_the_directions_of_one_person_alternate_at_a_line_across_the_picture() -> None:
    for course in courses(2):
        person = walk(rate=5)
        counted = [str(event.details["direction"]) for x, y in course for event in person.step(x, y)]
        assert all(first != second for first, second in pairwise(counted))


@pytest.mark.parametrize("rate", [2, 5, 10, 25, 60])
def test_a_straight_way_across_a_rotated_line_counts_once_at_any_rate(rate: int) -> None:
    for degrees in range(0, 360, 7):
        dx, dy = 0.3 * math.cos(math.radians(degrees)), 0.3 * math.sin(math.radians(degrees))
        person = walk(f"{0.5 - dx},{0.5 - dy} {0.5 + dx},{0.5 + dy}", rate=rate)
        # Square to the line on the screen, from its left to its right.
        x, y = -dy * SIZE[1], dx * SIZE[0]
        norm = math.hypot(x, y)
        course = [(320 + far * x / norm, 240 + far * y / norm) for far in way(-150, 150, 2 * rate)]
        assert [event.details["direction"] for place in course for event in person.step(*place)] == ["in"]


def test_the_overlay_shows_a_line_with_its_arrow_to_the_side_in() -> None:
    black = np.zeros((480, 640, 3), np.uint8)
    counter = LineCounter([UPWARD])
    image = draw_faces(black, [], overlay=Overlay(lines=counter.drawn(SIZE)))
    assert image[100, 320].any(), "the line"
    assert image[240, 325:345].any(), "the arrow points to the right of the picture, where `in` leads"
    assert not image[360:, 330:].any()


def true_crossings(lines: LineCounter) -> Counter[tuple[str, str, str]]:
    """The crossings of the demo clip by its truth: line, direction and label."""
    found: Counter[tuple[str, str, str]] = Counter()
    last: dict[int, tuple[float, float]] = {}
    state: dict[tuple[int, str], list[int]] = {}
    for index in range(2 * demo.FRAMES):
        for face in demo.truth(index / 2):
            place = (face.box[0] + face.box[2]) / 2 / demo.WIDTH, (face.box[1] + face.box[3]) / 2 / demo.HEIGHT
            if not (0 <= place[0] < 1 and 0 <= place[1] < 1):
                last.pop(face.person, None)
                continue
            for line in lines.lines:
                passage = state.setdefault((face.person, line.name), [0, 0])
                passage[1] += line.crossings(last.get(face.person, place), place)
                if line.distance(place, SIZE) >= BAND * (face.box[2] - face.box[0]):
                    if passage[0] and passage[1]:
                        found[line.name, "in" if passage[1] > 0 else "out", face.label] += 1
                    passage[:] = 1, 0
            last[face.person] = place
    return found


@pytest.mark.parametrize(
    ("detector", "rate"),
    [
        *[("haar", 5.0), ("cnn", 5.0), ("cnn", 12.5)],
        *(pytest.param("haar", rate, marks=pytest.mark.slow) for rate in (8.0, 12.5, 25.0)),
        *(pytest.param("cnn", rate, marks=pytest.mark.slow) for rate in (6.0, 8.0, 15.0, 25.0, 30.0)),
    ],
)
def test_the_counts_of_the_demo_clip_are_true(detector: str, rate: float) -> None:
    finder = MaskDetector(None, detector)
    finder.start_tracking()
    counter = LineCounter(parse_lines([LineConfig(name, points) for name, points in DEMO.items()]), finder.labels)
    assert finder.tracker is not None
    events: list[Event] = []
    for index in range(int(demo.FRAMES / demo.FPS * rate)):
        frame = stamp(demo.draw(index * demo.FPS / rate), index, "demo", index / rate)
        events += counter.observe(frame, finder(frame.image, frame.moment), finder.tracker.tracks)
    finder.close()
    counted = Counter((event.details["line"], event.details["direction"], event.details["label"]) for event in events)
    expected = true_crossings(counter)
    assert counted == expected
    assert sum(expected.values()) >= 12
    assert sum(sum(labels.values()) for ways in counter.counts.values() for labels in ways.values()) == len(events)


@pytest.mark.parametrize("detector", ["haar", "cnn"])
def test_a_real_face_that_moves_across_the_picture_and_back_is_counted_once_each_way(detector: str, data_dir: Path) -> None:
    """A clip of a woman with a mask, moved across a wider picture and back within 8 s, at 5 frames/s."""
    finder = MaskDetector(None, detector)
    finder.start_tracking()
    counter = LineCounter([parse_line("middle", "0.5,1 0.5,0"), parse_line("level", "0,0.35 1,0.35")], finder.labels)
    assert finder.tracker is not None
    capture = cv2.VideoCapture(str(data_dir / "clips" / "one_woman_masked.mp4"))
    events: list[Event] = []
    for index in range(200):
        _, image = capture.read()
        if index % 5:
            continue
        shift = 320 - 300 * math.cos(2 * math.pi * index / 200)
        matrix = np.array([[640 / image.shape[1], 0, shift], [0, 360 / image.shape[0], 0]], np.float32)
        moved = np.asarray(cv2.warpAffine(image, matrix, (1280, 360), borderMode=cv2.BORDER_REPLICATE), np.uint8)
        frame = stamp(moved, index, "clip", index / 25)
        events += counter.observe(frame, finder(moved, frame.moment), finder.tracker.tracks)
    finder.close()
    assert [(event.details["line"], event.details["direction"], event.details["label"]) for event in events] == [
        ("middle", "in", "with_mask"),
        ("middle", "out", "with_mask"),
    ]
