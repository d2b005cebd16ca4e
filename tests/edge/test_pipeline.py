from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from maskedge import MaskDetector, UsageError
from maskedge.sources import demo
from maskedge.types import Box, Image
from support import METADATA, write_model


class Fixed:
    """Finds the same boxes in every picture."""

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
    """A bright crop gets the last label of this model: here it is the one that says that it is no face."""
    metadata = METADATA | {"maskedge.labels": '["with_mask", "not_a_face"]'}
    model = write_model(tmp_path / "model.onnx", metadata=metadata)
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 100:] = 255
    detector = MaskDetector(model, Fixed([(10, 10, 60, 60), (120, 10, 180, 60)]), tracking=True)
    # A black crop is undecided (0.5 each): the first label wins.
    faces = detector(image)
    assert [face.box for face in faces] == [(10, 10, 60, 60)]
    assert detector.tracker is not None
    assert detector.tracker.update([]) == []


def test_vote_never_ends_at_not_a_face(tmp_path: Path) -> None:
    """Three labels, of which the middle one is never the likeliest: a face that is nearly none stays what it looks like."""
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
