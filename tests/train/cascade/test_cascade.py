"""The project's cascade computes what OpenCV computes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskedge import UsageError
from maskedge.boxes import box_iou
from maskedge.sources import demo
from maskedge.types import Image
from maskedge.vision.detectors.cascade import CascadeDetector
from maskedge_train.cascade.boosting import train_stage
from maskedge_train.cascade.early_stages import EARLY, replace_first_stages
from maskedge_train.cascade.features import KINDS, WINDOW, Integrals
from maskedge_train.cascade.opencv import Cascade, from_json, to_json
from maskedge_train.cascade.samples import FacePatch, Positives, draw_face, face_patches, mine_negatives, square_of
from maskedge_train.cascade.training import CascadeRecipe, measure, train_cascade
from maskedge_train.data.dataset import DataSet, load_dataset
from maskedge_train.shared.box_convention import BoxFile


def windows(count: int, random: np.random.Generator) -> Image:
    """Return smooth grey windows, some of them without contrast."""
    coarse = random.integers(0, 256, (count, 6, 6), np.uint8)
    soft = np.stack([cv2.resize(one, (WINDOW, WINDOW), interpolation=cv2.INTER_CUBIC) for one in coarse])
    soft[::17] = 100 + soft[::17] // 40
    return np.clip(soft + random.normal(0, 6, soft.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module", params=["haar", "lbp"])
def cascade(request: pytest.FixtureRequest) -> Cascade:
    """Return a cascade of three stages that detect a dark bar across the middle."""
    random = np.random.default_rng(4)
    faces = windows(500, random)
    faces[:, 8:14, 4:20] = np.clip(faces[:, 8:14, 4:20].astype(int) - 70, 0, 255)
    known: list[tuple[int, ...]] = []
    stages = []
    kind = KINDS[request.param]()
    for _ in range(3):
        stage, figures = train_stage(
            kind, Integrals.of(faces), Integrals.of(windows(600, random)), np.ones(500), np.arange(500) % 2, known, random,
            hit_rate=0.98, false_alarm=0.4, pool=300, tried=150, most=12,
        )  # fmt: skip
        assert figures.hit_rate >= 0.98
        assert figures.false_alarm < 1
        stages.append(stage)
    return Cascade(request.param, tuple(known), tuple(stages))


def test_agrees_with_opencv_on_every_window(cascade: Cascade, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    pictures = windows(2000, random)
    pictures[:700, 8:14, 4:20] = np.clip(pictures[:700, 8:14, 4:20].astype(int) - 70, 0, 255)
    for stages in (1, 2, 3):
        part = cascade.cut(stages)
        (tmp_path / "cascade.xml").write_text(part.to_xml())
        opencv = cv2.CascadeClassifier(str(tmp_path / "cascade.xml"))
        size = (WINDOW, WINDOW)
        theirs = np.array([len(opencv.detectMultiScale(one, 1.1, 0, minSize=size, maxSize=size)) for one in pictures]) > 0
        ours = part.stages_passed(pictures) == stages
        assert 100 < ours.sum() < 1900
        assert (ours == theirs).all()


def test_survives_json(cascade: Cascade) -> None:
    assert from_json(json.loads(json.dumps(to_json(cascade)))) == cascade


def test_drawn_faces_vary_and_weigh_the_same() -> None:
    random = np.random.default_rng(6)
    patches = [FacePatch(windows(1, random)[0], masked) for masked in (True, False, False)]
    drawn = Positives.draw(patches, 60, random)
    assert drawn.windows.shape == (60, WINDOW, WINDOW)
    assert len({one.tobytes() for one in drawn.windows}) == 60
    some = drawn.take(np.flatnonzero((drawn.groups == 0) | (np.arange(60) % 3 == 0)))
    assert some.weights[some.groups == 1].sum() == pytest.approx(some.weights[some.groups == 0].sum())
    assert draw_face(patches[0], random).dtype == np.uint8


@pytest.fixture(scope="module")
def dataset(scenes_folder: Path) -> DataSet:
    return load_dataset(scenes=[BoxFile(scenes_folder / "boxes.csv")], backgrounds=[scenes_folder / "backgrounds"])


def test_patches_have_the_face_in_the_middle(dataset: DataSet) -> None:
    picture = next(picture for picture in dataset.pictures if picture.faces)
    patches = face_patches(picture)
    assert [patch.masked for patch in patches] == [face.label != "without_mask" for face in picture.faces]
    x1, y1, x2, y2 = square_of(picture.faces[0].box)
    grey = cv2.imread(str(picture.path), cv2.IMREAD_GRAYSCALE)
    middle = patches[0].grey[45:51, 45:51].mean()
    expected = grey[int((y1 + y2) / 2) - 4 : int((y1 + y2) / 2) + 4, int((x1 + x2) / 2) - 4 : int((x1 + x2) / 2) + 4].mean()
    assert middle == pytest.approx(expected, abs=12)


def test_windows_without_a_face_stay_off_the_faces(dataset: DataSet) -> None:
    people = [picture for picture in dataset.pictures if picture.faces]
    found = mine_negatives(people, None, 300, np.random.default_rng(7), max_per_scan=10, scans=200)
    assert found.shape == (300, WINDOW, WINDOW)
    everywhere = DataSet([people[0]])
    assert len(mine_negatives(everywhere.pictures, None, 50, np.random.default_rng(7), max_per_scan=10, scans=2)) <= 20


RECIPE = CascadeRecipe(stages=2, positives=300, negatives=600, pool=250, tried=120, most=15, scans=400, seed=3)


@pytest.fixture(scope="module")
def trained(dataset: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cascade")
    report = train_cascade(dataset.pictures, RECIPE, out)
    assert len(report["stages"]) == 2
    assert report["features"] == sum(stage["features"] for stage in report["stages"])
    assert json.loads((out / "report.json").read_text()) == report
    return out


def test_trained_cascade_finds_the_composite_faces(trained: Path) -> None:
    truth = [face for face in demo.truth(150) if face.visible > 0.9]
    boxes = CascadeDetector.trained(trained / "cascade.xml").detect(demo.draw(150)).boxes
    assert sum(max((box_iou(face.box, box) for box in boxes), default=0) >= 0.3 for face in truth) >= len(truth) // 2


def test_early_stages_keep_the_faces_and_reject_more(dataset: DataSet, trained: Path, tmp_path: Path) -> None:
    cascade = from_json(json.loads((trained / "stages.json").read_text())["cascade"])
    detector = CascadeDetector.trained(trained / "cascade.xml")
    fast, figures = replace_first_stages(cascade, 1, dataset.pictures, detector, np.random.default_rng(8), pool=400)
    # Each ends when it passes no window beside the faces.
    assert all(len(stage.weaks) <= most for stage, (most, _) in zip(fast.stages, EARLY, strict=False))
    assert len(fast.stages) == len(figures) + 1 == len(EARLY) + 1
    assert len(fast.features) == sum(len(stage.weaks) for stage in fast.stages)
    assert fast.features[-1] == cascade.features[-1]
    backgrounds = [picture for picture in dataset.pictures if not picture.faces]
    others = mine_negatives(backgrounds, None, 2000, np.random.default_rng(9), max_per_scan=50, scans=400)
    assert (fast.stages_passed(others) >= 3).sum() < (cascade.stages_passed(others) >= 1).sum()
    (tmp_path / "fast.xml").write_text(fast.to_xml())
    truth = [face.box for face in demo.truth(150) if face.visible > 0.9]

    def found(path: Path) -> int:
        boxes = CascadeDetector.trained(path).detect(demo.draw(150)).boxes
        return sum(max((box_iou(face, box) for box in boxes), default=0) >= 0.3 for face in truth)

    assert found(tmp_path / "fast.xml") >= found(trained / "cascade.xml") > 0


def test_resumed_training_ends_with_the_same_cascade(dataset: DataSet, trained: Path, tmp_path: Path) -> None:
    train_cascade(dataset.pictures, CascadeRecipe(**{**vars(RECIPE), "stages": 1}), tmp_path)
    assert (tmp_path / "cascade.xml").read_text() != (trained / "cascade.xml").read_text()
    (tmp_path / "cut.xml").write_text("a file of the user")
    train_cascade(dataset.pictures, RECIPE, tmp_path, resume=True)
    assert {path.name for path in tmp_path.iterdir()} == {"cascade.xml", "stages.json", "report.json", "cut.xml"}
    assert (tmp_path / "cut.xml").read_text() == "a file of the user"
    assert (tmp_path / "cascade.xml").read_text() == (trained / "cascade.xml").read_text()
    with pytest.raises(UsageError, match=r"seed was 3, now 4\. Repeat the first command"):
        train_cascade(dataset.pictures, CascadeRecipe(**{**vars(RECIPE), "seed": 4}), tmp_path, resume=True)
    with pytest.raises(UsageError, match="nothing to resume"):
        train_cascade(dataset.pictures, RECIPE, tmp_path / "none", resume=True)
    # Fewer stages than before are the first ones.
    fewer = train_cascade(dataset.pictures, CascadeRecipe(**{**vars(RECIPE), "stages": 1}), tmp_path, resume=True)
    assert len(fewer["stages"]) == 1
    assert len({row["stages"] for row in fewer["held_out"]}) == 1
    state = json.loads((tmp_path / "stages.json").read_text())
    for damaged in ({**state, "recipe": 3}, {**state, "figures": []}, {**state, "data": None, "cascade": {}}, [state]):
        (tmp_path / "stages.json").write_text(json.dumps(damaged))
        with pytest.raises(UsageError, match="cannot be read"):
            train_cascade(dataset.pictures, RECIPE, tmp_path, resume=True)


def test_a_measurement_that_is_stopped_leaves_no_file(cascade: Cascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        assert list(tmp_path.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr("maskedge_train.cascade.training._measure_detector", stop)
    with pytest.raises(KeyboardInterrupt):
        measure(cascade, [], tmp_path)
    assert not list(tmp_path.iterdir())


def test_too_few_faces(dataset: DataSet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a cascade needs hundreds"):
        train_cascade(dataset.pictures[:2], RECIPE, tmp_path)


def test_command_and_device(command, scenes_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    data = ["--scenes", scenes_folder / "boxes.csv", "--backgrounds", scenes_folder / "backgrounds"]
    done = command(
        "edge-train", "cascade", *data, "--stages", "1", "--positives", "200", "--negatives", "500", "--out", tmp_path / "out"
    )
    assert done.returncode == 0, done.stderr
    assert "1 stage," in done.stdout
    xml = tmp_path / "out" / "cascade.xml"
    done = command("edge-run", "--source", "demo", "--max-frames", "4", "--cascade", xml)
    assert done.returncode == 0, done.stderr
    (tmp_path / "short.xml").write_text(xml.read_text()[:-400])
    done = command("edge-run", "--source", "demo", "--max-frames", "4", "--cascade", tmp_path / "short.xml")
    assert done.returncode == 4
    assert "is not a usable cascade" in done.stderr
    assert "Traceback" not in done.stderr
    done = command("edge-run", "--source", "demo", "--cascade", xml, "--detector-model", xml)
    assert done.returncode == 2
    assert "leave one of them out" in done.stderr
