"""Generated pictures without people, and negatives from a folder of faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.support import texture
from maskedge.boxes import box_iou
from maskedge.modelfile.contract import default_model
from maskedge.vision.classifier import MaskClassifier
from maskedge_train.data import generated
from maskedge_train.data.crops import Crops, cut_crops
from maskedge_train.data.dataset import DataSet, labels_to_learn, load_dataset
from maskedge_train.data.localise import localise
from maskedge_train.data.negatives import MAX_FACE_PROBABILITY


def test_same_name_is_the_same_picture_and_no_other() -> None:
    names = generated.picture_names(10)
    assert len(set(names)) == len(names) > 10
    first, second = ([generated.draw(name) for name in names] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one.image.dtype == np.uint8 and one.image.ndim == 3
        assert (one.image == other.image).all()
        assert one.faces == other.faces
    assert len({drawn.image.tobytes() for drawn in first}) == len(first)
    assert {drawn.name.split()[0].removeprefix("generated/") for drawn in first if not drawn.faces} == set(generated._KINDS)
    assert generated.picture_names(0) == []
    assert generated.digest(10) == generated.digest(10) != generated.digest(20)


def test_shuffled_picture_shows_the_same_in_other_places() -> None:
    random = np.random.default_rng(1)
    picture = texture((90, 120), random)
    mixed = generated.shuffle_parts(picture, np.random.default_rng(4))
    assert mixed.shape == picture.shape
    assert (mixed == generated.shuffle_parts(picture, np.random.default_rng(4))).all()
    assert (mixed != picture).mean() > 0.5
    colours = {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}
    assert {tuple(pixel) for pixel in mixed.reshape(-1, 3).tolist()} <= colours
    for small in (picture[:1, :1], picture[:2], picture[:, :1]):
        assert generated.shuffle_parts(small, np.random.default_rng(4)).shape == small.shape


@pytest.fixture(scope="module")
def plain(faces_folder: Path) -> DataSet:
    """Return the crops of `edge-train classifier --data` for six pictures per label."""
    found, _ = localise(faces_folder)
    dataset = load_dataset(faces_folder, face_boxes={name: face.box for name, face in found})
    few = {f"face {number}.jpg" for number in range(6)}
    rows = [index for index, picture in enumerate(dataset.pictures) if picture.path.name in few]
    return dataset.take(rows)


@pytest.fixture(scope="module")
def crops(plain: DataSet) -> Crops:
    parts = np.zeros(len(plain.pictures), np.int64)
    return cut_crops(plain, parts, negatives=True, painted=False, negatives_from_faces=True, generated_backgrounds=5)


def test_plain_folder_gives_negatives(plain: DataSet, crops: Crops) -> None:
    assert labels_to_learn(plain, "auto") == ("with_mask", "without_mask", "not_a_face")
    assert labels_to_learn(plain, "given") == labels_to_learn(plain, "none") == ("with_mask", "without_mask")
    none = crops.labels == "not_a_face"
    assert set(crops.origins[none].tolist()) >= {"piece of a face", "window"}
    assert set(crops.sources[none].tolist()) == {"faces", "generated"}
    again = cut_crops(
        plain,
        np.zeros(len(plain.pictures), np.int64),
        negatives=True,
        painted=False,
        negatives_from_faces=True,
        generated_backgrounds=5,
    )
    assert (again.exact == crops.exact).all()
    assert again.names.tolist() == crops.names.tolist()
    # A tenth of the generated pictures is used for validation, decided by the name; the rest for
    # training.
    drawn = crops.sources == "generated"
    assert set(crops.parts[drawn].tolist()) <= {0, 1}


def test_boxes_that_the_bundled_classifier_takes_for_a_face_are_no_negatives(crops: Crops) -> None:
    classifier = MaskClassifier(default_model())
    none = np.flatnonzero((crops.labels == "not_a_face") & (crops.sources == "faces"))
    of_a_face = 1 - classifier.classify_crops(crops.exact[none])[:, classifier.labels.index("not_a_face")]
    assert of_a_face.max() <= MAX_FACE_PROBABILITY + 1e-5


def test_located_faces_teach_where_a_face_is(plain: DataSet, crops: Crops) -> None:
    located = [picture.located for picture in plain.pictures]
    assert sum(located) >= 10
    faces = crops.origins == "face"
    assert (~np.isnan(crops.places[faces, 0])).sum() == sum(located)
    inner = (40, 40, 120, 130)
    assert all(box_iou(picture.faces[0].box, inner) > 0.5 for picture in plain.pictures if picture.located)


def test_without_it_nothing_is_taken_from_the_pictures_of_faces(plain: DataSet) -> None:
    parts = np.zeros(len(plain.pictures), np.int64)
    assert set(cut_crops(plain, parts, negatives=True, painted=False).origins.tolist()) == {"face"}
