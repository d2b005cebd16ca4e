from __future__ import annotations

from math import ceil

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from maskedge.boxes import box_iou, contained, side, suppress
from maskedge.sources import demo
from maskedge.tracking.appearance import describe, similarity, to_lab
from maskedge.tracking.elapsed import Elapsed
from maskedge.tracking.optical_flow import Movement, movements, shrink
from maskedge.tracking.track import CONFIRM, RECLASSIFY, Track
from maskedge.tracking.tracker import CARRY, KEEP, FaceTracker
from maskedge.types import Box, Image

MASK, NO_MASK = np.array([0.9, 0.1], np.float32), np.array([0.1, 0.9], np.float32)


def at(x: float, y: float, side: float = 100) -> Box:
    return x, y, x + side, y + side


class Film(FaceTracker):
    """A tracker whose frames come at a rate."""

    def __init__(self, rate: float = 25) -> None:
        super().__init__()
        self.rate = rate
        self.count = 0

    def frame(self, image: Image | None = None) -> None:
        """Go on to the next frame."""
        self.advance(self.count / self.rate, image)
        self.count += 1

    def frames(self, seconds: float) -> int:
        """How many frames these seconds have."""
        return round(seconds * self.rate)


def step(tracker: Film, *boxes: Box, image: Image | None = None) -> list[Track]:
    """A frame with a detection and a classification of each face."""
    tracker.frame(image)
    tracks = tracker.update(boxes, image)
    for track in tracks:
        track.add_vote(MASK)
    return tracks


def portrait(hair: tuple[int, int, int], skin: tuple[int, int, int], random: np.random.Generator) -> Image:
    """A textured head of two colours, uint8 `[140, 100, 3]`; the face is the lower 100 rows."""
    head = np.empty((140, 100, 3), np.uint8)
    head[:70], head[70:] = hair, skin
    noise = cv2.resize(random.integers(-40, 40, (28, 20, 3)).astype(np.float32), (100, 140))
    return np.clip(head + noise, 0, 255).astype(np.uint8)


def scene(*heads: tuple[Image, float, float]) -> Image:
    """A picture with heads, each face box with its corner at (x, y); later ones are in front."""
    image = np.full((480, 640, 3), 128, np.uint8)
    for head, x, y in heads:
        left, top = round(x), round(y) - 40
        cut = head[:, max(0, -left) : 640 - left]
        image[top : top + 140, max(0, left) : max(0, left) + cut.shape[1]] = cut
    return image


def test_iou_and_containment() -> None:
    assert box_iou(at(0, 0), at(0, 0)) == 1
    assert box_iou(at(0, 0), at(50, 0)) == pytest.approx(1 / 3)
    assert box_iou(at(0, 0), at(100, 0)) == 0
    assert contained(at(0, 0), at(10, 10, 20)) == 1
    assert contained(at(0, 0), at(50, 0)) == 0.5
    assert contained(at(0, 0), (5, 5, 5, 9)) == contained(at(0, 0), at(200, 0)) == 0
    assert side((0, 0, 4, 9)) == 6
    assert side((5, 5, 3, 9)) == 0


def test_of_boxes_on_one_face_the_best_stays() -> None:
    boxes = [at(0, 0), at(10, 5), at(20, 20, 40), at(300, 0)]
    assert suppress(boxes, np.array([0.8, 0.99, 0.9, 0.6])) == [1, 3]
    # Equal scores: the detector's order decides.
    assert suppress(boxes, np.array([0.998, 0.999, 0.997, 0.6])) == [0, 3]
    assert suppress([], np.empty(0)) == []


def test_identity_lasts_while_the_face_moves() -> None:
    tracker = Film()
    assert {step(tracker, at(8 * number, 50 + number))[0].identity for number in range(40)} == {1}
    assert tracker.people.total() == 1


def test_identities_survive_crossing() -> None:
    """Two faces pass one another; while one hides the other, one box is found."""
    tracker = Film()
    seen: dict[str, set[int]] = {"right": set(), "left": set()}
    for number in range(61):
        right, left = at(10 * number, 100), at(600 - 10 * number, 110)
        if abs(right[0] - left[0]) < 70:
            step(tracker, right)
            continue
        first, second = step(tracker, right, left)
        seen["right"].add(first.identity)
        seen["left"].add(second.identity)
    assert seen["right"] == {1}
    assert seen["left"] == {2}
    assert tracker.people.total() == 2


@pytest.mark.parametrize("rate", [2, 5, 12.5, 25, 60])
def test_short_loss_is_waited_for_and_a_long_one_is_not(rate: float) -> None:
    tracker = Film(rate)
    for _ in range(tracker.frames(1) + 1):
        step(tracker, at(200, 200))
    for _ in range(tracker.frames(KEEP) - 1):
        step(tracker)
    assert step(tracker, at(205, 200))[0].identity == 1
    for _ in range(tracker.frames(KEEP) + 2):
        step(tracker)
    assert step(tracker, at(205, 200))[0].identity == 2
    assert tracker.people.total() == 1, "who is gone stays counted"


@pytest.mark.parametrize("rate", [1, 2, 5, 12.5, 25, 60])
def test_single_false_alarm_is_no_person(rate: float) -> None:
    tracker = Film(rate)
    step(tracker, at(10, 10))
    for _ in range(max(1, tracker.frames(1))):
        step(tracker)
    assert tracker.people.total() == 0
    assert tracker.tracks == []
    for number in range(max(2, ceil(CONFIRM * rate + 1))):
        assert tracker.people.total() == 0, number
        step(tracker, at(300, 10))
    assert tracker.people.total() == 1


def test_half_a_face_in_the_place_of_a_person_is_nobody() -> None:
    tracker = Film()
    for _ in range(15):
        step(tracker, at(200, 200), at(260, 200, 60))
    assert tracker.people.total() == 1
    for number in range(1, 15):
        step(tracker, at(200, 200), at(260 + 12 * number, 200, 60))
    assert tracker.people.total() == 2, "but who steps out of it is"


def test_far_and_much_larger_boxes_are_new_faces() -> None:
    tracker = Film()
    step(tracker, at(100, 100))
    assert step(tracker, at(250, 100), at(60, 60, 250))[0].identity != 1
    assert len({track.identity for track in step(tracker, at(250, 100), at(60, 60, 250))}) == 2


def test_look_decides_where_place_does_not() -> None:
    """Two people stand face to face and swap places while nothing is found for a second."""
    random = np.random.default_rng(1)
    dark, fair = portrait((20, 20, 25), (90, 120, 170), random), portrait((90, 170, 210), (180, 200, 235), random)
    tracker = Film()
    for _ in range(10):
        first, second = step(tracker, at(200, 200), at(320, 200), image=scene((dark, 200, 200), (fair, 320, 200)))
    for _ in range(25):
        step(tracker, image=scene())
    again = step(tracker, at(320, 200), at(200, 200), image=scene((dark, 320, 200), (fair, 200, 200)))
    assert [track.identity for track in again] == [first.identity, second.identity]
    # And somebody else in the place of one who is gone is somebody else.
    for _ in range(25):
        step(tracker, image=scene())
    green = portrait((60, 160, 60), (60, 140, 60), random)
    assert step(tracker, at(320, 200), image=scene((green, 320, 200)))[0].identity == 3


def test_look_is_the_upper_half_and_may_be_out_of_the_picture() -> None:
    random = np.random.default_rng(2)
    head = portrait((20, 20, 25), (90, 120, 170), random)
    masked = head.copy()
    masked[95:] = (220, 190, 120)
    descriptor = describe(scene((head, 200, 200)), at(200, 200))
    assert descriptor is not None
    assert similarity(descriptor, describe(scene((masked, 200, 200)), at(200, 200))) > 0.95
    assert similarity(descriptor, describe(scene((head, 200, 200)), at(400, 300))) < 0.3
    assert describe(scene(), at(2000, 200)) is None
    assert similarity(descriptor, None) == 1


def vote(track: Track, *answers: npt.NDArray[np.float32], rate: float = 25, unsure_below: float = 0.0) -> list[int]:
    """Add one vote per frame; return the voted label after each."""
    labels = []
    for own in answers:
        track.advance(1 / rate, Movement((0.0, 0.0)))
        track.add_vote(own, unsure_below)
        labels.append(track.voted_label)
    return labels


def test_vote_withstands_a_flicker_and_follows_a_change() -> None:
    track = Track(1, at(0, 0), confirmed=True)
    vote(track, *[MASK] * 20)
    assert set(vote(track, *[NO_MASK] * 8)) == {0}
    assert not track.is_stable, "it needs another classification"
    assert set(vote(track, *[MASK] * 8)) == {0}
    labels = vote(track, *[NO_MASK] * 30)
    assert labels[-1] == 1
    assert labels == sorted(labels), "one change, no wavering"
    assert track.score > 0.7


@pytest.mark.parametrize("rate", [1, 1.7, 2, 2.6, 3, 4, 5, 7, 10, 12.5, 15, 20, 25, 30, 50, 60])
def test_label_follows_a_change_within_a_second_at_any_rate(rate: float) -> None:
    """With stamps as cameras give them: late, repeated, missing."""
    random = np.random.default_rng(int(10 * rate))
    for _ in range(8):
        track, now, changed = Track(1, at(0, 0), confirmed=True), 0.0, None
        elapsed = Elapsed()
        end = 4 + float(random.uniform(0, 1))
        against, shown = 0, 0
        while changed is None:
            now += float(random.choice([0.5, 1, 1, 1, 1.5], p=[0.1, 0.25, 0.3, 0.25, 0.1])) / rate
            late = float(random.choice([0, -1.2])) * min(0.5 / rate, 0.02)
            track.advance(elapsed.step(now + late), Movement((0.0, 0.0)))
            if not track.is_stable:
                track.add_vote(NO_MASK if now > end else MASK)
            if now > end:
                against += 1
                shown = track.voted_label
            if shown == 1:
                changed = now
            assert against < 200
        assert changed - end <= 1 + 0.5 / rate or against <= 2, (changed - end, against)


@pytest.mark.parametrize("rate", [1, 2, 5, 12.5, 25, 60])
def test_a_flicker_shorter_than_a_third_of_a_second_is_not_shown_at_any_rate(rate: float) -> None:
    track = Track(1, at(0, 0))
    vote(track, *[MASK] * max(3, round(2 * rate)), rate=rate)
    wrong = max(1, int(0.3 * rate))
    for _ in range(5):
        assert set(vote(track, *[NO_MASK] * wrong, *[MASK] * max(3, round(rate)), rate=rate)) == {0}


def test_a_face_about_which_nothing_is_doubtful_is_asked_for_again_after_a_while() -> None:
    for rate in (5, 12.5, 25, 60):
        track = Track(1, at(0, 0), confirmed=True)
        vote(track, MASK, MASK, rate=rate)
        asked = 0
        for _ in range(round(4 * rate)):
            track.advance(1 / rate, Movement((0.0, 0.0)))
            if not track.is_stable:
                track.add_vote(MASK)
                asked += 1
        assert asked == pytest.approx(4 / RECLASSIFY, rel=0.35)


def test_repeated_frames_and_gaps_in_time() -> None:
    """A repeated frame has no weight; after a gap two votes decide; `KEEP` is by the clock."""
    track = Track(1, at(0, 0))
    vote(track, *[MASK] * 25)
    for _ in range(50):
        track.advance(0.0, Movement((0.0, 0.0)))
        track.add_vote(NO_MASK)
    assert track.voted_label == 0
    vote(track, *[MASK] * 25)
    track.advance(60.0, None)
    assert track.box == pytest.approx(at(0, 0))
    track.add_vote(NO_MASK)
    assert track.voted_label == 0
    track.advance(1.0, None)
    track.add_vote(NO_MASK)
    assert track.voted_label == 1


def test_time_goes_on_whatever_the_stamps_are_like() -> None:
    elapsed = Elapsed()
    assert [round(elapsed.step(moment), 3) for moment in (5, 5.04, 5.04, 5.02, 5.1)] == [0, 0.04, 0, 0, 0.06]
    # The clock was set back, or the video began again: no frame is an hour late.
    assert [round(elapsed.step(moment), 3) for moment in (0, 0.04, 100, 0.04, 0.08)] == [0, 0.04, 99.96, 0, 0.04]


def test_sure_is_who_gave_mostly_sure_answers() -> None:
    track = Track(1, at(0, 0))
    track.add_vote(NO_MASK, unsure_below=0.95)
    assert track.confidence == 0
    vote(track, *[np.array([0.01, 0.99], np.float32)] * 30, unsure_below=0.95)
    assert track.confidence > 0.5
    vote(track, NO_MASK, unsure_below=0.95)
    assert track.confidence > 0.5, "one blurred frame takes nothing away"
    vote(track, *[np.array([0.99, 0.01], np.float32)] * 6, unsure_below=0.95)
    assert track.confidence > 0.5
    vote(track, *[np.array([0.5, 0.5], np.float32)] * 12, unsure_below=0.95)
    assert track.confidence < 0.5


def test_flow_carries_a_face_over_frames_without_detection() -> None:
    """Fast and not even: what is expected of a constant speed would be beside the face."""
    random = np.random.default_rng(3)
    head = portrait((20, 20, 25), (90, 120, 170), random)
    tracker = Film()
    for number in range(60):
        x, y = 250 + 150 * np.sin(number / 6), 200 + 80 * np.sin(number / 9)
        image = scene((head, x, y))
        tracker.frame(image)
        if number % 10 == 0:
            tracker.update([at(round(x), round(y))], image)
        (track,) = tracker.visible
        assert box_iou(track.box, at(x, y)) > 0.7, number
    assert track.identity == 1


def test_without_pictures_faces_move_on_as_before() -> None:
    tracker = Film()
    for number in range(0, 40, 2):
        step(tracker, at(10 * number, 50))
        tracker.frame()
        (carried,) = tracker.visible
        if number > 20:
            assert carried.box[0] == pytest.approx(10 * (number + 1), abs=3)


def test_what_the_classifier_still_sees_is_carried_for_a_while() -> None:
    tracker = Film()
    for _ in range(10):
        (track,) = step(tracker, at(200, 200))
    tracker.frame()
    tracker.update([], verified={track.identity})
    assert track.is_visible
    assert not tracker.redetect_soon
    for _ in range(tracker.frames(CARRY)):
        tracker.frame()
    tracker.update([], verified={track.identity})
    assert not track.is_visible
    assert tracker.redetect_soon, "a person is missed"


def test_who_leaves_the_picture_is_lost() -> None:
    random = np.random.default_rng(4)
    head = portrait((20, 20, 25), (90, 120, 170), random)
    tracker = Film()
    for x in range(300, 700, 10):
        image = scene((head, min(x, 620), 200))
        tracker.frame(None if x > 560 else image)
        if x < 500:
            tracker.update([at(x, 200)], image)
    tracker.frame(scene())
    assert tracker.visible == []


def test_motion_says_when_it_cannot_tell() -> None:
    random = np.random.default_rng(5)
    noise = [random.integers(0, 256, (480, 640, 3), np.uint8) for _ in range(2)]
    first, second = (shrink(image) for image in noise)
    assert movements(first, second, [at(200, 200)]) == [None], "another scene"
    assert movements(first, shrink(noise[1][:240, :320]), [at(20, 20)]) == [None], "another size"
    tiny = shrink(noise[1][:8, :8])
    assert movements(tiny, tiny, [at(0, 0, 8)]) == [None], "too small"
    assert movements(first, second, []) == []


@pytest.mark.parametrize("shape", [(480, 640), (2160, 3840), (90, 120)])
def test_motion_in_pictures_of_any_size(shape: tuple[int, int]) -> None:
    image = cv2.resize(demo.draw(150), shape[::-1], interpolation=cv2.INTER_AREA)
    scale = shape[1] / 640
    moved = cv2.warpAffine(image, np.array([[1, 0, 12 * scale], [0, 1, -8 * scale]], np.float32), shape[::-1])
    boxes = [
        (a * scale, b * scale, c * scale, d * scale) for a, b, c, d in (true.box for true in demo.truth(150) if true.visible == 1)
    ]
    for movement in movements(shrink(np.asarray(image, np.uint8)), shrink(np.asarray(moved, np.uint8)), boxes):
        assert movement is not None
        assert movement.shift == pytest.approx((12 * scale, -8 * scale), abs=1.5 * scale + 0.5)
        assert movement.growth == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_size_of_a_face_that_comes_nearer_is_followed(factor: float) -> None:
    image = demo.draw(150)
    box = next(true.box for true in demo.truth(150) if true.visible == 1)
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    nearer = cv2.warpAffine(
        image,
        np.array([[factor, 0, x - factor * x], [0, factor, y - factor * y]], np.float32),
        (640, 480),
        borderMode=cv2.BORDER_REPLICATE,
    )
    (movement,) = movements(shrink(image), shrink(np.asarray(nearer, np.uint8)), [box])
    assert movement is not None
    assert movement.growth == pytest.approx(factor, abs=0.02)


def test_memory_stays_bounded_and_people_stay_counted() -> None:
    """A new person every few seconds, for long."""
    tracker = Film()
    visits = 300
    most = 0
    for visit in range(visits):
        for _ in range(10):
            step(tracker, at(1000 * (visit % 2) + 90 * (visit % 7), 150 * (visit % 3)))
        for _ in range(tracker.frames(KEEP) + 1):
            tracker.frame()
        most = max(most, len(tracker.tracks))
    assert tracker.people == {0: visits}
    assert most <= 3


def test_a_track_is_drawn_to_where_the_face_is_seen() -> None:
    track = Track(1, (10.0, 10.0, 50.0, 50.0))
    track.correct((14.0, 10.0, 54.0, 58.0))
    assert track.box == (12.0, 10.0, 52.0, 54.0)
    track.correct((200.0, 10.0, 240.0, 50.0))
    assert track.box == (12.0, 10.0, 52.0, 54.0), "that is another face"


def test_who_is_forgotten_is_counted_and_comes_back_as_a_new_person() -> None:
    tracker = Film()
    for _ in range(tracker.frames(1)):
        (track,) = step(tracker, at(150, 150))
    tracker.forget()
    assert (tracker.tracks, tracker.people.total()) == ([], 1)
    tracker.count += tracker.frames(600)
    for _ in range(tracker.frames(1)):
        (other,) = step(tracker, at(150, 150))
    assert other.identity != track.identity
    assert tracker.people.total() == 2


def test_colours_of_a_descriptor_are_those_of_opencv() -> None:
    colours = np.stack(np.meshgrid(*[np.arange(0, 256, 15, np.uint8)] * 3), -1).reshape(-1, 18, 3)
    expected = cv2.cvtColor(colours, cv2.COLOR_BGR2LAB).astype(int)
    assert np.abs(to_lab(colours) - expected).max() <= 2
