from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskedge import ModelError, UsageError
from maskedge.detect import CascadeDetector, opencv_cascade
from maskedge.pipeline import build_detector
from maskedge.sources import demo
from maskedge.track import box_iou


@pytest.mark.parametrize("name", ["haar", "haar-stock"])
def test_finds_the_composite_faces(name: str) -> None:
    detector = build_detector(name)
    truth = [face for face in demo.truth(150) if face.visible > 0.9]
    boxes = detector.detect(demo.draw(150))
    assert len(truth) >= 3
    assert all(max(box_iou(face.box, box) for box in boxes) >= 0.4 for face in truth)


def test_scaling_and_border_are_undone() -> None:
    image = demo.draw(150)
    cascade = opencv_cascade("frontalface_default")
    plain = CascadeDetector(cascade, side=None).detect(image)
    bordered = CascadeDetector(cascade, side=480, border=0.1).detect(image)
    assert len(plain) >= 3
    assert all(max(box_iou(box, other) for other in bordered) > 0.7 for box in plain)


@pytest.mark.parametrize("shape", [(1, 1, 3), (8, 8, 3), (24, 2000, 3), (3, 640, 3)])
def test_tiny_and_odd_pictures(shape: tuple[int, int, int]) -> None:
    assert CascadeDetector.default().detect(np.full(shape, 200, np.uint8)) == []


@pytest.mark.parametrize("content", [b"", b"<?xml version='1.0'?><opencv_storage></opencv_storage>", b"not xml"])
def test_file_that_is_no_cascade(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cascade.xml"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is no cascade"):
        CascadeDetector(path, side=320)


def test_missing_cascade() -> None:
    with pytest.raises(ModelError, match="there is no cascade file"):
        CascadeDetector(Path("/nowhere.xml"), side=320)


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match="haar, haar-stock"):
        build_detector("hog")
