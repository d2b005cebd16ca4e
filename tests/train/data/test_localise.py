from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.support import texture, write_model
from maskedge import MaskDetector, ModelError, UsageError
from maskedge.boxes import box_iou
from maskedge.labelled_boxes import read_boxes
from maskedge.modelfile.contract import MODELS
from maskedge.sources import demo
from maskedge.types import Box, Image
from maskedge_train.data.localise import find_face, localise


@pytest.fixture(scope="module")
def detector() -> MaskDetector:
    return MaskDetector(detector="cnn")


def plain(label: str) -> Image:
    """Return a composite face of the built-in clip, unchanged."""
    tiles, labels, _, _ = demo._atlas()
    return np.asarray(tiles[labels.index(label)], np.uint8)


@pytest.mark.parametrize("label", ["with_mask", "without_mask"])
def test_face_is_found_wherever_it_is(detector: MaskDetector, label: str) -> None:
    random = np.random.default_rng(11)
    for side, size in ((160, (160, 160)), (120, (300, 260)), (80, (240, 400))):
        # A wall with a little light: saturated colours can look like faces.
        picture = np.asarray(110 + 0.2 * texture(size, random), np.uint8)
        x, y = int(random.integers(0, size[1] - side + 1)), int(random.integers(0, size[0] - side + 1))
        picture[y : y + side, x : x + side] = cv2.resize(plain(label), (side, side), interpolation=cv2.INTER_AREA)
        found = find_face(picture, detector)
        # The face fills about two thirds of its tile.
        expected: Box = (x + 0.2 * side, y + 0.2 * side, x + 0.8 * side, y + 0.85 * side)
        assert found is not None
        assert box_iou(found, expected) > 0.4, (side, found, expected)


def test_face_that_the_pictures_edge_cuts_keeps_its_whole_box(detector: MaskDetector) -> None:
    side = 160
    picture = np.asarray(cv2.resize(plain("without_mask"), (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    whole = find_face(picture, detector)
    cut = find_face(picture[:, side // 3 :], detector)
    assert whole is not None and cut is not None
    assert box_iou(whole, (cut[0] + side // 3, cut[1], cut[2] + side // 3, cut[3])) > 0.4, (whole, cut)


def test_nothing_is_found_in_a_plain_wall(detector: MaskDetector) -> None:
    assert find_face(np.full((120, 160, 3), 140, np.uint8), detector) is None


def test_wrong_models_are_refused_before_the_work(tmp_path: Path, faces_folder: Path) -> None:
    seen: list[None] = []
    model = write_model(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="its kind is 'classifier'"):
        localise(faces_folder, detector_model=model, progress=lambda: seen.append(None))
    with pytest.raises(ModelError, match="its kind is 'detector'"):
        localise(faces_folder, MODELS / "edgeface.onnx", progress=lambda: seen.append(None))
    assert not seen


def test_folder_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no pictures in sub-folders"):
        localise(tmp_path)


def test_command_writes_boxes_that_training_takes(invoke, faces_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    data = tmp_path / "faces"
    for label in ("with_mask", "without_mask"):
        (data / label).mkdir(parents=True)
        for number in range(3):
            name = f"face {number}.jpg"
            (data / label / name).write_bytes((faces_folder / label / name).read_bytes())
    (data / "with_mask" / "broken.jpg").write_bytes(b"rubbish")
    done = invoke("edge-train", "localise", data, "-o", tmp_path / "boxes.csv", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "of 7 pictures" in done.stdout
    boxes = read_boxes(tmp_path / "boxes.csv")
    assert all(faces[0].label == name.split("/")[0] for name, faces in boxes.items())
