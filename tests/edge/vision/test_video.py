"""Asynchronous detection: late results, and what happens while one is on its way."""

from __future__ import annotations

import gc
import threading
from collections import Counter

import cv2
import numpy as np
import pytest

from maskedge import MaskDetector
from maskedge.boxes import box_iou
from maskedge.errors import ModelError
from maskedge.sources import demo
from maskedge.support.timing import StageClock
from maskedge.types import Box, Face, Image
from maskedge.vision.analysis import Analysis, AnalysisRequest
from maskedge.vision.detectors import Detections, FaceDetector, load_detector

RATE = demo.FPS


class Searching(FaceDetector):
    """The bundled network, with a record of the searched parts."""

    takes_regions = True

    def __init__(self) -> None:
        self.network = load_detector("cnn")
        self.default_threshold, self.score_weights = self.network.default_threshold, self.network.score_weights
        self.searched: list[Box | None] = []

    def detect(self, image: Image, region: Box | None = None) -> Detections:
        self.searched.append(region)
        return self.network.detect(image)


class Held:
    """Holds each analysis of a detector until `go` is set."""

    def __init__(self, detector: MaskDetector) -> None:
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()
        self.fail: BaseException | None = None
        self._analyze = detector.analyzer.analyze
        detector.analyzer.analyze = self.analyze  # type: ignore[method-assign]

    def analyze(self, request: AnalysisRequest, clock: StageClock) -> Analysis:
        self.begun.set()
        assert self.go.wait(60)
        if self.fail is not None:
            raise self.fail
        return self._analyze(request, clock)


def open_held(**options: bool) -> tuple[MaskDetector, Held]:
    detector = MaskDetector(detector=Searching(), detect_every=5)
    held = Held(detector)
    detector.start_tracking(asynchronous=True, **options)
    return detector, held


def searched(detector: MaskDetector) -> list[Box | None]:
    """The parts of the picture that were searched so far."""
    assert isinstance(detector.detector, Searching)
    return detector.detector.searched


def found(faces: list[Face], index: float, iou: float = 0.4) -> float:
    """The fraction of the visible true faces of a frame of the demo that were found."""
    true = [face for face in demo.truth(index) if face.visible > 0.9]
    return sum(any(box_iou(face.box, own.box) > iou for own in faces) for face in true) / max(len(true), 1)


def test_no_call_waits_and_a_late_result_is_brought_up_to_date() -> None:
    detector, held = open_held()
    held.go.clear()
    start, late = 185, 12
    for step in range(late):
        assert detector(demo.draw(start + step), step / RATE) == []
    held.go.set()
    assert detector.wait()
    faces = detector(demo.draw(start + late), late / RATE)
    alone = MaskDetector(detector="cnn")
    overlaps = [max(box_iou(own.box, face.box) for own in faces) for face in alone(demo.draw(start + late))]
    # Who has come since the late frame is not found yet.
    assert sum(overlap > 0.75 for overlap in overlaps) == len(alone(demo.draw(start))) == len(faces)
    assert {"detect", "classify", "detection_age"} <= set(detector.clock.last)
    detector.close()


@pytest.mark.parametrize("late", [1, 3, 10])
def test_demo_is_tracked_with_late_results(late: int) -> None:
    """People, labels and places are those of the clip, however late the results are."""
    detector, held = open_held()
    labels: dict[int, Counter[str]] = {}
    shares = []
    for index in range(40, 240):
        # Every result comes `late` frames after its frame.
        if (index - 40) % (late + 1) == late:
            held.go.set()
            assert detector.wait()
        held.go.clear()
        faces = detector(demo.draw(index), index / RATE)
        for face in faces:
            assert face.track is not None
            # A face that is just coming into the picture is unsure.
            if not face.unsure:
                labels.setdefault(face.track, Counter())[face.label] += 1
        shares.append(found(faces, index))
    held.go.set()
    assert np.mean(shares[30:]) > (0.97 if late < 10 else 0.88)
    assert detector.tracker is not None
    people = {track.identity for track in detector.tracker.tracks if track.confirmed}
    true = {face.person: face.label for index in range(40, 240) for face in demo.truth(index) if face.visible > 0.9}
    assert abs(detector.tracker.people.total() - len(true)) <= 1
    assert all(len(own) == 1 for identity, own in labels.items() if identity in people), "no label changes in the demo"
    detector.close()


@pytest.mark.parametrize("rate", [5, 6, 8])
def test_a_hidden_face_is_not_kept_by_the_face_in_front(rate: int) -> None:
    """Person 2 passes behind person 4. The classifier sees the face in front at both places."""
    detector = MaskDetector(detector="cnn")
    detector.start_tracking()
    people: dict[int, set[int]] = {2: set(), 4: set()}
    for step in range(2 * rate, 6 * rate + 1):
        faces = detector(demo.draw(step * RATE / rate), step / rate)
        for true in demo.truth(step * RATE / rate):
            if true.person in people and true.visible > 0.8:
                people[true.person] |= {face.track for face in faces if face.track and box_iou(face.box, true.box) > 0.4}
    detector.close()
    assert [len(tracks) for tracks in people.values()] == [1, 1]
    assert people[2] != people[4]


def test_a_label_is_unsure_while_the_mouth_is_outside_the_picture() -> None:
    """Person 5 comes up from the lower edge, with a mask that cannot be seen at first."""
    detector = MaskDetector(detector="cnn")
    detector.start_tracking()
    cut = whole = 0
    for index in range(round(6.4 * RATE), round(8 * RATE)):
        for face in detector(demo.draw(index), index / RATE):
            if not 480 < face.box[0] < 520:
                continue
            below = (face.box[3] - demo.HEIGHT) / (face.box[3] - face.box[1])
            if below > 0.3:
                assert face.unsure
                cut += 1
            elif below < 0:
                whole += not face.unsure and face.label == "with_mask"
    detector.close()
    assert cut and whole > 10, (cut, whole)


def test_synchronous_and_asynchronous_results_agree() -> None:
    """With results that come before the next frame, the tracks are those of synchronous detection."""
    asynchronous, _ = open_held(motion_gate=False)
    synchronous = MaskDetector(detector="cnn", detect_every=5)
    synchronous.start_tracking(motion_gate=False)
    for index in range(100, 160):
        faces = asynchronous(demo.draw(index), index / RATE)
        assert asynchronous.wait()
        expected = synchronous(demo.draw(index), index / RATE)
        # The results of this frame are taken up in the next one, so places and labels agree there.
        if index % 5 == 4:
            assert {face.track: face.label for face in faces} == {face.track: face.label for face in expected}
            for own, other in zip(faces, expected, strict=True):
                assert box_iou(own.box, other.box) > 0.8
    asynchronous.close()


def test_frames_of_another_size_while_a_detection_is_under_way() -> None:
    detector, held = open_held()
    held.go.clear()
    image = demo.draw(150)
    detector(image, 0)
    held.begun.wait(60)
    small = np.asarray(cv2.resize(image, (320, 240), interpolation=cv2.INTER_AREA), np.uint8)
    assert detector(small, 0.04) == []
    held.go.set()
    assert detector.wait()
    assert detector(small, 0.08) == [], "the result belongs to another size, so it is dropped"
    assert detector.wait()
    faces = detector(small, 0.12)
    assert len(faces) >= 3
    assert all(face.box[2] <= 330 for face in faces)
    detector.close()


def test_people_are_forgotten_with_the_result_in_progress() -> None:
    detector, held = open_held()
    held.go.clear()
    detector(demo.draw(150), 0)
    held.begun.wait(60)
    detector.forget_people()
    held.go.set()
    assert detector.wait()
    assert detector(np.zeros((480, 640, 3), np.uint8), 0.04) == []
    detector.close()


def test_clock_that_jumps_while_a_detection_is_under_way() -> None:
    detector, held = open_held()
    for moment in (100.0, 5.0, 1e9, 0.0, 0.04):
        held.go.clear()
        held.begun.clear()
        detector(demo.draw(150), moment)
        detector(demo.draw(150), moment)
        held.go.set()
        assert detector.wait()
        faces = detector(demo.draw(150), moment + 0.04)
        assert found(faces, 150) == 1
        assert detector.wait()
    detector.close()


def test_failure_of_a_network_ends_the_video_and_a_crash_is_tried_again() -> None:
    detector, held = open_held()
    held.fail = ModelError("a sentence")
    detector(demo.draw(150), 0)
    assert detector.wait()
    with pytest.raises(ModelError, match="a sentence"):
        detector(demo.draw(150), 0.04)
    detector.close()
    detector, held = open_held()
    held.fail = MemoryError()
    detector(demo.draw(150), 0)
    held.begun.wait(60)
    held.fail = None
    for step in range(1, 200):
        detector(demo.draw(150), step / RATE)
        if detector.wait(0.05) and detector(demo.draw(150), step / RATE):
            break
    assert found(detector(demo.draw(150), 8), 150) == 1
    detector.close()


def settle(detector: MaskDetector, index: int, frames: int = 20) -> int:
    """Process a frame of the demo for some time, and return the number of faces."""
    faces: list[Face] = []
    for step in range(frames):
        faces = detector(demo.draw(index), step / RATE)
        assert detector.wait()
    return len(faces)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_people_who_sit_still_are_found_again_after_a_dark_frame(asynchronous: bool) -> None:
    detector = MaskDetector(detector=Searching(), detect_every=25)
    detector.start_tracking(asynchronous=asynchronous)
    count = settle(detector, 150, 60)
    detector(np.zeros((480, 640, 3), np.uint8), 61 / RATE)
    assert detector.wait()
    shown = []
    for step in range(62, 80):
        shown.append(len(detector(demo.draw(150), step / RATE)))
        assert detector.wait()
    assert shown[-1] == count
    assert detector.tracker is not None
    assert detector.tracker.people.total() == count
    detector.forget_people()
    for step in range(80, 83):
        faces = detector(demo.draw(150), step / RATE)
        assert detector.wait()
    assert len(faces) == count
    detector.close()


def test_nobody_is_shown_for_long_while_the_detection_hangs() -> None:
    detector, held = open_held()
    assert settle(detector, 150) > 2
    held.go.clear()
    empty = np.full((480, 640, 3), 90, np.uint8)
    assert detector.tracker is not None
    kept = []
    for step in range(20, 20 + round(18 * RATE)):
        faces = detector(empty, step / RATE)
        kept.append((len(faces), len(detector.tracker.tracks)))
    assert kept[-1] == (0, 0)
    assert all(faces == 0 for faces, _ in kept[round(11 * RATE) :])
    people = detector.tracker.people.total()
    held.go.set()
    assert detector.wait()
    assert detector(empty, 20.0) == [], "the result is out of date"
    assert detector.tracker.people.total() == people
    detector.close()


def test_the_picture_of_a_frame_in_detection_is_a_copy() -> None:
    detector, held = open_held()
    held.go.clear()
    image = demo.draw(150).copy()
    detector(image, 0)
    image[:] = 0
    held.go.set()
    assert detector.wait()
    assert len(detector(demo.draw(150), 0.04)) >= 3
    detector.close()


def test_at_a_low_rate_a_frame_has_its_own_faces() -> None:
    detector, _ = open_held()
    for step, index in enumerate(range(60, 240, 20)):
        faces = detector(demo.draw(index), float(step))
        if step:
            assert found(faces, index) == 1
        assert detector.wait()
    detector.close()


def test_a_detection_that_waits_is_not_replaced_by_a_verification() -> None:
    """Another video occupies the thread; the frames of this one wait."""
    detector, held = open_held()
    settle(detector, 150)
    assert isinstance(detector.detector, Searching)
    held.go.clear()
    held.begun.clear()
    worker = detector._worker
    assert worker is not None
    other = worker.client()
    other.submit(AnalysisRequest(demo.draw(0), regions=[]))
    held.begun.wait(60)
    before = len(detector.detector.searched)
    # The scene changes, so that a detection of it is due; then only verifications are.
    for step in range(20, 29):
        detector(demo.draw(190), step / RATE)
    held.go.set()
    assert detector.wait()
    assert len(detector.detector.searched) > before
    detector.close()


def test_thread_ends_with_a_detector_that_is_dropped() -> None:
    before = set(threading.enumerate())
    detector = MaskDetector(detector="cnn", detect_every=5)
    detector.start_tracking(asynchronous=True)
    detector(demo.draw(150), 0)
    (thread,) = set(threading.enumerate()) - before
    del detector
    gc.collect()
    thread.join(60)
    assert not thread.is_alive()


def test_mode_changes_and_tracks_stay() -> None:
    detector, held = open_held()
    detector(demo.draw(150), 0)
    assert detector.wait()
    before = {face.track for face in detector(demo.draw(150), 0.04)}
    held.go.clear()
    detector(demo.draw(150), 0.3)
    held.go.set()
    detector.set_tracking_mode(asynchronous=False)
    assert not detector.is_asynchronous
    assert {face.track for face in detector(demo.draw(150), 0.34)} == before
    detector.set_tracking_mode(asynchronous=True)
    assert {face.track for face in detector(demo.draw(150), 0.38)} == before
    detector.close()
    detector.close()


def test_motion_gate_searches_only_what_changed() -> None:
    detector, _ = open_held()
    for step in range(60):
        detector(demo.draw(150), step / RATE)
        assert detector.wait()
    whole = searched(detector).count(None)
    assert 1 < whole <= 4, "the first detection and every fifth one"
    faces = detector(demo.draw(150), 61 / RATE)
    assert found(faces, 150) == 1
    # Two people have left; their faces are not kept.
    empty = np.full((480, 640, 3), 90, np.uint8)
    for step in range(62, 90):
        faces = detector(empty, step / RATE)
        assert detector.wait()
    assert faces == []
    detector.close()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_empty_still_room_is_not_searched(asynchronous: bool) -> None:
    detector = MaskDetector(detector=Searching(), detect_every=1)
    detector.start_tracking(asynchronous=asynchronous)
    for step in range(20):
        detector(np.full((480, 640, 3), 90, np.uint8), step / RATE)
        assert detector.wait()
    assert searched(detector) == [None] * 4, "every fifth detection searches the whole picture"
    detector.close()


def test_a_track_that_is_dropped_while_it_is_verified_is_skipped() -> None:
    detector, held = open_held()
    for index in range(100, 140):
        held.begun.clear()
        held.go.clear()
        detector(demo.draw(index), index / RATE)
        video = detector._video
        assert video is not None
        pending = video._pending
        held.go.set()
        assert detector.wait()
        if pending is not None and pending.job.plan is None:
            # As when a lost track is dropped in a frame that comes before the result.
            dropped = pending.job.request.places[0][0]
            pending.saved.drop([dropped])
            video.tracker.drop([dropped])
            assert dropped not in {face.track for face in detector(demo.draw(index + 1), (index + 1) / RATE)}
            break
    else:
        pytest.fail("no frame was verified")
    detector.close()
