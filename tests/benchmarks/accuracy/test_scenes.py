from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.support import write_model
from maskedge import Face, UsageError
from maskedge.labelled_boxes import LabelledBox, is_held_out_name, read_boxes
from maskedge.modelfile.contract import default_model
from maskedge.sources import demo
from maskedge.types import Box
from maskedge_bench.accuracy.detection_counts import SIZES, THREE, DetectionCounts
from maskedge_bench.accuracy.gallery import MOST, Gallery
from maskedge_bench.accuracy.rotation import rotate
from maskedge_bench.accuracy.scenes import choose_pipelines, measure_accuracy
from maskedge_bench.accuracy.tables import accuracy_table
from maskedge_bench.conditions import short_names
from maskedge_bench.contestants.pipelines import PIPELINES

HEADER = "image,xmin,ymin,xmax,ymax,label\n"


def face(box: Box, label: str = "with_mask", score: float = 0.9) -> Face:
    return Face(box, label, score, label, score)


def figures(truths: list[LabelledBox], faces: list[Face], scale: float = 1.0) -> dict[str, dict[str, float]]:
    counts = DetectionCounts()
    counts.add(truths, faces, scale)
    result = counts.figures()
    return {"together": result["together"], **result["labels"]}


def test_right_wrong_missed_and_false() -> None:
    truths = [
        LabelledBox((0, 0, 100, 100), "with_mask"),
        LabelledBox((200, 0, 300, 100), "without_mask"),
        LabelledBox((400, 0, 500, 100), "with_mask"),
    ]
    result = figures(truths, [face((10, 0, 110, 100)), face((200, 0, 300, 100)), face((600, 0, 700, 100))])
    assert result["with_mask"]["found"] == 0.5
    assert result["without_mask"]["found"] == 1.0
    assert result["together"] == {"precision": 0.3333, "recall": 0.3333, "f1": 0.3333}
    assert result["with_mask"]["precision"] == 0.3333
    assert result["without_mask"]["recall"] == 0.0


def test_a_face_is_found_once() -> None:
    truth = [LabelledBox((0, 0, 100, 100), "with_mask")]
    assert figures(truth, [face((0, 0, 100, 100)), face((5, 0, 105, 100), score=0.8)])["together"]["precision"] == 0.5


def test_small_and_other_labels_are_ignored_on_both_sides() -> None:
    truths = [
        LabelledBox((0, 0, 100, 100), "with_mask"),
        LabelledBox((200, 0, 300, 100), "incorrect_mask"),
        LabelledBox((400, 0, 430, 30), "with_mask"),
    ]
    faces = [face(truth.box) for truth in truths] + [face((600, 0, 630, 30))]
    assert figures(truths, faces)["together"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    # The size counts on the scaled picture.
    assert figures(truths[:1], [], scale=0.3)["with_mask"]["labelled"] == 0


def test_three_classes_and_sizes() -> None:
    truths = [LabelledBox((0, 0, 40, 40), "with_mask"), LabelledBox((200, 0, 400, 200), "incorrect_mask")]
    counts = DetectionCounts(THREE)
    counts.add(truths, [face((0, 0, 40, 40)), face((200, 0, 400, 200))], 1.0)
    result = counts.figures()
    assert result["together"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert result["labels"]["incorrect_mask"] == {"labelled": 1, "found": 1.0, "precision": 0.0, "recall": 0.0, "f1": 0.0}
    sizes = counts.by_size()
    assert [size["from"] for size in sizes] == list(SIZES)
    assert sizes[0]["labels"]["with_mask"] == {"labelled": 1, "found": 1.0, "right": 1.0}
    assert sizes[-1]["labels"]["incorrect_mask"] == {"labelled": 1, "found": 1.0, "right": 0.0}
    assert sum(own["labelled"] for size in sizes for own in size["labels"].values()) == 2


def test_interval_of_f1_is_that_of_draws_of_whole_pictures() -> None:
    truth = [LabelledBox((0, 0, 100, 100), "with_mask")]
    assert DetectionCounts().f1_interval() == [0, 0]
    counts = DetectionCounts()
    for number in range(100):
        counts.add(truth, [face(truth[0].box)] if number % 4 else [], 1.0)
    low, high = counts.f1_interval()
    # Recall of three in four among 100 has a standard error of 0.043; F1 = 2r / (1 + r) turns that into 0.028.
    assert counts.figures()["together"]["f1"] == pytest.approx(0.857, abs=0.001)
    assert (low, high) == (pytest.approx(0.857 - 1.96 * 0.028, abs=0.01), pytest.approx(0.857 + 1.96 * 0.028, abs=0.01))
    assert counts.f1_interval() == [low, high]
    once = DetectionCounts()
    once.add(truth, [face(truth[0].box), face((300, 0, 400, 100))], 1.0)
    assert once.f1_interval() == [0.6667, 0.6667]


def test_gallery_holds_what_went_wrong_and_not_all_of_it() -> None:
    gallery = Gallery()
    truths = [LabelledBox((20, 20, 120, 120), "with_mask"), LabelledBox((300, 20, 400, 120), "without_mask")]
    gallery.add(demo.draw(0), "a <b>.png", truths, [face((300, 20, 400, 120)), face((300, 300, 400, 400))], 1.0)
    assert [len(kind) for kind in (gallery.missed, gallery.wrong, gallery.false)] == [1, 1, 1]
    assert "a &lt;b&gt;.png" in gallery.missed[0]
    gallery.add_false(demo.draw(0), "wall.png", [face((600, 400, 700, 500))] * (MOST + 5))
    assert len(gallery.false) == MOST


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of the built-in clip with their true boxes in scenes.csv, and its wall."""
    root = tmp_path_factory.mktemp("labelled")
    (root / "empty").mkdir()
    cv2.imwrite(str(root / "empty" / "wall.png"), demo._wall())
    lines = []
    for index in range(60, 300, 24):
        cv2.imwrite(str(root / f"{index}.png"), demo.draw(index))
        shown = [true for true in demo.truth(index) if true.visible > 0.95]
        lines += [f"{index}.png,{','.join(f'{value:.1f}' for value in true.box)},{true.label}\n" for true in shown]
    (root / "scenes.csv").write_text(HEADER + "".join(lines))
    return root


def test_command_on_frames_with_known_truth(command, labelled: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = command(
        *("edge-bench", "accuracy", "--scenes", labelled / "scenes.csv", "--backgrounds", labelled / "empty", "--detector", "haar"),
        *("--json", tmp_path / "r.json", "--html", tmp_path / "r.html"),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert len(report["pipelines"]) == 2
    for row in report["pipelines"]:
        assert row["labels"]["with_mask"]["found"] >= 0.9
        assert row["labels"]["without_mask"]["found"] >= 0.9
        assert row["false_alarms_a_background"] <= 1
        # A face fewer at most with each higher bound.
        recalls = [point["recall"] for point in row["curve"]]
        assert recalls == sorted(recalls, reverse=True)
        assert row["three_class"]["labels"]["incorrect_mask"]["labelled"] == 0
        # Where nothing else is labelled a third label can only be wrong.
        assert row["two_labels"]["f1"] >= row["together"]["f1"]
    assert report["pipelines"][0]["cost_ratio"] == 1
    # The original has no third label.
    assert report["pipelines"][0]["two_labels"] == {
        **report["pipelines"][0]["together"],
        "f1_interval": report["pipelines"][0]["f1_interval"],
    }
    assert "| default (haar, edgenet) |" in done.stdout
    assert "--labels with_mask,without_mask" in done.stdout
    page = (tmp_path / "r.html").read_text()
    assert "default (haar, edgenet): false alarms" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_rows_of_several_models_are_named_by_their_files(tmp_path: Path) -> None:
    models = [Path("/x/old/edgenet.onnx"), Path("/x/new/edgenet.onnx"), Path("other.int8.onnx")]
    assert short_names(models) == ["old/edgenet.onnx", "new/edgenet.onnx", "other.int8.onnx"]
    assert short_names([*models[1:], models[1]]) == ["edgenet.onnx", "other.int8.onnx", "edgenet.onnx"]
    names = [row.name for row in choose_pipelines(["haar", "/x/own.xml"], models[:2])]
    assert names[1:] == ["haar, old/edgenet", "own.xml, old/edgenet", "haar, new/edgenet", "own.xml, new/edgenet"]
    own = [row.name for row in choose_pipelines(["haar", "/x/own.xml", "/y/own.xml"])]
    assert own[1:] == ["default (haar, edgenet)", "x/own.xml, edgenet", "y/own.xml, edgenet"]
    with pytest.raises(UsageError, match=r"the model a\.onnx is given twice"):
        choose_pipelines(["haar"], [Path("a.onnx"), Path("b.onnx"), Path("./a.onnx")])
    with pytest.raises(UsageError, match=r"the detector own\.xml is given twice"):
        choose_pipelines(["own.xml", "haar", "./own.xml"])


def test_several_models_are_compared_in_one_run(invoke, labelled: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    write_model(tmp_path / "mine.onnx")
    arguments = ["--scenes", labelled / "scenes.csv", "--detector", "cnn", "--json", tmp_path / "r.json"]
    done = invoke("edge-bench", "accuracy", *arguments, "--model", tmp_path / "mine.onnx", "--model", default_model())
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "r.json").read_text())["pipelines"]
    assert [row["name"] for row in rows][1:] == ["cnn, mine", "cnn, edgenet"]
    assert [row["model"] for row in rows][1:] == ["mine.onnx", "edgenet.onnx"]


def test_detectors_by_name_and_file(invoke, labelled: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert [row.name for row in choose_pipelines(["haar", "haar-stock", "/x/own.xml"])][1:] == [
        "default (haar, edgenet)",
        "haar-stock, edgenet",
        "own.xml, edgenet",
    ]
    done = invoke("edge-bench", "accuracy", "--scenes", labelled / "scenes.csv", "--detector", "yolo")
    assert done.returncode == 2
    assert "no detector 'yolo'" in done.stderr
    (tmp_path / "own.xml").write_text("<opencv_storage/>")
    done = invoke("edge-bench", "accuracy", "--scenes", labelled / "scenes.csv", "--detector", tmp_path / "own.xml")
    assert done.returncode == 4
    assert "Traceback" not in done.stderr


def test_of_training_data_only_what_is_held_out_measures(labelled: Path, tmp_path: Path) -> None:
    kept = next(f"{number}.png" for number in range(1000) if is_held_out_name(f"scenes/{number}.png"))
    taught = next(f"{number}.png" for number in range(1000) if not is_held_out_name(f"scenes/{number}.png"))
    for name in (kept, taught):
        shutil.copy(labelled / "60.png", tmp_path / name)
    (tmp_path / "both.csv").write_text(HEADER + f"{kept},0,0,40,40,with_mask\n{taught},0,0,40,40,with_mask\n")
    (tmp_path / "taught.csv").write_text(HEADER + f"{taught},0,0,40,40,with_mask\n")
    report, _ = measure_accuracy(tmp_path / "both.csv", held_out=True)
    assert (report["pictures"], report["held_out"]) == (1, True)
    with pytest.raises(UsageError, match="no held-out picture"):
        measure_accuracy(tmp_path / "taught.csv", held_out=True)


def test_faces_that_the_labels_lack_are_ignored_besides(labelled: Path, tmp_path: Path) -> None:
    lines = (labelled / "scenes.csv").read_text().splitlines()[1:]
    (tmp_path / "60.png").write_bytes((labelled / "60.png").read_bytes())
    first, *others = [line for line in lines if line.startswith("60.png,")]
    assert others
    (tmp_path / "scenes.csv").write_text(f"{HEADER}{first}\n")
    unlabelled = tmp_path / "unlabelled.csv"
    unlabelled.write_text(HEADER + "".join(f"{line.rpartition(',')[0]},unlabelled\n" for line in others))
    report, _ = measure_accuracy(tmp_path / "scenes.csv", unlabelled=unlabelled)
    assert report["unlabelled"] == len(others)
    row = report["pipelines"][1]
    assert row["together"]["precision"] < 1
    assert row["unlabelled_ignored"] == {"precision": 1, "recall": 1, "f1": 1, "f1_interval": [1, 1]}
    assert measure_accuracy(tmp_path / "scenes.csv")[0]["pipelines"][1]["unlabelled_ignored"] is None
    unlabelled.write_text(HEADER + "other.png,1,2,3,4,unlabelled\n")
    with pytest.raises(UsageError, match=r"boxes of other\.png, which is not in .*scenes\.csv"):
        measure_accuracy(tmp_path / "scenes.csv", unlabelled=unlabelled)
    unlabelled.write_text(f"{HEADER}{first}\n")
    with pytest.raises(UsageError, match="use 'unlabelled' for unlabelled faces"):
        measure_accuracy(tmp_path / "scenes.csv", unlabelled=unlabelled)


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_boxes_turn_with_their_picture(degrees: int) -> None:
    frame = demo.draw(150)
    boxes = [LabelledBox((500, 40, 560, 120), "with_mask"), LabelledBox((10, 300, 60, 380), "without_mask")]
    picture, (rotated, none) = rotate(frame, degrees, boxes, [])
    assert sorted(picture.shape[:2]) == sorted(frame.shape[:2])
    assert none == []
    assert [box.label for box in rotated] == [box.label for box in boxes]
    back, (again,) = rotate(picture, -degrees, rotated)
    assert back.shape == frame.shape
    assert np.abs(np.array([box.box for box in again]) - np.array([box.box for box in boxes])).max() < 0.01
    # Quarter turns move pixels and change none, and a box shows what it showed.
    assert np.array_equal(back, frame)
    x1, y1, x2, y2 = (round(value) for value in rotated[0].box)
    assert np.array_equal(np.rot90(picture[y1:y2, x1:x2], degrees // 90), frame[40:120, 500:560])


def test_a_tilted_camera_finds_less(labelled: Path) -> None:
    upright, askew = (
        measure_accuracy(labelled / "scenes.csv", labelled / "empty", choose_pipelines(["cnn"]), degrees=degrees)[0]
        for degrees in (0.0, 60.0)
    )
    assert (upright["degrees"], askew["degrees"]) == (0, 60)
    assert "rotated by 60 degrees" in accuracy_table(askew)
    assert "rotated" not in accuracy_table(upright)
    ours, theirs = upright["pipelines"][1], askew["pipelines"][1]
    assert theirs["together"]["f1"] < ours["together"]["f1"]
    assert theirs["labels"]["with_mask"]["labelled"] == ours["labels"]["with_mask"]["labelled"]


def test_reports_of_before_still_have_their_table() -> None:
    scores = {"labelled": 1, "found": 1.0, "precision": 1.0, "recall": 1.0, "f1": 1.0}
    row = {"name": "old", "labels": dict.fromkeys(THREE[:2], scores), "together": scores, "false_alarms_a_background": None}
    table = accuracy_table({"pipelines": [row], "pictures": 1, "scenes": "dev.csv", "backgrounds": 0})
    assert table.splitlines()[2] == "| old | 1.000 | - | - | 1.000 | 1.000 | 1.000 | - | - | - |"
    assert "brackets" not in table


@pytest.mark.parametrize("text", ["", "image,label\n", HEADER, HEADER + "a.png,1,2,three,4,with_mask\n", HEADER + "a.png,1\n"])
def test_unusable_csv_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "scenes.csv").write_text(text)
    with pytest.raises(UsageError, match=r"scenes\.csv"):
        read_boxes(tmp_path / "scenes.csv")


def test_errors_are_shown_with_the_folder_of_their_picture(tmp_path: Path) -> None:
    (tmp_path / "door").mkdir()
    cv2.imwrite(str(tmp_path / "door" / "1.png"), np.zeros((100, 100, 3), np.uint8))
    (tmp_path / "scenes.csv").write_text(HEADER + "door/1.png,10,10,60,60,with_mask\n")
    _, (gallery,) = measure_accuracy(tmp_path / "scenes.csv", None, PIPELINES[1:2])
    assert "; door/1.png" in gallery.missed[0]
