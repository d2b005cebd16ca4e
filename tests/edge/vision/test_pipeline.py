from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.support import METADATA, write_model
from maskedge import MaskDetector, UsageError
from maskedge.boxes import box_iou, side
from maskedge.sources import demo, open_source
from maskedge.tracking.elapsed import CallTimes
from maskedge.types import Box, Image
from maskedge.vision.analysis import MOST_CANDIDATES
from maskedge.vision.detectors import adapt_detector, detector_names
from maskedge.vision.detectors.network import CnnDetector
from maskedge.vision.scoring import LabelChoice
from maskedge.vision.worker import DetectionWorker

TWO = ("with_mask", "without_mask")


class Fixed:
    """A detector with the same boxes for every picture."""

    def __init__(self, boxes: Sequence[Box]) -> None:
        self.boxes = list(boxes)

    def detect(self, image: Image) -> list[Box]:
        return self.boxes


def test_pictures_are_answered_without_tracks() -> None:
    faces = MaskDetector()(demo.draw(150))
    assert len(faces) >= 3
    assert {face.label for face in faces} == {"with_mask", "without_mask"}
    assert all(face.track is None and 0.5 <= face.score <= 1 and face.label == face.raw_label for face in faces)


def test_same_picture_same_answer() -> None:
    detector = MaskDetector()
    assert detector(demo.draw(100)) == detector(demo.draw(100))


def test_grey_alpha_and_strided_pictures() -> None:
    detector = MaskDetector()
    image = demo.draw(150)
    expected = [face.box for face in detector(image)]
    assert [face.box for face in detector(np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]))] == expected
    assert [face.box for face in detector(np.dstack([image, image])[..., :3])] == expected
    grey = image[..., 1]
    assert detector(grey) == detector(np.dstack([grey, grey, grey]))
    assert detector(grey[..., None]) == detector(grey)


@pytest.mark.parametrize(
    "image",
    [
        None,
        "picture",
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros(9, np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(image: object) -> None:
    with pytest.raises(UsageError, match="a picture"):
        MaskDetector()(image)  # type: ignore[arg-type]


def test_not_a_face_is_thrown_out(tmp_path: Path) -> None:
    """A bright crop gets the last label of this model, here `not_a_face`."""
    metadata = METADATA | {"maskedge.labels": '["with_mask", "not_a_face"]'}
    model = write_model(tmp_path / "model.onnx", metadata=metadata)
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 100:] = 255
    detector = MaskDetector(model, Fixed([(10, 10, 60, 60), (120, 10, 180, 60)]), tracking=True, face_threshold=0.5)
    # A black crop is undecided (0.5 each): the first label wins.
    faces = detector(image)
    assert [face.box for face in faces] == [(10, 10, 60, 60)]
    assert detector.tracker is not None
    assert detector.tracker.update([]) == []


def test_vote_never_ends_at_not_a_face(tmp_path: Path) -> None:
    """Of three labels the middle one, `not_a_face`, never becomes the label of a face."""
    metadata = METADATA | {"maskedge.labels": '["with_mask", "not_a_face", "without_mask"]'}
    model = write_model(tmp_path / "model.onnx", metadata=metadata, outputs=3)
    detector = MaskDetector(model, Fixed([(10, 10, 60, 60)]), tracking=True)
    for brightness in (40, 0, 0, 30, 0, 0, 0):
        faces = detector(np.full((100, 200, 3), brightness, np.uint8))
        assert all(face.label != "not_a_face" and face.raw_label != "not_a_face" for face in faces)


def test_stages_are_timed() -> None:
    detector = MaskDetector(tracking=True)
    detector(demo.draw(150))
    assert set(detector.clock.last) == {"resize", "detect", "classify", "track"}
    assert all(value >= 0 for value in detector.clock.last.values())


def test_black_frames_have_no_faces() -> None:
    detector = MaskDetector(tracking=True)
    assert all(detector(np.zeros((480, 640, 3), np.uint8)) == [] for _ in range(5))


def test_detect_every_counts_from_one() -> None:
    with pytest.raises(UsageError, match="from 1"):
        MaskDetector(detect_every=0)


def test_of_boxes_on_one_face_one_is_answered() -> None:
    image = demo.draw(150)
    one = next(true.box for true in demo.truth(150) if true.visible > 0.95)
    x1, y1, x2, y2 = one
    shifted, within = (x1 + 6, y1 + 4, x2 + 6, y2 + 4), (x1 + 15, y1 + 20, x2 - 15, y2 - 5)
    (face,) = MaskDetector(detector=Fixed([shifted, within, one, one]))(image)
    assert box_iou(face.box, one) > 0.5


def brightness_model(path: Path) -> Path:
    """A classifier of brightness: the probability of `not_a_face` is 0.5 at 0, 0.88 at 10."""
    return write_model(
        path, metadata=METADATA | {"maskedge.labels": '["with_mask", "not_a_face"]', "maskedge.card": '{"unsure_below": 0.6}'}
    )


def test_a_probable_face_is_refined(tmp_path: Path) -> None:
    image, box = np.zeros((100, 200, 3), np.uint8), (60.0, 20.0, 110.0, 70.0)
    model = write_model(tmp_path / "left.onnx", place=(0.0, 0.0, 0.5, 1.0))
    face = MaskDetector(model, Fixed([box])).detect(image, 0.0)[0].face
    # The left half of the crop; the right half of the crop around that, since it is mirrored; the
    # left half around their mean.
    places = [(55, 15, 85, 75), (70, 9, 106, 81), (39, 5, 79, 85)]
    assert face.box == pytest.approx(np.mean(places, axis=0), abs=1)
    # A candidate far from being a face, or a model without places: not refined.
    metadata = METADATA | {"maskedge.labels": '["with_mask", "not_a_face"]'}
    doubtful = write_model(tmp_path / "doubtful.onnx", place=(0.0, 0.0, 0.5, 1.0), metadata=metadata)
    assert MaskDetector(doubtful, Fixed([box])).detect(np.full_like(image, 50), 0.0)[0].face.box == pytest.approx(places[0])
    assert MaskDetector(write_model(tmp_path / "plain.onnx"), Fixed([box])).detect(image, 0.0)[0].face.box == box


def test_face_threshold_is_lower_for_a_tracked_face(tmp_path: Path) -> None:
    model = brightness_model(tmp_path / "model.onnx")
    box = (60.0, 20.0, 120.0, 80.0)
    black, dim = np.zeros((100, 200, 3), np.uint8), np.full((100, 200, 3), 4, np.uint8)
    # 0.5 and 0.31 by the model.
    assert len(MaskDetector(model, Fixed([box]), face_threshold=0.5)(black)) == 1
    assert MaskDetector(model, Fixed([box]), face_threshold=0.5)(dim) == []
    assert len(MaskDetector(model, Fixed([box]), face_threshold=0.3)(dim)) == 1
    assert MaskDetector(model, Fixed([box]), face_threshold=0.6)(black) == []
    followed = MaskDetector(model, Fixed([box]), tracking=True, face_threshold=0.45)
    assert followed(dim) == [], "nothing starts with it"
    assert len(followed(black)) == 1
    # Lower for a moment is the same face, but not for long.
    assert [len(followed(dim, number / 25)) for number in range(1, 21)][-1] == 0


def test_a_score_and_a_probability_are_fused(tmp_path: Path) -> None:
    """The network's score counts as well as the classifier's probability; a cascade gives none."""
    model = brightness_model(tmp_path / "model.onnx")
    detector = MaskDetector(model, detector="cnn")
    image = demo.draw(150)
    detections = CnnDetector().detect(image)
    scores = detections.scores
    assert scores is not None
    probabilities = 1 - detector.classifier.classify(image, detections.boxes)[:, 1]
    found = detector.detect(image, 0.0)
    # Of two candidates alike to one of them the other decides.
    assert max(own.face_score for own in found) < max(scores.max(), probabilities.max())
    best = max(own.face_score for own in found)
    assert not detector.detect(image, best * 1.001)
    assert [own.face_score for own in detector.detect(image, best * 0.999)] == [best]
    assert MaskDetector(model).face_threshold != detector.face_threshold
    detector.set_face_threshold(0.3)
    assert detector.face_threshold == 0.3


def test_face_threshold_and_min_face_size_are_checked() -> None:
    with pytest.raises(UsageError, match="0 to 1"):
        MaskDetector(face_threshold=1.5)
    with pytest.raises(UsageError, match="min_face_size takes a number from 1"):
        MaskDetector(min_face_size=0)
    with pytest.raises(UsageError, match="threads takes a number from 1 to 256, got 100000"):
        MaskDetector(threads=100_000)


def test_smaller_faces_are_dropped_and_do_not_flicker() -> None:
    image = demo.draw(150)
    boxes = [true.box for true in demo.truth(150) if true.visible > 0.95]
    sides = sorted(side(box) for box in boxes)
    least = round(sides[-2])
    faces = MaskDetector(detector=Fixed(boxes), min_face_size=least)(image)
    assert 0 < len(faces) < len(boxes)
    assert all(side(face.box) >= least for face in faces)
    growing = MaskDetector(detector=Fixed(boxes), min_face_size=least, tracking=True)
    first = len(growing(image))
    # A tenth smaller: who was there stays.
    centre = [((x1 + x2) / 2, (y1 + y2) / 2, 0.45 * (x2 - x1), 0.45 * (y2 - y1)) for x1, y1, x2, y2 in boxes]
    growing.detector = adapt_detector(Fixed([(x - w, y - h, x + w, y + h) for x, y, w, h in centre]))
    assert len(growing(image)) == first


def test_unsure_is_by_the_models_card(tmp_path: Path) -> None:
    model = brightness_model(tmp_path / "model.onnx")
    (face,) = MaskDetector(model, Fixed([(60, 20, 120, 80)]), face_threshold=0.5)(np.zeros((100, 200, 3), np.uint8))
    assert face.score == 0.5
    assert face.unsure
    assert face.to_json()["unsure"] is True
    silent = write_model(tmp_path / "silent.onnx")
    (face,) = MaskDetector(silent, Fixed([(60, 20, 120, 80)]))(np.zeros((100, 200, 3), np.uint8))
    assert not face.unsure, "a card without `unsure_below` sets no bound"


def test_a_face_gets_one_of_the_labels_that_are_asked_for(tmp_path: Path) -> None:
    metadata = METADATA | {"maskedge.labels": '["with_mask", "without_mask", "incorrect_mask", "not_a_face"]'}
    model = write_model(tmp_path / "model.onnx", metadata=metadata, outputs=4)
    image = demo.draw(150)
    all_labels, two = (MaskDetector(model, Fixed([(60, 20, 120, 80)]), labels=labels) for labels in (None, TWO))
    assert all_labels.labels == ("with_mask", "without_mask", "incorrect_mask")
    assert two.labels == TWO
    probabilities = np.array([[0.1, 0.05, 0.8, 0.05], [0.6, 0.2, 0.1, 0.1], [0, 0, 1, 0]], np.float32)
    votes = LabelChoice(two.classifier, TWO).restrict(probabilities)
    # The probability of a face stays, and so does the ratio of the labels that are left.
    assert votes.sum(axis=1) == pytest.approx([0.95, 0.9, 1], abs=1e-5)
    assert votes[:2, 0] / votes[:2, 1] == pytest.approx([2, 3], rel=1e-3)
    assert votes[2] == pytest.approx([0.5, 0.5, 0, 0])
    assert (LabelChoice(all_labels.classifier).restrict(probabilities) == probabilities * [1, 1, 1, 0]).all()
    (found,), (own,) = all_labels.detect(image, 0.0), two.detect(image, 0.0)
    assert (own.face.box, own.face_score) == (found.face.box, found.face_score)
    assert two.label_face(found.face.box, found.probabilities) == own.face
    assert all_labels.label_face(found.face.box, found.probabilities) == found.face


def test_labels_are_those_of_the_model() -> None:
    assert MaskDetector(labels=("without_mask", "with_mask")).labels == TWO
    assert "incorrect_mask" in MaskDetector(labels=()).labels
    refused = {("with_mask", "beard"): "no label 'beard'", ("with_mask", "not_a_face"): "'not_a_face'", ("with_mask",): "two"}
    for labels, message in refused.items():
        with pytest.raises(UsageError, match=message):
            MaskDetector(labels=labels)


def test_a_track_keeps_its_face_with_two_labels() -> None:
    """The vote is also the probability of a face: labels not asked for still count in it."""
    all_labels, two = (MaskDetector(tracking=True, labels=labels) for labels in (None, TWO))
    for index in range(120, 132):
        image, moment = demo.draw(index), index / 30
        faces = two(image, moment)
        assert [face.box for face in faces] == [face.box for face in all_labels(image, moment)]
    assert {face.label for face in faces} == set(TWO)


class Counting(Fixed):
    """A detector that counts its calls."""

    calls = 0

    def detect(self, image: Image) -> list[Box]:
        self.calls += 1
        return super().detect(image)


def test_a_lost_person_is_looked_for_sooner_and_not_without_end() -> None:
    own = Counting([true.box for true in demo.truth(150) if true.visible > 0.95])
    detector = MaskDetector(detector=own, tracking=True, detect_every=10)
    times = (number / 25 for number in count())
    for _ in range(40):
        detector(demo.draw(150), next(times))
    assert own.calls == 4
    assert detector.tracker is not None
    assert detector.tracker.people.total() == len(own.boxes)
    black = np.zeros((480, 640, 3), np.uint8)
    own.boxes = []
    before = own.calls
    detector(black, next(times))
    for _ in range(4):
        assert detector(black, next(times)) == []
    assert own.calls - before == 2, "the detection that missed them, and one more soon"
    for _ in range(95):
        assert detector(black, next(times)) == []
    assert own.calls - before <= 13, "a third more at most"
    assert detector.tracker.people.total() == 4


@pytest.mark.parametrize(("rate", "frames"), [(60, 5), (30, 5), (25, 5), (12.5, 3), (6, 2), (4, 2), (2.5, 1), (1, 1)])
def test_detection_is_due_after_some_frames_and_after_some_time(rate: float, frames: int) -> None:
    own = Counting([])
    detector = MaskDetector(detector=own, tracking=True, detect_every=5)
    for number in range(20 * frames):
        detector(np.zeros((48, 64, 3), np.uint8), number / rate)
    assert own.calls == 20


def test_frames_without_a_time_are_as_far_apart_as_the_calls_and_no_nearer_than_those_of_a_usual_camera(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    times = CallTimes()
    monkeypatch.setattr("maskedge.tracking.elapsed.time.perf_counter", lambda: clock[0])
    stamps = []
    for pause in (0, 0.001, 0.25, 0.5):
        clock[0] += pause
        stamps.append(times.stamp(None))
    assert np.diff(stamps) == pytest.approx([0.04, 0.25, 0.5])
    assert times.stamp(7.0) == 7.0
    clock[0] += 0.1
    assert times.stamp(None) == pytest.approx(7.1)


@pytest.mark.parametrize("moment", [float("nan"), float("inf")])
def test_a_time_is_a_finite_number(moment: float) -> None:
    with pytest.raises(UsageError, match="finite"):
        MaskDetector(tracking=True)(np.zeros((48, 64, 3), np.uint8), moment)


def test_stable_faces_are_not_classified_between_detections() -> None:
    detector = MaskDetector(
        detector=Fixed([true.box for true in demo.truth(150) if true.visible > 0.95]), tracking=True, detect_every=10
    )
    for number in range(35):
        faces = detector(demo.draw(150), number / 25)
    assert detector.tracker is not None
    answers = [track.classified for track in detector.tracker.tracks]
    assert max(answers) < 35
    assert all(face.score > 0.9 and face.raw_score > 0.5 for face in faces), "a vote counts for the stable frames after it"


@pytest.mark.parametrize("detector", detector_names())
@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (1, 640), (480, 1), (24, 24), (4320, 7680)])
def test_frames_of_any_size(shape: tuple[int, int], detector: str) -> None:
    if shape[0] > 4000 and detector == "haar-stock":
        pytest.skip("half a minute on the full-size picture: what it costs is what it is for")
    grey = np.random.default_rng(0).integers(0, 256, (min(shape[0], 480), min(shape[1], 640)), np.uint8)
    grey = cv2.resize(grey, shape[::-1], interpolation=cv2.INTER_NEAREST)
    follower = MaskDetector(detector=detector, tracking=True, detect_every=2)
    for image in (grey, np.dstack([grey] * 3), np.dstack([grey] * 4)[:, ::-1]):
        faces = follower(image)
        assert all(face.track is not None for face in faces)
        if shape[0] < 100 or shape[1] < 100:
            assert faces == []


def test_frames_that_change_their_size_on_the_way() -> None:
    detector = MaskDetector(tracking=True, detect_every=3)
    for index in range(12):
        image = demo.draw(150 + index)
        detector(image if index % 4 else np.ascontiguousarray(image[: 100 + 40 * index, ::-1]))


def test_faces_in_a_huge_picture() -> None:
    big = cv2.resize(demo.draw(150), (5120, 3840))
    faces = MaskDetector(tracking=True)(big)
    expected = [true.box for true in demo.truth(150) if true.visible > 0.95]
    for box in expected:
        assert any(box_iou(face.box, tuple(8 * value for value in box)) > 0.4 for face in faces)


@pytest.fixture(scope="module")
def crowd() -> tuple[Image, list[Box]]:
    """A picture of 200 composite faces, and their boxes."""
    tiles, _, boxes, _ = demo._atlas()
    image = np.full((1000, 2000, 3), 150, np.uint8)
    places = []
    for number in range(200):
        x, y, tile = 100 * (number % 20), 100 * (number // 20), number % len(tiles)
        image[y : y + 100, x : x + 100] = cv2.resize(tiles[tile], (100, 100), interpolation=cv2.INTER_AREA)
        x1, y1, x2, y2 = (100 * value for value in boxes[tile])
        places.append((x + x1, y + y1, x + x2, y + y2))
    return image, places


def test_two_hundred_faces(crowd: tuple[Image, list[Box]]) -> None:
    image, places = crowd
    detector = MaskDetector(detector=Fixed(places), tracking=True, detect_every=3)
    for number in range(12):
        faces = detector(image, number / 25)
    assert len(faces) >= 190
    assert len({face.track for face in faces}) == len(faces)
    assert detector.tracker is not None
    assert detector.tracker.people.total() >= 180
    # And with a bundled detector.
    assert len(MaskDetector(detector="haar-stock")(image)) > 100


def test_a_detector_gone_wild_does_not_stop_the_device() -> None:
    random = np.random.default_rng(1)
    corners = random.uniform(0, 400, (5000, 2))
    wild = Fixed([(x, y, x + 60, y + 60) for x, y in corners.tolist()])
    detector = MaskDetector(detector=wild, tracking=True)
    for _ in range(3):
        assert len(detector(demo.draw(150))) < MOST_CANDIDATES
    assert detector.candidates == 5000
    odd: list[Box] = [(5, 5, 5, 5), (90, 90, 20, 20), (-500, -500, -400, -400), (1e7, 1e7, 2e7, 2e7), (-1e4, -1e4, 1e4, 1e4)]
    for _ in range(3):
        MaskDetector(detector=Fixed(odd), tracking=True)(demo.draw(150))


def test_a_minute_of_black_and_white_frames() -> None:
    """After a scene with people, half a minute each of black and white: every track is dropped."""
    detector = MaskDetector(tracking=True, detect_every=5)
    for index in range(100, 130):
        detector(demo.draw(index), index / 25)
    assert detector.tracker is not None
    people = detector.tracker.people.total()
    assert people > 0
    times = (number / 25 for number in count(130))
    for level in (0, 255):
        frame = np.full((480, 640, 3), level, np.uint8)
        for number in range(750):
            faces = detector(frame, next(times))
            detector.clock.next_frame()
            assert number < 5 or faces == []
    assert detector.tracker.tracks == []
    assert detector.tracker.people.total() == people


def test_cameras_share_networks_and_nothing_else() -> None:
    base = MaskDetector()
    worker = DetectionWorker(base.analyzer.analyze)
    try:
        demo, empty = base.share(worker), base.share(worker)
        for detector in (demo, empty):
            detector.start_tracking(asynchronous=True)
        assert demo.analyzer is base.analyzer
        assert demo.clock is not empty.clock
        demo.set_face_threshold(0.9)
        assert (base.tracker, empty.face_threshold) == (None, base.face_threshold)
        frames = [frame for frame, _ in zip(open_source("demo").frames(), range(30), strict=False)]
        for frame in frames:
            found = demo(frame.image, frame.moment)
            assert empty(np.zeros_like(frame.image), frame.moment) == []
            assert demo.wait()
            assert empty.wait()
        assert found
        demo.close()
        # The end of one camera does not end the thread of the others.
        empty(frames[0].image, frames[-1].moment + 1)
        assert empty.wait(20)
        assert empty(frames[0].image, frames[-1].moment + 1.1)
    finally:
        worker.close()
