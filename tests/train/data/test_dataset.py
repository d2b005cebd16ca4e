from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskedge import UsageError
from maskedge.labelled_boxes import UNLABELLED, LabelledBox, read_boxes, write_boxes
from maskedge.modelfile.crop import crop_faces
from maskedge_train.data.dataset import load_dataset, times_shown, whole_picture
from maskedge_train.shared.box_convention import BoxFile
from maskedge_train.shared.face_crop import CROP

LABELS = ("with_mask", "without_mask")


def huge_png() -> bytes:
    """Return a picture of a few bytes that claims 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("make", ["missing", "empty", "unreadable"])
def test_unusable_class_is_refused(tmp_path: Path, faces_folder: Path, make: str) -> None:
    shutil.copytree(faces_folder / LABELS[0], tmp_path / LABELS[0])
    if make != "missing":
        (tmp_path / LABELS[1]).mkdir()
    if make == "unreadable":
        (tmp_path / LABELS[1] / "a.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match="without_mask"):
        load_dataset(tmp_path)


def test_odd_names_survive_and_bad_files_are_named(tmp_path: Path, faces_folder: Path) -> None:
    shutil.copytree(faces_folder, tmp_path, dirs_exist_ok=True)
    good = (tmp_path / LABELS[0] / "face 1.jpg").read_bytes()
    odd = ["a [1] (2).jpg", "máska 口罩.jpg", "x.jpg_1088wx1632h", "really a jpeg.png"]
    for name in odd:
        (tmp_path / LABELS[0] / name).write_bytes(good)
    for name, shape in (("high.png", (20000, 3)), ("wide.png", (3, 20000)), ("dot.png", (1, 1))):
        cv2.imwrite(str(tmp_path / LABELS[0] / name), np.zeros(shape, np.uint8))
        odd.append(name)
    bad = {
        "empty.jpg": b"",
        "cut.png": cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes()[:40],
        "huge.png": huge_png(),
    }
    for name, content in bad.items():
        (tmp_path / LABELS[0] / name).write_bytes(content)
    dataset = load_dataset(tmp_path)
    names = {picture.name for picture in dataset.pictures}
    assert {f"faces/with_mask/{name}" for name in odd} <= names
    assert {name for name, _ in dataset.refused} == {f"faces/with_mask/{name}" for name in bad}


def test_digest_depends_on_the_data_not_on_its_location(tmp_path: Path, faces_folder: Path) -> None:
    shutil.copytree(faces_folder, tmp_path / "moved")
    before = load_dataset(faces_folder).digest
    assert load_dataset(tmp_path / "moved").digest == before
    (tmp_path / "moved" / LABELS[0] / "face 3.jpg").unlink()
    assert load_dataset(tmp_path / "moved").digest != before


def test_crop_of_the_whole_picture_is_the_whole_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    crop = crop_faces(picture, [whole_picture((64, 64))], CROP, 64)[0]
    assert np.abs(crop.astype(int) - picture).max() <= 2


def test_scenes_bring_their_labels(scenes_folder: Path) -> None:
    dataset = load_dataset(scenes=[BoxFile(scenes_folder / "boxes.csv")], backgrounds=[scenes_folder / "backgrounds"])
    assert dataset.labels == ("with_mask", "without_mask", "incorrect_mask", "not_a_face")
    assert dataset.counts() == {"with_mask": 30, "without_mask": 30, "incorrect_mask": 30, "scenes": 30, "backgrounds": 12}


def test_boxes_outside_of_the_picture_are_named(tmp_path: Path, scenes_folder: Path) -> None:
    rows = [(image, face) for image, faces in read_boxes(scenes_folder / "boxes.csv").items() for face in faces]
    outside = [(900.0, 900.0, 950.0, 950.0), (-500.0, 0.0, 20.0, 60.0)]
    rows += [("boxes/0.jpg", LabelledBox(box, "with_mask")) for box in outside]
    tiny = ("boxes/1.jpg", LabelledBox((5.0, 5.0, 6.0, 9.0), "with_mask"))
    shutil.copytree(scenes_folder / "boxes", tmp_path / "boxes")
    write_boxes(tmp_path / "boxes.csv", [*rows, tiny])
    dataset = load_dataset(scenes=[BoxFile(tmp_path / "boxes.csv")])
    assert dataset.refused.pop() == ("scenes/boxes/1.jpg", "has a box of one pixel or less: 5 5 6 9")
    assert len(dataset.refused) == 2
    assert all(name == "scenes/boxes/0.jpg" and "outside" in reason for name, reason in dataset.refused)
    assert len(dataset.pictures[0].faces) == 3
    for box in ((50.0, 50.0, 50.0, 50.0), (float("nan"), 0.0, 9.0, 9.0)):
        write_boxes(tmp_path / "boxes.csv", [*rows, ("boxes/0.jpg", LabelledBox(box, "with_mask"))])
        with pytest.raises(UsageError, match=rf"boxes\.csv, line {len(rows) + 2}: xmin is"):
            load_dataset(scenes=[BoxFile(tmp_path / "boxes.csv")])


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["image,xmin", "a,1"], "no column label, xmax, ymax, ymin"),
        (["image,xmin,ymin,xmax,ymax,label"], "has no labelled box"),
        (["image,xmin,ymin,xmax,ymax,label", "a.jpg,1,2,three,4,with_mask"], "three"),
        (["image,xmin,ymin,xmax,ymax,label", "a.jpg,1,2,3,4,mask"], "label 'mask'"),
    ],
)
def test_rubbish_is_no_file_of_boxes(tmp_path: Path, rows: list[str], words: str) -> None:
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    with pytest.raises(UsageError, match=words):
        load_dataset(scenes=[BoxFile(tmp_path / "boxes.csv")])


def test_one_label_is_too_few(tmp_path: Path, scenes_folder: Path) -> None:
    shutil.copytree(scenes_folder / "boxes", tmp_path / "boxes")
    rows = [(image, faces[0]) for image, faces in read_boxes(scenes_folder / "boxes.csv").items()]
    write_boxes(tmp_path / "boxes.csv", rows)
    with pytest.raises(UsageError, match="only the label with_mask"):
        load_dataset(scenes=[BoxFile(tmp_path / "boxes.csv")])
    write_boxes(tmp_path / "boxes.csv", [(f"elsewhere/{image}", face) for image, face in rows])
    with pytest.raises(UsageError, match=r"no labelled face .*such as: scenes/elsewhere/\S+ cannot be read \(No such file"):
        load_dataset(scenes=[BoxFile(tmp_path / "boxes.csv")])


def test_face_boxes_of_other_data_are_refused(tmp_path: Path, faces_folder: Path) -> None:
    write_boxes(tmp_path / "boxes.csv", [("with_mask/elsewhere.jpg", LabelledBox((0, 0, 9, 9), "with_mask"))])
    with pytest.raises(UsageError, match="wrong file"):
        load_dataset(faces_folder, face_boxes=BoxFile(tmp_path / "boxes.csv"))


def test_oversampling_goes_by_the_file_name_alone() -> None:
    names = ["scenes/webcam/a.jpg", "scenes/web/webcam_1.jpg", "faces/with_mask/webcam_night_2.jpg"]
    assert times_shown(names, []).tolist() == [1, 1, 1]
    assert times_shown(names, [("^webcam_", 3), ("night", 2)]).tolist() == [1, 3, 6]


def test_labels_of_scenes_are_put_right(tmp_path: Path, scenes_folder: Path) -> None:
    scenes = scenes_folder / "boxes.csv"
    before = load_dataset(scenes=[BoxFile(scenes)])
    first, second, third = read_boxes(scenes)["boxes/3.jpg"]
    moved = tuple(value + 1 for value in second.box)
    lacking = (450.0, 150.0, 480.0, 190.0)
    right = [LabelledBox(first.box, "without_mask"), LabelledBox(moved, UNLABELLED), LabelledBox(lacking, UNLABELLED)]  # type: ignore[arg-type]
    write_boxes(tmp_path / "right.csv", [("boxes/3.jpg", box) for box in right])
    after = load_dataset(scenes=[BoxFile(scenes)], relabel_scenes=BoxFile(tmp_path / "right.csv"))
    picture = next(picture for picture in after.pictures if picture.name == "scenes/boxes/3.jpg")
    assert set(picture.faces) == {LabelledBox(first.box, "without_mask"), third}
    assert set(picture.unlabelled) == {moved, lacking}
    assert after.counts() == {"with_mask": 29, "without_mask": 30, "incorrect_mask": 30, "scenes": 30}
    assert after.digest != before.digest
    write_boxes(tmp_path / "right.csv", [("boxes/3.jpg", LabelledBox((900.0, 900.0, 950.0, 950.0), UNLABELLED))])
    refused = load_dataset(scenes=[BoxFile(scenes)], relabel_scenes=BoxFile(tmp_path / "right.csv")).refused
    assert [name for name, _ in refused] == ["scenes/boxes/3.jpg"]
    write_boxes(tmp_path / "right.csv", [("elsewhere.jpg", right[0])])
    with pytest.raises(UsageError, match=r"elsewhere\.jpg, which the scenes do not have"):
        load_dataset(scenes=[BoxFile(scenes)], relabel_scenes=BoxFile(tmp_path / "right.csv"))


def test_scenes_of_both_conventions_become_one(tmp_path: Path, scenes_folder: Path) -> None:
    rows = [(image, face) for image, faces in read_boxes(scenes_folder / "boxes.csv").items() for face in faces]
    shutil.copytree(scenes_folder / "boxes", tmp_path / "boxes")
    write_boxes(tmp_path / "brows.csv", rows[:45])
    write_boxes(tmp_path / "heads.csv", rows[45:])
    files = BoxFile(tmp_path / "brows.csv", "eyebrows"), BoxFile(tmp_path / "heads.csv", "forehead")
    write_boxes(tmp_path / "right.csv", [(rows[0][0], LabelledBox(rows[0][1].box, UNLABELLED))])
    dataset = load_dataset(scenes=files, relabel_scenes=BoxFile(tmp_path / "right.csv", "eyebrows"))
    assert dataset.convention == dataset.to_card()["convention"] == dataset.take([0]).convention == "forehead"
    x1, y1, x2, y2 = rows[0][1].box
    assert dataset.pictures[0].unlabelled == ((x1, round(y1 - 0.12 * (y2 - y1), 1), x2, y2),)
    assert dataset.pictures[-1].faces[-1] == rows[-1][1]
    assert "convention" not in load_dataset(scenes=[BoxFile(tmp_path / "brows.csv")]).to_card()
    with pytest.raises(UsageError, match=r"heads\.csv does not state where its boxes begin"):
        load_dataset(scenes=[files[0], BoxFile(tmp_path / "heads.csv")])


def test_a_picture_is_given_once(tmp_path: Path, scenes_folder: Path) -> None:
    scenes, empty = BoxFile(scenes_folder / "boxes.csv"), scenes_folder / "backgrounds"
    shutil.copy(empty / "3.png", tmp_path / "other.png")
    assert load_dataset(scenes=[scenes], backgrounds=[empty, tmp_path]).counts()["backgrounds"] == 13
    shutil.copy(empty / "3.png", tmp_path / "3.png")
    with pytest.raises(UsageError, match=r"same name in the data, backgrounds/3\.png"):
        load_dataset(scenes=[scenes], backgrounds=[empty, tmp_path])
    with pytest.raises(UsageError, match=r"same name in the data, scenes/boxes/0\.jpg"):
        load_dataset(scenes=[scenes, scenes])
