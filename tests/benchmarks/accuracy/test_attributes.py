"""`edge-bench attributes`: groups of faces by what their pixels measure."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskedge import UsageError
from maskedge.labelled_boxes import LabelledBox
from maskedge.modelfile.precision import bundled_detector
from maskedge.sources import demo
from maskedge_bench.accuracy.attributes import (
    blockiness,
    measure_attributes,
    measure_face,
    name_group,
    place_of,
    read_attributes,
)
from maskedge_bench.accuracy.scored_pictures import Scorer, collect_pictures
from maskedge_bench.accuracy.tables import attributes_table

HEADER = "image,xmin,ymin,xmax,ymax,label\n"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of the built-in clip, every second one dark, with their true boxes."""
    root = tmp_path_factory.mktemp("labelled")
    lines = []
    for number, index in enumerate(range(60, 252, 24)):
        frame = demo.draw(index)
        cv2.imwrite(str(root / f"{index}.png"), frame if number % 2 else frame // 4)
        shown = [true for true in demo.truth(index) if true.visible > 0.95]
        lines += [f"{index}.png,{','.join(f'{value:.1f}' for value in true.box)},{true.label}\n" for true in shown]
    (root / "scenes.csv").write_text(HEADER + "".join(lines))
    return root


def test_a_dark_face_before_a_window_is_backlit() -> None:
    grey = np.full((120, 120), 220, np.uint8)
    grey[40:80, 40:80] = 50
    measured = measure_face(grey, (40, 40, 80, 80))
    assert (measured["brightness"], measured["contrast"], measured["sharpness"]) == (50, 0, 0)
    assert measured["backlight"] == pytest.approx(170)
    assert measure_face(grey, (-50, -50, 200, 200))["backlight"] == 0, "a face that fills the picture has no surroundings"


def test_blur_lowers_the_sharpness_at_any_size() -> None:
    face = demo.draw(150)
    box = demo.truth(150)[0].box
    for scale in (1.0, 0.5):
        grey = cv2.cvtColor(cv2.resize(face, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        scaled = tuple(value * scale for value in box)
        sharp, blurred = (measure_face(own, scaled)["sharpness"] for own in (grey, cv2.GaussianBlur(grey, None, 4 * scale)))  # type: ignore[arg-type, call-overload]
        assert blurred < 0.6 * sharp


def test_strong_compression_shows_blocks() -> None:
    grey = cv2.cvtColor(demo.draw(150), cv2.COLOR_BGR2GRAY)
    found = []
    for quality in (95, 30, 5):
        _, jpeg = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])
        found.append(blockiness(np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE), np.uint8)))
    assert found[0] < found[1] < found[2]
    assert found[2] > 1.35
    assert blockiness(np.zeros((4, 4), np.uint8)) == blockiness(np.zeros((64, 64), np.uint8)) == 1


def test_groups_are_named_by_their_bounds() -> None:
    assert [name_group("size", side) for side in (33, 48, 63.9, 500)] == ["under 48", "48 - 64", "48 - 64", "192 and more"]
    assert [name_group("faces", count) for count in (1, 2, 3, 40)] == ["1", "2 - 3", "2 - 3", "16 and more"]
    assert name_group("backlight", -200) == "under -30"


def test_position_of_a_box() -> None:
    assert place_of((0, 50, 40, 90), 640, 480) == "cut"
    assert place_of((10, 50, 50, 90), 640, 480) == "rim"
    assert place_of((300, 200, 340, 240), 640, 480) == "inside"


def test_every_face_is_in_one_group_of_each_attribute(labelled: Path) -> None:
    report = measure_attributes(collect_pictures([labelled / "scenes.csv"]), [Scorer("cnn")])
    (row,) = report["rows"]
    whole = row["whole"]["two_labels"]["faces"]
    by_attribute: dict[str, int] = {}
    for group in row["groups"]:
        by_attribute[group["attribute"]] = by_attribute.get(group["attribute"], 0) + group["two_labels"]["faces"]
    assert set(by_attribute.values()) == {whole}
    groups = {(group["attribute"], group["group"]): group for group in row["groups"]}
    assert groups["brightness", "under 75"]["two_labels"]["faces"] > 0
    assert not any(group["weak"] for group in row["groups"]), "groups under 50 faces are not marked"
    low, high = row["whole"]["two_labels"]["f1_interval"]
    assert low <= row["whole"]["two_labels"]["f1"] <= high
    assert "| brightness | under 75 |" in attributes_table(report)


def test_a_group_that_falls_is_marked(labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskedge_bench.accuracy.attributes.LEAST_FACES", 5)
    monkeypatch.setattr("maskedge_bench.accuracy.attributes.MOST_BELOW", -2)
    (row,) = measure_attributes(collect_pictures([labelled / "scenes.csv"]), [Scorer("cnn")])["rows"]
    assert any(group["weak"] for group in row["groups"])
    assert all(group["three_labels"]["faces"] >= 5 for group in row["groups"] if group["weak"])


def test_attributes_given_by_hand_are_joined_by_box(command, labelled: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    name, *box, _ = (labelled / "scenes.csv").read_text().splitlines()[1].split(",")
    given = tmp_path / "given.csv"
    rows = [",".join([name, *box, attribute]) for attribute in ("glasses", "skin: dark")]
    given.write_text("\n".join(["image,xmin,ymin,xmax,ymax,attribute", *rows, ""]))
    done = command(
        *("edge-bench", "attributes", "--scenes", labelled / "scenes.csv", "--detector", "cnn", "--attributes", given),
        *("--json", tmp_path / "r.json"),
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "r.json").read_text())["rows"]
    groups = {(group["attribute"], group["group"]): group["two_labels"]["faces"] for group in row["groups"]}
    assert groups["by hand: glasses", "yes"] == groups["by hand: skin", "dark"] == 1
    shutil.copytree(labelled, tmp_path / "copy")
    twice = collect_pictures([labelled / "scenes.csv", tmp_path / "copy" / "scenes.csv"])
    with pytest.raises(UsageError, match=r"given\.csv may mean 2 pictures"):
        measure_attributes(twice, [Scorer("cnn")], given=given)
    given.write_text(given.read_text().replace(name, "other.png"))
    with pytest.raises(UsageError, match=r"names other\.png, which is not among the measured pictures"):
        measure_attributes(collect_pictures([labelled / "scenes.csv"]), [Scorer("cnn")], given=given)
    given.write_text("image,label\n")
    with pytest.raises(UsageError, match=r"has no column attribute, xmax, xmin, ymax, ymin: its header must have image,xmin"):
        read_attributes(given)


def test_rows_of_attributes_are_checked_like_boxes(tmp_path: Path) -> None:
    given, header = tmp_path / "given.csv", "image,xmin,ymin,xmax,ymax,attribute\n"
    given.write_text(f"\N{ZERO WIDTH NO-BREAK SPACE}{header}a.jpg, 1, 2, 3, 4, glasses\n", encoding="utf-8")
    assert read_attributes(given) == {"a.jpg": [LabelledBox((1, 2, 3, 4), "glasses")]}
    for row, words in (("a.jpg,1,2,inf,4,glasses", "xmax is inf"), ("a.jpg,1,2,3,4,", "attribute is empty"), ("a.jpg", "no xmin")):
        given.write_text(f"{header}{row}\n")
        with pytest.raises(UsageError, match=rf"given\.csv, line 2: .*{words}"):
            read_attributes(given)


def test_pipes_are_refused_instead_of_waited_for(command, labelled: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name in ("pipe.csv", "pipe.png"):
        os.mkfifo(tmp_path / name)
    scenes = tmp_path / "scenes.csv"
    scenes.write_text("image,xmin,ymin,xmax,ymax,label\npipe.png,1,2,30,40,with_mask\n")
    cases = (
        (("attributes", "--scenes", labelled / "scenes.csv", "--attributes", tmp_path / "pipe.csv"), "pipe.csv"),
        (("accuracy", "--scenes", tmp_path / "pipe.csv"), "pipe.csv"),
        (("accuracy", "--scenes", scenes), "pipe.png"),
        (("thresholds", "--scenes", scenes), "pipe.png"),
    )
    for arguments, name in cases:
        done = command("edge-bench", *arguments, "--detector", "cnn", "--json", tmp_path / "r.json", timeout=120)
        assert done.returncode == 2, done.stderr
        assert f"error: {tmp_path / name} cannot be read (it is not a regular file): " in done.stderr
        assert "Traceback" not in done.stderr


def test_two_detectors_of_one_name_are_refused(invoke, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    cv2.imwrite(str(tmp_path / "one.png"), demo.draw(150))
    (tmp_path / "scenes.csv").write_text(f"{HEADER}one.png,10,10,90,90,with_mask\n")
    files = [tmp_path / name / "detector.onnx" for name in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        shutil.copy(bundled_detector("float32"), file)
    for command in ("attributes", "thresholds"):
        done = invoke("edge-bench", command, "--scenes", tmp_path / "scenes.csv", "--detector", files[0], "--detector", files[1])
        assert done.returncode == 2
        assert "two of --detector have the name detector.onnx: leave one out" in done.stderr
