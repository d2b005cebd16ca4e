"""The smaller commands of edge-train, and their error messages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest


def test_help_shows_every_summary_uncut(invoke) -> None:  # type: ignore[no-untyped-def]
    done = invoke("edge-train", "--help")
    commands = done.stdout.partition("Commands:")[2].strip().splitlines()
    assert len(commands) == 11
    assert all(line.endswith(".") and "..." not in line for line in commands), commands


@pytest.mark.slow
def test_preview_shows_training_crops(invoke, scenes_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    data = ("--scenes", scenes_folder / "boxes.csv", "--backgrounds", scenes_folder / "backgrounds")
    done = invoke("edge-train", "preview", *data, "--pictures", "12", "--columns", "8", "-o", tmp_path / "grid.png")
    assert done.returncode == 0, done.stderr
    for row in ("incorrect_mask: face", "not_a_face: window", "with_mask: mask"):
        assert row in done.stdout
    grid = cv2.imread(str(tmp_path / "grid.png"))
    assert grid is not None
    assert grid.shape[1] == 8 * 64
    done = invoke("edge-train", "preview", *data, "--pictures", "2", "-o", tmp_path / "grid.txt")
    assert (done.returncode, "does not end with .png" in done.stderr) == (2, True)
    done = invoke("edge-train", "preview", *data, "--pictures", "2", "-o", tmp_path / "none" / "grid.png")
    assert (done.returncode, "folder" in done.stderr) == (5, True)


@pytest.mark.slow
def test_leakage_compares_the_splits(invoke, faces_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = invoke("edge-train", "leakage", "--data", faces_folder, "--epochs", "1", "--seeds", "1", "--out", tmp_path, "--quiet")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "leakage.json").read_text())
    for by in ("random", "group"):
        assert len(result[by]["accuracy"]) == 1
        assert f"{by} split: accuracy" in done.stdout
    assert result["group"]["separated"] == 0


@pytest.mark.slow
def test_a_folder_alone_is_enough_to_train(invoke, faces_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    small = ["--epochs", "1", "--samples", "128", "--generated", "4", "--accelerator", "cpu", "--quiet"]
    done = invoke("edge-train", faces_folder, *small, "--out", tmp_path / "own")
    assert done.returncode == 0, done.stderr
    assert "faces: 96 pictures" in done.stdout
    assert "boxes: located by the bundled models" in done.stdout
    assert "at most 1 epoch of 128 crops" in done.stdout
    report = json.loads((tmp_path / "own" / "report.json").read_text())
    assert report["recipe"]["learning_rate"] == 1e-3
    assert "init" in report["recipe"]
    assert report["evaluations"][0]["accuracy"] > 0.9
    learned = np.load(tmp_path / "own" / "seen.npy")
    assert len(learned) > report["split"]["train"]
    again = invoke("edge-train", faces_folder, *small, "--init", tmp_path / "own" / "best.ckpt", "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    parts = [json.loads((tmp_path / run / "split.json").read_text())["parts"] for run in ("own", "again")]
    assert set(parts[1]["test"]) <= set(parts[0]["test"])


def make_odd_data(root: Path, faces_folder: Path) -> None:
    """Write data sets that are unusable for training."""
    random = np.random.default_rng(1)
    for name, labels in (("EMPTY", 2), ("ONE", 1), ("THREE", 2), ("CORRUPT", 2), ("WALLS", 2)):
        for label in ("with_mask", "without_mask")[:labels]:
            folder = root / name / label
            folder.mkdir(parents=True)
            for number in range(0 if name == "EMPTY" else 3):
                file = folder / f"{number}.jpg"
                if name == "WALLS":
                    cv2.imwrite(str(file), np.clip(random.normal(140, 2, (80, 90, 3)), 0, 255))
                else:
                    content = (faces_folder / label / f"face {number}.jpg").read_bytes()
                    file.write_bytes(content[: 300 if name == "CORRUPT" else None])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["classifier"], 2, "there is no data"),
        (["EMPTY"], 2, "EMPTY/with_mask contains no pictures"),
        (["ONE"], 2, "no folder 'without_mask'"),
        (["CORRUPT", "--whole-pictures"], 2, "no readable picture"),
        (["THREE", "--whole-pictures", "--generated", "1", "--init", "none"], 2, "too few pictures of with_mask"),
        (["."], 2, "data sets in sub-folders"),
        (["FACES", "--data", "FACES"], 2, "faces are given twice"),
        (["nowhere"], 2, "'nowhere' is neither a command nor a folder: check the path, or see edge-train --help."),
        (["./nowhere", "--epochs", "1"], 2, "'./nowhere' is neither a command nor a folder: check the path"),
        (["x" * 300], 2, "is neither a command nor a folder: check the path"),
        (["classifer", "FACES"], 2, "'classifer' is neither a command nor a folder: did you mean classifier?"),
        (["detector", "FACES"], 2, "there are 0 labelled faces in whole pictures"),
        (["detector", "SCENES", "--fine-tune", "--hold-out", "^web_"], 2, "leave out --hold-out"),
        (
            ["classifier", "--data", "FACES", "--net", "resnet"],
            2,
            "known are edgenet, edgenet-l, efficientnet-lite0, efficientnet-lite2, seednet",
        ),
        (["classifier", "--data", "FACES", "--people", "("], 2, "regular expression"),
        (["classifier", "--data", "FACES", "--split", "NOSPLIT"], 2, "not a split file"),
        (["classifier", "--data", "FACES", "--relabel", "NOSPLIT"], 2, "no column image, label"),
        (["classifier", "--data", "FACES", "--relabel-scenes", "NOSPLIT"], 2, "give --scenes too"),
        (["classifier", "--data", "FACES", "--init", "missing.onnx"], 2, "does not exist"),
        (["classifier", "--data", "FACES", "--init", "NOSPLIT"], 4, "not a checkpoint of edge-train"),
        (["classifier", "--data", "FACES", "--oversample", "^webcam_"], 2, "REGEX=FACTOR"),
        (["classifier", "--data", "FACES", "--oversample", "(=3"], 2, "REGEX=FACTOR"),
        (["classifier", "--data", "FACES", "--oversample", "^webcam_=0"], 2, "REGEX=FACTOR"),
        (["classifier", "--data", "FACES", "--trained-share", "0.5"], 2, "--trained-share needs --init"),
        (["classifier", "--data", "FACES", "--epochs", "0"], 2, "--epochs 0 needs --init and --average"),
        (["classifier", "--data", "FACES", "--average", "0.5"], 2, "is not FILE=SHARE"),
        (["classifier", "--data", "FACES", "--average", "missing.ckpt=0.5"], 2, "missing.ckpt"),
        (["classifier", "--data", "FACES", "--average", "NOSPLIT=0.5"], 4, "not a checkpoint of edge-train"),
        (["classifier", "--data", "FACES", "--average", "NOSPLIT=1"], 2, "is not FILE=SHARE"),
        (["classifier", "--data", "FACES", "--init", "odd.pth"], 2, "give --net efficientnet-lite0 or efficientnet-lite2"),
        (["classifier", "--data", "FACES", "--init", "odd.pth", "--net", "efficientnet-lite0"], 4, "not a file of weights"),
        (["classifier", "--data", "FACES", "--teacher", "missing.ckpt"], 2, "does not exist"),
        (["classifier", "--data", "FACES", "--teacher", "NOSPLIT"], 4, "not a checkpoint of edge-train"),
        (
            ["classifier", "--data", "FACES", "--teacher", "NOSPLIT", "--mixup", "0.2"],
            2,
            "--mixup and --teacher exclude each other",
        ),
        (["classifier", "--data", "FACES", "--teacher", "NOSPLIT", "--epochs", "0"], 2, "--epochs 0"),
        (["classifier", "--data", "FACES", "--teacher-share", "0.5"], 2, "--teacher-share needs --teacher"),
        (["classifier", "--data", "FACES", "--hold-out", "("], 2, "not a regular expression"),
        (["classifier", "--data", "FACES", "--hold-out", "^web_", "--split", "NOSPLIT"], 2, "leave out --hold-out"),
        (["classifier", "--data", "FACES", "--whole-pictures", "--hold-out", "^web_"], 2, "has a file name that matches '^web_'"),
        (["detector", "--scenes", "SCENES", "--hold-out", "^web_"], 2, "has a file name that matches '^web_'"),
        (["detector", "--scenes", "SCENES=forehead", "--relabel-scenes", "SCENES"], 2, "boxes.csv does not state where"),
        (["detector", "--scenes", "SCENES=hair"], 2, "does not exist"),
        (["classifier", "--data", "FACES", "--leakage", "NOSPLIT"], 2, "edge-train leakage"),
        (["classifier", "--data", "FACES", "--out", "NOSPLIT/run"], 5, "cannot be created"),
        (["classifier", "--data", "EMPTY"], 2, "contains no pictures"),
        (["classifier", "--data", "ONE"], 2, "no folder 'without_mask'"),
        (["classifier", "--data", "THREE", "--whole-pictures", "--generated", "1"], 2, "too few pictures of with_mask"),
        (["classifier", "--data", "CORRUPT"], 2, "no face was found in any picture of"),
        (["classifier", "--data", "CORRUPT", "--whole-pictures"], 2, "no readable picture"),
        (["classifier", "--data", "WALLS"], 2, "--whole-pictures"),
        (["composites", "--data", "FACES", "-o", ""], 2, "'--output': the name of the file is empty: give one."),
        (["composites", "--data", "FACES", "-o", "faces.png"], 2, "such as faces.jpg"),
        (["composites", "--data", "ONE", "-o", "faces.jpg"], 2, "no folder 'without_mask'"),
        (["composites", "--data", "WALLS", "-o", "faces.jpg"], 2, "add pictures of single faces"),
        (["preview", "--data", "FACES", "-o", "crops"], 2, "such as crops.png"),
        (["classifier", "--data", "FACES", "--out", ""], 2, "'--out': the name of the folder is empty"),
        (["evaluate", "missing.ckpt"], 2, "nothing to measure on"),
        (["evaluate", "missing.ckpt", "--data", "FACES"], 4, "there is no checkpoint"),
        (["evaluate", "NOSPLIT", "--data", "FACES"], 4, "not a checkpoint of edge-train"),
        (["localise", "FACES", "--model", "NOSPLIT", "-o", "boxes.csv"], 4, "NOSPLIT"),
    ],
)
def test_bad_input_ends_in_a_message_and_an_exit_code(  # type: ignore[no-untyped-def]
    invoke,
    faces_folder: Path,
    scenes_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "NOSPLIT").write_text("{}")
    (tmp_path / "odd.pth").write_text("{}")
    make_odd_data(tmp_path, faces_folder)
    places = {"FACES": str(faces_folder), "SCENES": str(scenes_folder / "boxes.csv")}
    arguments = [re.sub("FACES|SCENES", lambda found: places[found[0]], argument) for argument in arguments]
    done = invoke("edge-train", *arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
