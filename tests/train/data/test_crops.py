"""Training crops: cut by the device's rule, painted, and with negatives."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from helpers.support import composite
from maskedge import OutputError
from maskedge.boxes import box_iou
from maskedge.modelfile.crop import crop_faces
from maskedge.support.pictures import read_picture
from maskedge_train.classifier.augment import Compression, Jitter, Reframe, training_augmentation
from maskedge_train.data.crops import CONTEXT, PATCH, REAL, Crops, cached_crops, cut_crops
from maskedge_train.data.dataset import LABELS, DataSet, load_dataset
from maskedge_train.data.negatives import FAR_IOU, detected_faces, face_pieces, random_windows, square
from maskedge_train.data.occlusions import OCCLUSIONS, paint_occlusion
from maskedge_train.shared.box_file import BoxFile
from maskedge_train.shared.face_crop import CROP, INPUT_SIZE


@pytest.fixture(scope="module")
def scenes(scenes_folder: Path) -> DataSet:
    dataset = load_dataset(scenes=[BoxFile(scenes_folder / "boxes.csv")], backgrounds=[scenes_folder / "backgrounds"])
    return dataset.take(range(0, len(dataset.pictures), 4))


@pytest.fixture(scope="module")
def crops(scenes: DataSet) -> Crops:
    return cut_crops(scenes, np.zeros(len(scenes.pictures), np.int64), negatives=True, painted=True)


def test_exact_crops_are_those_of_the_device(scenes: DataSet, crops: Crops) -> None:
    picture = scenes.pictures[0]
    expected = crop_faces(read_picture(picture.path), [face.box for face in picture.faces], CROP, INPUT_SIZE)
    rows = np.flatnonzero((crops.names == picture.name) & (crops.origins == "face"))
    assert (crops.exact[rows] == expected).all()
    # The middle of a patch equals the crop, at the patch's resolution.
    edge = round((PATCH - PATCH / CONTEXT) / 2)
    middle = cv2.resize(crops.patches[rows[0]][edge:-edge, edge:-edge], (INPUT_SIZE, INPUT_SIZE), interpolation=cv2.INTER_AREA)
    assert np.abs(middle.astype(int) - expected[0]).mean() < 12


def test_every_label_has_crops_of_its_kinds(crops: Crops) -> None:
    kinds = set(zip(crops.labels.tolist(), crops.origins.tolist(), strict=True))
    assert {(label, "face") for label in ("with_mask", "without_mask", "incorrect_mask")} <= kinds
    assert ("not_a_face", "window") in kinds
    assert ("not_a_face", "piece of a face") in kinds
    assert ("with_mask", "mask") in kinds
    assert any(label == "incorrect_mask" and origin != "face" for label, origin in kinds)
    # A hand, scarf, cup or phone in front of the mouth is not a mask.
    assert all(label == OCCLUSIONS[origin][0] for label, origin in kinds if origin in OCCLUSIONS)
    assert {OCCLUSIONS[thing][0] for thing in ("hand", "scarf", "cup", "phone")} == {"without_mask"}


def test_relabelled_crops_lose_their_occlusions(crops: Crops) -> None:
    name = crops.names[crops.origins == "mask"][0]
    painted = ~np.isin(crops.origins, REAL)
    own, faces = crops.names == name, crops.labels != "not_a_face"
    assert (own & ~faces).any()
    right = crops.relabelled({name: "incorrect_mask"}, LABELS)
    assert set(right.labels[own & faces & ~painted].tolist()) == {"incorrect_mask"}
    assert set(right.labels[own & ~faces].tolist()) == {"not_a_face"}  # a window is no face, whatever the face shows
    assert (right.where("train") == np.flatnonzero(~(own & painted))).all()
    assert (right.labels[~own] == crops.labels[~own]).all()
    assert right.patches is crops.patches  # no second copy of gigabytes
    unknown = crops.relabelled({name: "incorrect_mask"}, LABELS[:2])
    assert (unknown.where("train") == np.flatnonzero(~(own & faces))).all()


def test_distrusted_labels_are_in_no_part(crops: Crops) -> None:
    name = crops.names[crops.labels == "with_mask"][0]
    rest = crops.without("with_mask", re.compile(f"^{re.escape(Path(name).name)}$"))
    assert (rest.where("train") == np.flatnonzero((crops.names != name) | (crops.labels != "with_mask"))).all()
    assert rest.patches is crops.patches


def test_a_face_that_nobody_labelled_is_taught_as_nothing(scenes: DataSet, crops: Crops) -> None:
    chosen = [
        replace(picture, faces=picture.faces[:1], unlabelled=tuple(face.box for face in picture.faces[1:]))
        for picture in scenes.pictures
    ]
    parts = np.zeros(len(chosen), np.int64)
    without = [replace(picture, unlabelled=()) for picture in chosen]
    known, unknown = (cut_crops(DataSet(pictures), parts, negatives=True, painted=False) for pictures in (chosen, without))
    whole = crops.labels != "not_a_face"
    assert (known.origins == "face").sum() == (unknown.origins == "face").sum() < (whole & (crops.origins == "face")).sum()
    # Without labels of the other faces, their detections would become wrong negatives.
    assert (known.origins == "false alarm").sum() < (unknown.origins == "false alarm").sum()


def test_compression_leaves_pictures_and_their_shape() -> None:
    pictures = torch.rand(5, 3, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    little, much = Compression(95, 95)(pictures), Compression(5, 5)(pictures)
    assert little.shape == much.shape == pictures.shape
    assert 0 < (little - pictures).abs().mean() < (much - pictures).abs().mean() < 0.2
    assert 0 <= float(much.min()) <= float(much.max()) <= 1


def test_cutting_again_gives_the_same(scenes: DataSet, crops: Crops, tmp_path: Path) -> None:
    parts = np.zeros(len(scenes.pictures), np.int64)
    first = cached_crops(tmp_path, scenes, "split", parts, negatives=True, painted=True)
    second = cached_crops(tmp_path, scenes, "split", parts, negatives=True, painted=True)
    kept = next(tmp_path.iterdir())
    (kept / "labels.npy").write_bytes(b"")
    third = cached_crops(tmp_path, scenes, "split", parts, negatives=True, painted=True)
    for other in (first, second, third):
        assert (other.patches == crops.patches).all()
        assert (other.labels == crops.labels).all()


def test_unwritable_cache_is_reported(scenes: DataSet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="--cache"):
        cached_crops(tmp_path / "file", scenes.take([0]), "split", np.zeros(1, np.int64), negatives=False, painted=False)


def test_painted_things_cover_and_spare() -> None:
    random = np.random.default_rng(1)
    face = cv2.resize(composite("without_mask", random), (PATCH, PATCH))
    side = PATCH / CONTEXT / (1 + 2 * CROP.margin)
    for thing in OCCLUSIONS:
        changed = np.abs(paint_occlusion(face, (side, side), thing, random).astype(int) - face).max(axis=2) > 20
        assert changed.mean() > 0.03, thing
        # The forehead is unchanged.
        assert changed[round(PATCH / 2 - 0.45 * side) : round(PATCH / 2 - 0.3 * side), PATCH // 3 : -PATCH // 3].mean() < 0.3, thing
    assert (
        paint_occlusion(face, (side, side), "mask", np.random.default_rng(2))
        == paint_occlusion(face, (side, side), "mask", np.random.default_rng(2))
    ).all()


def test_negatives_are_off_every_face() -> None:
    faces = [(100.0, 80.0, 200.0, 210.0), (300.0, 100.0, 340.0, 150.0)]
    random = np.random.default_rng(0)
    for box in [*face_pieces(faces, 50, random), *random_windows((600, 400), faces, 50, random)]:
        assert all(box_iou(box, square(face)) < FAR_IOU for face in faces)
        x1, y1, x2, y2 = box
        assert x2 - x1 == pytest.approx(y2 - y1)


def test_reframing_without_freedom_is_the_crop(crops: Crops) -> None:
    still = Jitter(right=0, down=(0, 0), zoom=(0, 0), aspect=0, rotation=0, labelled=1.0)
    rows = np.flatnonzero(crops.origins == "face")[:12]
    patches = torch.from_numpy(crops.patches[rows].transpose(0, 3, 1, 2).copy()).float()
    torch.manual_seed(0)
    reframed, places = Reframe(still)(patches, torch.from_numpy(crops.places[rows]))
    reframed = reframed.numpy().transpose(0, 2, 3, 1)
    exact = crops.exact[rows].astype(float)
    # Half of them are mirrored.
    difference = np.minimum(np.abs(reframed - exact).mean((1, 2, 3)), np.abs(reframed[:, :, ::-1] - exact).mean((1, 2, 3)))
    assert difference.max() < 12
    # A face in the middle of its crop stays there when mirrored. A face without a box drawn by a
    # person has no place.
    known = ~np.isnan(crops.places[rows, 0])
    np.testing.assert_allclose(places.numpy()[known], crops.places[rows][known], atol=0.02)


def test_a_face_moves_with_its_crop() -> None:
    """The face box follows a bright square of the patch, except for rotation."""
    patch = np.zeros((16, 3, PATCH, PATCH), np.float32)
    patch[:, :, 40:70, 30:60] = 1
    edge = (PATCH - PATCH / CONTEXT) / 2
    place = (np.array([30, 40, 60, 70], np.float32) - edge) / (PATCH / CONTEXT)
    torch.manual_seed(3)
    crops, places = Reframe(Jitter(rotation=0, labelled=0.0))(torch.from_numpy(patch), torch.from_numpy(np.tile(place, (16, 1))))
    for crop, seen in zip(crops.numpy()[:, 0], places.numpy() * INPUT_SIZE, strict=True):
        rows, columns = np.flatnonzero(crop.max(1) > 0.5), np.flatnonzero(crop.max(0) > 0.5)
        found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_allclose(np.clip(seen, 0, INPUT_SIZE), found, atol=1.5)


@pytest.mark.parametrize("kind", ["camera", "light"])
def test_augmentation_is_seeded_and_stays_in_range(crops: Crops, kind: str) -> None:
    patches = torch.from_numpy(crops.patches[:64].transpose(0, 3, 1, 2).copy()).float() / 255
    places = torch.from_numpy(crops.places[:64])
    augment = training_augmentation(kind)
    torch.manual_seed(5)
    first, _ = augment(patches, places)
    torch.manual_seed(5)
    assert torch.equal(first, augment(patches, places)[0])
    assert first.shape == (len(patches), 3, INPUT_SIZE, INPUT_SIZE)
    assert torch.isfinite(first).all()
    assert first.min() > -0.6
    assert first.max() < 1.6


def test_faces_as_detectors_box_them() -> None:
    faces = [(100.0, 100.0, 160.0, 170.0), (300.0, 100.0, 360.0, 170.0)]
    near = [(95.0 + shift, 95.0, 165.0 + shift, 165.0) for shift in (0.0, 4.0, 8.0)]
    answers = [near, [(310.0, 110.0, 350.0, 160.0), (500.0, 10.0, 560.0, 70.0)], []]
    pairs = detected_faces(answers, faces, 2, np.random.default_rng(0))
    assert sorted(index for _, index in pairs) == [0, 0, 1], "two of a face at most, and none of what lies on no face"
    assert all(box_iou(box, faces[index]) >= 0.4 for box, index in pairs)
    assert detected_faces([[], []], [], 2, np.random.default_rng(0)) == []
