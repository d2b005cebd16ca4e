"""The detector: assignment of faces, training samples, a training from end to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from maskedge import ModelError
from maskedge.labelled_boxes import move_boxes
from maskedge.modelfile.contract import default_detector, default_model
from maskedge.sources import demo
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.detectors.network import CnnDetector
from maskedge_train.data.dataset import DataSet, load_dataset
from maskedge_train.detector import evaluate
from maskedge_train.detector.checkpoint import check_start, load_detector, load_start
from maskedge_train.detector.hard_examples import mine_hard_examples
from maskedge_train.detector.loss import assign, detection_loss, locations
from maskedge_train.detector.net import EdgeFace
from maskedge_train.detector.samples import (
    MAX_FACES,
    MIN_FACE,
    Plan,
    SampleBatches,
    Scene,
    WholePictures,
    cut_tile,
    letterbox,
    load_scenes,
    occlude,
    pad,
)
from maskedge_train.detector.training import sample_tiles
from maskedge_train.shared.box_file import BoxFile
from maskedge_train.shared.checkpoint import read_checkpoint
from maskedge_train.shared.layers import count_parameters
from maskedge_train.shared.pixels import normalise

NONE = [float("nan")] * 4


@pytest.fixture(scope="module")
def dataset(scenes_folder: Path) -> DataSet:
    return load_dataset(scenes=[BoxFile(scenes_folder / "boxes.csv")], backgrounds=[scenes_folder / "backgrounds"])


def faces(*boxes: list[float]) -> torch.Tensor:
    return torch.tensor([[*boxes, NONE]])


def test_net_is_small_and_predicts_for_every_location() -> None:
    net = EdgeFace().eval()
    assert count_parameters(net) <= 120_000
    with torch.inference_mode():
        logits, boxes = net(torch.zeros(2, 3, 96, 160))
    count = 12 * 20 + 6 * 10 + 3 * 5
    assert logits.shape == (2, count)
    assert boxes.shape == (2, count, 4)
    assert len(locations(96, 160, logits.device)[0]) == count
    assert (boxes[..., 2:] > boxes[..., :2]).all()
    assert torch.sigmoid(logits).max() < 0.1


@pytest.mark.parametrize(("size", "levels"), [(14, {0}), (38, {0, 1}), (70, {1}), (100, {1, 2}), (120, {2})])
def test_faces_are_assigned_by_their_size(size: float, levels: set[int]) -> None:
    targets = assign(faces([70 - size / 2, 66 - size / 2, 70 + size / 2, 66 + size / 2]), 128, 128)
    points, own = locations(128, 128, targets.boxes.device)
    positive = targets.positive[0]
    assert set(own[positive].tolist()) == levels
    assert (points[positive] - torch.tensor([70.0, 66.0])).abs().max() <= max(0.3 * size, 16)
    assert not (targets.positive & targets.ignored).any()


def test_ignored_faces_are_neither() -> None:
    # x2 < x1 marks ignored boxes.
    targets = assign(faces([60, 20, 20, 60]), 128, 128)
    points, _ = locations(128, 128, targets.boxes.device)
    inside = ((points > 20) & (points < 60)).all(dim=1)
    assert not targets.positive.any()
    assert (targets.ignored[0] == inside).all()


def test_of_two_faces_the_smaller_one_is_assigned() -> None:
    small, large = [30.0, 30.0, 60.0, 60.0], [25.0, 25.0, 65.0, 65.0]
    targets = assign(faces(large, small), 128, 128)
    boxes = targets.boxes[targets.positive]
    assert (boxes == torch.tensor(small)).all(dim=1).any()


def test_loss_of_the_truth_is_small() -> None:
    truth = faces([40.0, 40.0, 80.0, 90.0])
    targets = assign(truth, 128, 128)
    right = torch.where(targets.positive, 9.0, -9.0)
    boxes = torch.where(targets.positive[..., None], targets.boxes, torch.tensor([0.0, 0.0, 1.0, 1.0]))
    objectness, away = detection_loss(right, boxes, truth, 128, 128)
    wrong, _ = detection_loss(-right, boxes, truth, 128, 128)
    assert objectness < 0.01 < wrong
    assert away < 1e-5
    nothing = torch.full((1, 2, 4), float("nan"))
    assert torch.isfinite(detection_loss(right, boxes, nothing, 128, 128)[0])


def test_samples_depend_on_their_number_alone(dataset: DataSet) -> None:
    scenes = load_scenes(dataset.pictures)
    people, empty = [scene for scene in scenes if len(scene.boxes)], [scene for scene in scenes if not len(scene.boxes)]
    plan = Plan(3, 6, 96, whole=0.3, empty=0.2, pasted=0.5)
    one, other = SampleBatches(people, empty, plan, 5, 2), SampleBatches(people, empty, plan, 5, 2)
    other[0]
    for mine, again in zip(one[1], other[1], strict=True):
        assert torch.equal(torch.nan_to_num(mine), torch.nan_to_num(again))
    images, boxes = one[1]
    assert images.shape == (6, 3, 96, 96)
    assert images.dtype == torch.uint8
    assert boxes.shape == (6, MAX_FACES, 4)
    there = boxes[~torch.isnan(boxes[..., 0])]
    real = there[there[:, 2] > there[:, 0]]
    assert len(real)
    assert (real[:, 2:] - real[:, :2]).prod(dim=1).sqrt().min() >= MIN_FACE - 1e-3
    assert not torch.equal(SampleBatches(people, empty, plan, 6, 2)[1][0], images)


def test_letterbox_as_on_the_device() -> None:
    scene = Scene(np.full((100, 200, 3), 255, np.uint8), np.array([[20, 10, 60, 60]], np.float32), np.array([True]), True)
    image, boxes = letterbox(scene, 100)
    assert image.shape == (100, 100, 3)
    assert (image[:50] == 255).all()
    assert (image[50:] == 0).all()
    assert boxes.tolist() == [[10, 5, 30, 30]]
    crowd = np.tile(np.array([[0, 0, 20, 20]], np.float32), (MAX_FACES + 9, 1))
    assert not np.isnan(pad(crowd)).any()
    assert len(WholePictures([scene] * 5, 64, 2)) == 3


def test_a_rotated_face_keeps_its_box() -> None:
    """The box of a rotated ellipse equals that of its pixels."""
    box = np.array([[80, 60, 120, 140]], np.float32)
    canvas = np.zeros((200, 200, 3), np.uint8)
    cv2.ellipse(canvas, (100, 100), (20, 40), 0, 0, 360, (255, 255, 255), -1)
    for degrees in (0, 30, 45, 90):
        turn = np.deg2rad(degrees)
        linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        shift = np.full(2, 100) - linear @ np.full(2, 100)
        rows, columns = np.nonzero(cv2.warpAffine(canvas, np.column_stack([linear, shift]), (200, 200))[..., 0] > 127)
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.abs(move_boxes(box, linear, shift)[0] - seen).max() < 2


def test_a_face_that_is_hidden_in_part_is_seen_in_part() -> None:
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:100, :100]
    ground = np.dstack([rows, columns, rows + columns]).astype(np.uint8)
    shares = []
    for _ in range(200):
        image = ground.copy()
        occlude(image, np.array([20, 10, 60, 70], np.float32), random)
        shares.append((image != ground).any(axis=2)[10:70, 20:60].mean())
    assert np.median(shares) > 0.1
    assert max(shares) < 0.5


def test_unlabelled_faces_are_ignored() -> None:
    box = np.array([[20, 10, 60, 60]], np.float32)
    own = np.array([[120, 20, 160, 70]], np.float32)
    scene = Scene(np.zeros((100, 200, 3), np.uint8), own, np.array([True]), True, unlabelled=box)
    _, boxes = letterbox(scene, 200)
    assert boxes.tolist() == [[120, 20, 160, 70], [60, 10, 20, 60]]
    targets = assign(torch.from_numpy(boxes)[None], 128, 256)
    middle = (locations(128, 256, targets.boxes.device)[0] - torch.tensor([40.0, 35.0])).abs().amax(dim=1).argmin()
    assert targets.ignored[0, middle]
    assert targets.positive.any()
    # False positives are sampled more often: if there is nothing else, most tiles contain one.
    bright = np.zeros((400, 400, 3), np.uint8)
    bright[300:340, 300:340] = 255
    alarm = Scene(
        bright,
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.bool_),
        True,
        false_positives=np.array([[300, 300, 340, 340]], np.float32),
    )
    random = np.random.default_rng(0)
    shown = [cut_tile(alarm, 64, random)[0].max() > 200 for _ in range(60)]
    assert np.mean(shown) > 0.5


def test_an_earlier_detector_mines_hard_examples(dataset: DataSet) -> None:
    """All detections of an untrained net in a picture without people are false positives."""
    first, *others = dataset.take(range(3)).pictures
    known = replace(first, faces=first.faces[1:], unlabelled=(first.faces[0].box,))
    scenes = load_scenes([known, *others])
    net = EdgeFace().eval()
    assert [len(scene.unlabelled) for scene in mine_hard_examples(net, MaskClassifier(), scenes)] == [1, 0, 0]
    torch.nn.init.constant_(net.objectness.bias, 4.0)
    mined = mine_hard_examples(
        net, MaskClassifier(), [replace(scenes[0], boxes=np.zeros((0, 4), np.float32)), replace(scenes[1], whole=False)]
    )
    assert len(mined[0].false_positives) > 0
    assert len(mined[1].false_positives) == 0


def run(invoke, scenes_folder: Path, out: Path, *more: str):  # type: ignore[no-untyped-def]
    data = ["--scenes", scenes_folder / "boxes.csv", "--backgrounds", scenes_folder / "backgrounds"]
    small = ["--batches", "2", "--batch-size", "4", "--workers", "0", "--accelerator", "cpu", "--quiet", "--out", out]
    return invoke("edge-train", "detector", *data, *small, *more)


@pytest.mark.slow
def test_training_resumes_exactly_and_its_file_runs(invoke, scenes_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = run(invoke, scenes_folder, tmp_path / "one", "--epochs", "3")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "one" / "report.json").read_text())
    assert report["parameters"] <= 120_000
    assert len(report["history"]) == 3
    # Killed after the second epoch: the folder looks like that of a run before its last epoch.
    begun = read_checkpoint(tmp_path / "one" / "last.ckpt")
    assert begun["maskedge"]["kind"] == "detector"
    done = run(invoke, scenes_folder, tmp_path / "one", "--epochs", "3", "--resume")
    assert done.returncode == 0, done.stderr
    again = read_checkpoint(tmp_path / "one" / "last.ckpt")["state_dict"]
    assert all(torch.equal(again[name], value) for name, value in begun["state_dict"].items())
    done = run(invoke, scenes_folder, tmp_path / "one", "--epochs", "4", "--resume")
    assert done.returncode == 2
    assert "epochs was 3, now 4" in done.stderr

    net, card = load_detector(tmp_path / "one" / "detector.ckpt")
    assert card["net"] == "edgeface"
    assert not net.training
    done = invoke("edge-export", tmp_path / "one" / "detector.ckpt", "-o", tmp_path / "own.onnx")
    assert done.returncode == 0, done.stderr
    done = invoke("edge-run", "--source", "demo", "--max-frames", "6", "--detector-model", tmp_path / "own.onnx")
    assert done.returncode == 0, done.stderr
    source = r"^1\d?\."
    more = run(invoke, scenes_folder, tmp_path / "more", "--epochs", "1", "--init", default_detector(), "--hold-out", source)
    assert more.returncode == 0, more.stderr
    held = json.loads((tmp_path / "more" / "report.json").read_text())["held_out_source"]
    assert (held["pictures"], held["faces"]) == (11, {"masked": 22, "unmasked": 11})
    assert f"Pictures of {source}: longest side" in more.stdout
    assert "init" in read_checkpoint(tmp_path / "more" / "detector.ckpt")["maskedge"]["recipe"]


def test_exported_detector_predicts_the_same_as_a_net(dataset: DataSet, tmp_path: Path) -> None:
    frame = demo.draw(150)
    net = load_start(default_detector(), sample_tiles(load_scenes(dataset.pictures), seed=0))
    pixels = normalise(torch.from_numpy(frame.transpose(2, 0, 1).copy())[None].float() / 255)
    with torch.inference_mode():
        logits, boxes = net(pixels)
    found, scores = CnnDetector(default_detector()).infer(frame)
    best = int(logits[0].argmax())
    assert float(torch.sigmoid(logits[0, best])) == pytest.approx(float(scores[0]), abs=1e-4)
    assert np.abs(boxes[0, best].numpy() - found[0]).max() < 0.05
    for path in (default_model(), tmp_path / "none.onnx", tmp_path / "none.ckpt"):
        with pytest.raises(ModelError):
            check_start(path)


def test_unusable_data_is_refused(invoke, faces_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = invoke("edge-train", "detector", "--faces", faces_folder, "--quiet", "--out", tmp_path)
    assert done.returncode == 2
    assert "in whole pictures for training" in done.stderr


def test_checkpoint_of_a_classifier_is_no_detector(tmp_path: Path) -> None:
    torch.save({"maskedge": {"kind": "classifier"}, "state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ModelError, match="of a classifier, not of a detector"):
        load_detector(tmp_path / "other.ckpt")
    torch.save({"maskedge": {"kind": "detector"}, "state_dict": {"net.x": torch.zeros(1)}}, tmp_path / "other.ckpt")
    with pytest.raises(ModelError, match="does not fit this version"):
        load_detector(tmp_path / "other.ckpt")


def test_detections_on_unlabelled_faces_are_no_false_positives(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = np.array([[10, 10, 60, 60], [100, 100, 160, 160], [200, 200, 260, 260]], np.float32)
    monkeypatch.setattr(evaluate, "detect_faces", lambda *_: (boxes, np.full(3, 0.9, np.float32)))
    scene = Scene(np.zeros((320, 320, 3), np.uint8), boxes[:1], np.array([True]), whole=True, unlabelled=boxes[1:2])
    (row, *_) = evaluate._measure(EdgeFace(), [scene], 320)
    assert (row["masked_found"], row["false_alarms"]) == (1.0, 1.0)
