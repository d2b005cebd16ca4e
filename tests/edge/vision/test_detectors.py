from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.support import METADATA, write_detector, write_model
from maskedge import ModelError, UsageError
from maskedge.boxes import box_iou
from maskedge.config import load_config
from maskedge.runtime.build import open_detector
from maskedge.sources import demo
from maskedge.types import Box, Image
from maskedge.vision import detectors
from maskedge.vision.analysis import MOST_CANDIDATES
from maskedge.vision.detectors import (
    Detections,
    FaceDetector,
    adapt_detector,
    as_region_detector,
    detector_names,
    load_detector,
    register_detector,
)
from maskedge.vision.detectors.cascade import CascadeDetector, opencv_cascade
from maskedge.vision.detectors.network import CnnDetector
from maskedge.vision.detectors.pyramid import Pyramid
from maskedge.vision.pipeline import MaskDetector


@pytest.mark.parametrize("name", ["haar", "cnn", "haar-stock"])
def test_finds_the_composite_faces(name: str) -> None:
    detector = load_detector(name)
    truth = [face for face in demo.truth(150) if face.visible > 0.9]
    boxes = detector.detect(demo.draw(150)).boxes
    assert len(truth) >= 3
    assert all(max(box_iou(face.box, box) for box in boxes) >= 0.4 for face in truth)


def test_scaling_and_border_are_undone() -> None:
    image = demo.draw(150)
    cascade = opencv_cascade("frontalface_default")
    plain = CascadeDetector(cascade, side=None).detect(image).boxes
    bordered = CascadeDetector(cascade, side=480, border=0.1).detect(image).boxes
    assert len(plain) >= 3
    assert all(max(box_iou(box, other) for other in bordered) > 0.7 for box in plain)


def test_a_face_with_a_single_window_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = load_detector("haar")
    alone, weak = [100.0, 50.0, 40.0, 40.0], [300.0, 200.0, 60.0, 60.0]
    monkeypatch.setattr(detector, "_windows", lambda levels: (np.array([alone]), np.array([3.0])))
    assert detector.detect(demo.draw(150)).boxes == ((100.0, 50.0, 140.0, 90.0),)
    monkeypatch.setattr(detector, "_windows", lambda levels: (np.array([weak, alone]), np.array([-2.0, 3.0])))
    boxes = np.array(detector.detect(demo.draw(150)).boxes)
    assert boxes == pytest.approx(np.array([[100.0, 50.0, 140.0, 90.0], [300.0, 200.0, 360.0, 260.0]]))


@pytest.mark.parametrize("shape", [(1, 1, 3), (8, 8, 3), (24, 2000, 3), (3, 640, 3)])
def test_tiny_and_odd_pictures(shape: tuple[int, int, int]) -> None:
    assert CascadeDetector.default().detect(np.full(shape, 200, np.uint8)).boxes == ()


@pytest.mark.parametrize("name", ["haar", "haar-stock"])
def test_part_of_a_picture_is_searched_as_the_whole(name: str) -> None:
    image = demo.draw(150)
    height, width = image.shape[:2]
    detector = as_region_detector(load_detector(name))
    assert detector is not None
    whole = detector.detect(image).boxes
    assert detector.detect(image, (0, 0, width, height)).boxes == whole
    assert detector.detect(image, (-50.5, -3, width + 9, height + 0.5)).boxes == whole
    truth = [face.box for face in demo.truth(150) if face.visible > 0.9]
    assert len(truth) >= 3
    for box in truth:
        wide, tall = box[2] - box[0], box[3] - box[1]
        for around in (0.4, 0.9):
            part = (box[0] - around * wide, box[1] - around * tall, box[2] + around * wide, box[3] + around * tall)
            found = detector.detect(image, part).boxes
            # The windows of the part begin at other pixels, in steps of two, so the boxes differ.
            assert max(box_iou(box, other) for other in found) > 0.4
            # No window begins more than a border away from the part.
            assert all(x1 < part[2] and y1 < part[3] and x2 > part[0] and y2 > part[1] for x1, y1, x2, y2 in found)
    empty = [(5, 5, 5, 90), (width + 1, 0, width + 90, 90), (-90, -90, -1, -1)]
    assert all(detector.detect(image, part).boxes == () for part in empty)


def test_each_size_of_a_part_shows_its_surroundings() -> None:
    column, row = np.meshgrid(np.arange(200), np.arange(150))
    image = np.repeat((column / 2 + row / 1.5)[:, :, None], 3, axis=2).astype(np.uint8)
    levels = list(Pyramid(0.8, 1.5, 0.1, 6).levels(image, (100, 0, 180, 70), (12, 12)))
    assert len(levels) == 5
    for number, level in enumerate(levels):
        pad = min(6, round(20 * 0.8 / 1.5**number))
        assert level.scale == pytest.approx((0.8 / 1.5**number, 0.8 / 1.5**number), rel=0.1)
        ((x, y, width, height),) = level.to_picture([[pad, pad, *(size - 2 * pad for size in level.grey.shape[::-1])]])
        pixel = 1 / level.scale[0]
        assert (x, y, width, height) == pytest.approx((100, 0, 80, 70), abs=1.5 * pixel)
        assert (level.grey[:pad] == level.grey[pad]).all(), "the edge of the picture is repeated"
        left = (np.arange(pad) + 0.5) * pixel + level.left
        assert level.grey[pad + 1, :pad] == pytest.approx(left / 2 + 1.5 * pixel / 1.5, abs=3 + pixel / 1.5), "not repeated"


@pytest.mark.parametrize("content", [b"", b"<?xml version='1.0'?><opencv_storage></opencv_storage>", b"not xml"])
def test_file_that_is_no_cascade(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cascade.xml"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is not a usable cascade"):
        CascadeDetector(path, side=320)


def test_missing_cascade() -> None:
    with pytest.raises(ModelError, match="there is no cascade file"):
        CascadeDetector(Path("/nowhere.xml"), side=320)


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match="haar, cnn, haar-stock"):
        load_detector("hog")


@pytest.mark.parametrize("shape", [(30, 40), (60, 80), (90, 40), (15, 200)])
def test_detector_file_answers_in_pixels_of_the_picture(tmp_path: Path, shape: tuple[int, int]) -> None:
    detector = CnnDetector(write_detector(tmp_path / "detector.onnx"))
    image = np.zeros((*shape, 3), np.uint8)
    assert detector.detect(image).boxes == ()
    top, left = shape[0] // 3, shape[1] // 2
    image[top : top + 10, left : left + 10] = 255
    boxes = detector.detect(image).boxes
    reach = max(shape[0] / 30, shape[1] / 40)
    x1, y1, x2, y2 = np.array(boxes).T
    found = [min(x1), min(y1), max(x2), max(y2)]
    assert found == pytest.approx([left, top, left + 10, min(top + 10, shape[0])], abs=reach)
    # The best comes first, and this one likes the lower right corner.
    assert boxes[0] == (max(x1), max(y1), max(x2), max(y2))


def test_detector_file_in_the_pipeline(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "detector.onnx", size=(64, 48))
    faces = MaskDetector(write_model(tmp_path / "own.onnx"), detector_model=path)(np.full((48, 64, 3), 255, np.uint8))
    assert len(faces) == MOST_CANDIDATES < 48 * 64


def test_detector_file_that_breaks_the_contract(tmp_path: Path) -> None:
    for changes, clause in (
        ({"metadata": METADATA}, "kind is 'classifier'"),
        ({"metadata": {}}, "no maskedge.contract"),
        ({"size": (40, "H")}, r"\[1, H, W, 3\] with H and W both fixed or both free"),
        ({"output_name": "faces"}, "'boxes' and 'scores'"),
    ):
        with pytest.raises(ModelError, match=clause):
            CnnDetector(write_detector(tmp_path / "detector.onnx", **changes))
    with pytest.raises(ModelError, match="expected 'detector'"):
        CnnDetector(write_model(tmp_path / "classifier.onnx"))
    with pytest.raises(ModelError, match="there is no model file"):
        CnnDetector(tmp_path / "none.onnx")


def test_a_detector_registers_itself_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of what a new detector takes: a class and a factory."""
    monkeypatch.setattr(detectors, "_names", dict(detectors._names))

    class Centre(FaceDetector):
        default_threshold = 0.25
        score_weights = (1.0, 0.0)

        def detect(self, image: Image) -> Detections:
            height, width = image.shape[:2]
            box = (width / 4, height / 4, 3 * width / 4, 3 * height / 4)
            return Detections((box,), np.array([0.5], np.float32))

    @register_detector("centre")
    def _centre(min_face_size: int | None, threads: int) -> FaceDetector:
        return Centre()

    assert detector_names() == ("haar", "centre", "cnn", "haar-stock")
    pipeline = MaskDetector(detector="centre")
    assert pipeline.face_threshold == 0.25
    (scored,) = pipeline.detect(demo.draw(150))
    assert scored.face_score == 0.5


def test_files_are_resolved_by_their_suffix(tmp_path: Path) -> None:
    network = write_detector(tmp_path / "own.onnx")
    assert isinstance(load_detector(str(network)), CnnDetector)
    assert isinstance(load_detector(network.rename(tmp_path / "upload")), CnnDetector)
    cascade = opencv_cascade("frontalface_default")
    assert isinstance(load_detector(cascade), CascadeDetector)
    upper = tmp_path / "OWN.XML"
    upper.write_bytes(Path(cascade).read_bytes())
    pipeline = MaskDetector(detector=str(upper))
    assert isinstance(pipeline.detector, CascadeDetector)
    assert pipeline.detector_name == "OWN.XML", "without its folder"
    odd = upper.rename(tmp_path / "cascade.dat")
    config = load_config(None, {}, {"detect.cascade": odd, "detect.min_face_size": 50}).config
    assert open_detector(config).detector.min_face_size == 50
    with pytest.raises(ModelError):
        MaskDetector(detector_model=cascade)


def test_a_detector_of_the_user_returns_boxes_or_detections() -> None:
    class Own:
        def __init__(self, answer: list[Box] | Detections) -> None:
            self.answer = answer

        def detect(self, image: Image) -> list[Box] | Detections:
            return self.answer

    image, box = demo.draw(150), (10.0, 10.0, 60.0, 60.0)
    for answer in ([box], Detections((box,))):
        assert adapt_detector(Own(answer)).detect(image).boxes == (box,)
