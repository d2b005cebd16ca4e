from __future__ import annotations

import shutil
from pathlib import Path

import click
import pytest

from maskedge import OutputError, UsageError
from maskedge.cli.common import FloatRange
from maskedge.labelled_boxes import LabelledBox, read_boxes, write_boxes
from maskedge_train.cli.classifier import load_test_sets
from maskedge_train.cli.options import load, read_corrections, write_face_boxes
from maskedge_train.shared.box_file import BoxFile

FACE = LabelledBox((30.0, 40.0, 130.0, 140.0), "with_mask")


@pytest.fixture
def two_files(tmp_path: Path, scenes_folder: Path) -> tuple[Path, Path]:
    """Return two files of scenes in one folder."""
    rows = [(image, face) for image, faces in read_boxes(scenes_folder / "boxes.csv").items() for face in faces]
    shutil.copytree(scenes_folder / "boxes", tmp_path / "boxes")
    paths = tmp_path / "a.csv", tmp_path / "b.csv"
    write_boxes(paths[0], rows[:45])
    write_boxes(paths[1], rows[45:])
    return paths


def test_moved_and_unstated_boxes_are_reported(two_files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    load(None, None, (BoxFile(two_files[0]), BoxFile(two_files[1])), ())
    assert "no file of --scenes states where its boxes begin" in capsys.readouterr().err
    load(None, None, (BoxFile(two_files[0], "eyebrows"), BoxFile(two_files[1], "forehead")), ())
    shown = capsys.readouterr()
    assert "a.csv begin at the eyebrows: their upper edge was moved to the forehead." in shown.out
    assert not shown.err
    load(None, None, (BoxFile(two_files[0]),), ())
    assert not any(capsys.readouterr())


def test_face_boxes_beside_a_training_state_their_convention(
    two_files: tuple[Path, Path], faces_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{label}/face {number}.jpg" for label in ("with_mask", "without_mask") for number in range(48)]
    write_boxes(tmp_path / "faces.csv", [(name, FACE) for name in names])
    scenes = (BoxFile(two_files[1], "forehead"),)
    dataset = load(faces_folder, BoxFile(tmp_path / "faces.csv", "eyebrows"), scenes, ())
    kept = tmp_path / "face_boxes.csv"
    write_face_boxes(dataset, kept)
    assert BoxFile(kept).find_convention() == "forehead"
    assert load(faces_folder, None, scenes, (), locate=True, kept=kept).digest == dataset.digest
    kept.write_text(kept.read_text().replace("130", "131", 1))
    corrected = kept.read_bytes()
    write_face_boxes(dataset, kept)
    write_face_boxes(dataset, kept)
    aside = [path for path in tmp_path.glob("*face_boxes*") if path != kept]
    assert [path.read_bytes() for path in aside] == [corrected]
    shown = capsys.readouterr().err
    assert shown == f"note: {kept} had other boxes and is kept as {aside[0]}: --face-boxes {aside[0]} uses it.\n"
    kept.unlink()
    kept.mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match=r"face_boxes\.csv cannot be written \(Is a directory\): give another --out"):
        write_face_boxes(dataset, kept)
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(OutputError, match=r"none/face_boxes\.csv cannot be written"):
        write_face_boxes(dataset, tmp_path / "none" / "face_boxes.csv")
    with pytest.raises(UsageError, match=r"faces\.csv does not state where its boxes begin"):
        load(faces_folder, BoxFile(tmp_path / "faces.csv"), scenes, ())


def test_test_scenes_must_state_the_convention_of_the_model(two_files: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match=r"a\.csv does not state .* the model's boxes begin at the forehead"):
        load_test_sets([two_files[0]], [], ("with_mask", "without_mask"), True, "forehead")


def test_test_scenes_of_one_name_are_several_sets(two_files: tuple[Path, Path], tmp_path: Path) -> None:
    rows = [(image, face) for image, faces in read_boxes(two_files[0]).items() for face in faces][:3]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "boxes").symlink_to(tmp_path / "boxes")
    own, same = tmp_path / "c.csv", tmp_path / "other" / "c.csv"
    for path in (own, same):
        write_boxes(path, rows)
    faces = ("with_mask", "without_mask", "incorrect_mask")
    assert set(load_test_sets([own, same], (), faces, True)) == {f"scenes {own}", f"scenes {same}"}
    assert set(load_test_sets([same], (), faces, True, taken=["scenes c"])) == {f"scenes {same}"}
    assert set(load_test_sets([same], (), faces, True)) == {"scenes c"}


def test_corrected_labels_must_fit_the_data(faces_folder: Path, tmp_path: Path) -> None:
    dataset = load(faces_folder, None, (), ())
    path = tmp_path / "labels.csv"
    for text, reason in (
        ("face 0.jpg,with_mask\n", "write them with their folder, as in with_mask/face"),
        ("with_mask/face 0.jpg,with_mask\nwith_mask/face 0.jpg,without_mask\n", "has two labels for with_mask/face 0.jpg"),
        ("", "has no row"),
    ):
        path.write_text("image,label\n" + text)
        with pytest.raises(UsageError, match=reason):
            read_corrections(path, dataset)
    path.write_text("image,label\nwith_mask/face 0.jpg,without_mask\n")
    assert read_corrections(path, dataset) == {"faces/with_mask/face 0.jpg": "without_mask"}


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_must_be_finite(value: str) -> None:
    with pytest.raises(click.BadParameter, match=r"is not a finite number|is not in the range"):
        FloatRange(0).convert(value, None, None)


def test_a_training_does_not_write_into_its_data(command, faces_folder: Path) -> None:  # type: ignore[no-untyped-def]
    done = command("edge-train", "classifier", "--data", faces_folder, "--out", faces_folder)
    assert done.returncode == 2
    assert "is a folder of pictures to train on: give another folder" in done.stderr
    assert not (faces_folder / "split.json").exists()


@pytest.mark.parametrize("command", ["classifier", "detector", "cascade", "preview"])
@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_no_library_takes_is_refused(invoke, faces_folder: Path, tmp_path: Path, command: str, seed: int) -> None:  # type: ignore[no-untyped-def]
    out = ("-o", tmp_path / "preview.png") if command == "preview" else ("--out", tmp_path / "out")
    done = invoke("edge-train", command, "--data", faces_folder, *out, "--seed", seed)
    assert done.returncode == 2
    assert f"{seed} is not in the range 0<=x<=4294967295" in done.stderr


def test_an_averaged_checkpoint_is_not_overwritten(invoke, faces_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "best.ckpt").write_text("days of work")
    own = ["--average", f"{tmp_path / 'best.ckpt'}=0.5", "--out", tmp_path, "--overwrite"]
    done = invoke("edge-train", "classifier", "--data", faces_folder, *own)
    assert (done.returncode, "is a file of --average, which would be overwritten" in done.stderr) == (2, True)


def test_a_detector_overwrites_neither_its_start_nor_another_checkpoint(invoke, scenes_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "best.ckpt").write_text("days of work")
    run = ["edge-train", "detector", "--scenes", scenes_folder / "boxes.csv", "--out", tmp_path]
    done = invoke(*run)
    assert (done.returncode, "already contains best.ckpt" in done.stderr) == (2, True)
    done = invoke(*run, "--init", tmp_path / "best.ckpt", "--overwrite")
    assert (done.returncode, "is the file of --init, which would be overwritten" in done.stderr) == (2, True)


def test_scenes_are_not_replaced_by_face_boxes(invoke, faces_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "face_boxes.csv").write_text("image,xmin,ymin,xmax,ymax,label\na.jpg,1,2,30,40,with_mask\n")
    own = ["--scenes", tmp_path / "face_boxes.csv", "--out", tmp_path, "--overwrite"]
    done = invoke("edge-train", "classifier", "--data", faces_folder, *own)
    assert (done.returncode, "is a file of labelled scenes, which would be overwritten" in done.stderr) == (2, True)
