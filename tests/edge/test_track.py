from __future__ import annotations

import numpy as np
import pytest

from maskedge.track import CONFIRM, KEEP, FaceTracker, box_iou
from maskedge.types import Box


def at(x: float, y: float, side: float = 100) -> Box:
    return x, y, x + side, y + side


def test_iou() -> None:
    assert box_iou(at(0, 0), at(0, 0)) == 1
    assert box_iou(at(0, 0), at(50, 0)) == pytest.approx(1 / 3)
    assert box_iou(at(0, 0), at(100, 0)) == 0


def test_identity_lasts_while_the_face_moves() -> None:
    tracker = FaceTracker()
    assert {tracker.update([at(8 * step, 50 + step)])[0].identity for step in range(40)} == {1}
    assert len(tracker.people) == 1


def test_identities_survive_crossing() -> None:
    """Two faces pass one another; while one hides the other, one box is found."""
    tracker = FaceTracker()
    seen: dict[str, set[int]] = {"right": set(), "left": set()}
    for step in range(61):
        right, left = at(10 * step, 100), at(600 - 10 * step, 110)
        if abs(right[0] - left[0]) < 70:
            tracker.update([right])
            continue
        first, second = tracker.update([right, left])
        seen["right"].add(first.identity)
        seen["left"].add(second.identity)
    assert seen["right"] == {1}
    assert seen["left"] == {2}
    assert len(tracker.people) == 2


def test_short_loss_is_waited_for_and_a_long_one_is_not() -> None:
    tracker = FaceTracker()
    for _ in range(5):
        tracker.update([at(200, 200)])
    for _ in range(KEEP - 1):
        tracker.update([])
    assert tracker.update([at(205, 200)])[0].identity == 1
    for _ in range(KEEP + 1):
        tracker.update([])
    assert tracker.update([at(205, 200)])[0].identity == 2


def test_single_false_alarm_is_no_person() -> None:
    tracker = FaceTracker()
    tracker.update([at(10, 10)])
    for _ in range(10):
        tracker.update([])
    assert tracker.people == {}
    for _ in range(CONFIRM):
        tracker.update([at(300, 10)])
    assert len(tracker.people) == 1


def test_far_and_much_larger_boxes_are_new_faces() -> None:
    tracker = FaceTracker()
    tracker.update([at(100, 100)])
    assert tracker.update([at(250, 100), at(60, 60, 250)])[0].identity != 1
    assert len({track.identity for track in tracker.update([at(250, 100), at(60, 60, 250)])}) == 2


def test_vote_withstands_a_flicker_and_follows_a_change() -> None:
    track = FaceTracker().update([at(0, 0)])[0]
    mask, no_mask = np.array([0.9, 0.1], np.float32), np.array([0.1, 0.9], np.float32)
    for _ in range(10):
        track.add_vote(mask)
    assert track.add_vote(no_mask)[0] == 0
    assert track.add_vote(mask)[0] == 0
    labels = [track.add_vote(no_mask)[0] for _ in range(10)]
    assert labels[-1] == 1
    assert labels == sorted(labels), "one change, no wavering"
    assert track.add_vote(no_mask)[1] > 0.8


def test_tracks_carry_a_moving_face_over_frames_without_detection() -> None:
    tracker = FaceTracker()
    for step in range(0, 40, 2):
        tracker.update([at(10 * step, 50)])
        (carried,) = tracker.coast()
        assert carried.identity == 1
        if step > 20:
            assert carried.box[0] == pytest.approx(10 * (step + 1), abs=3)
    tracker.update([])
    assert tracker.coast() == [], "what the last detection missed is not shown"
