"""Fine-tuning of the bundled detector on a few pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from maskedge.modelfile.contract import default_detector
from maskedge.vision.classifier import MaskClassifier
from maskedge_train.data.dataset import DataSet, load_dataset
from maskedge_train.detector.checkpoint import load_detector, load_start
from maskedge_train.detector.fine_tuning import blend, draw_empty, find_convention, move_dataset, split_few
from maskedge_train.detector.hard_examples import mine_hard_examples
from maskedge_train.detector.loss import lost_score_loss
from maskedge_train.detector.net import EdgeFace
from maskedge_train.detector.samples import load_scenes
from maskedge_train.detector.training import DetectorModule, DetectorRecipe, sample_tiles
from maskedge_train.shared.box_file import EYEBROWS, FOREHEAD, BoxFile
from maskedge_train.shared.checkpoint import write_checkpoint


@pytest.fixture(scope="module")
def dataset(scenes_folder: Path) -> DataSet:
    return load_dataset(scenes=[BoxFile(scenes_folder / "boxes.csv")], backgrounds=[scenes_folder / "backgrounds"])


@pytest.fixture(autouse=True)
def _few_generated_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskedge_train.detector.fine_tuning._GENERATED", 12)


@pytest.fixture(scope="module")
def bundled(dataset: DataSet) -> EdgeFace:
    return load_start(default_detector(), sample_tiles(load_scenes(dataset.pictures), seed=0))


def test_a_fifth_of_the_pictures_is_held_out_and_relatives_stay_together(dataset: DataSet) -> None:
    copies = [replace(picture, name=f"{picture.name} copy") for picture in dataset.pictures[:10]]
    learn, held = split_few([*dataset.pictures, *copies])
    assert len(learn) + len(held) == len(dataset.pictures) + 10
    assert 8 <= len(held) <= 9
    assert all(picture.source == "scenes" for picture in held)
    names = {picture.name.removesuffix(" copy") for picture in held}
    assert not names & {picture.name.removesuffix(" copy") for picture in learn}
    assert split_few([*dataset.pictures, *copies]) == (learn, held)


def test_the_convention_of_boxes_is_found_from_detections(dataset: DataSet, bundled: EdgeFace) -> None:
    own = find_convention(bundled, dataset.pictures, EYEBROWS)
    other = FOREHEAD if own == EYEBROWS else EYEBROWS
    moved = move_dataset(dataset, own, other)
    assert moved.convention == other
    assert find_convention(bundled, moved.pictures, EYEBROWS) == other
    assert find_convention(bundled, dataset.pictures[:1], EYEBROWS) == EYEBROWS


def test_only_lower_scores_on_detected_faces_cost() -> None:
    nothing = [float("nan")] * 4
    faces = torch.tensor([[[10.0, 10.0, 54.0, 54.0], nothing]])
    known = torch.full((1, 84), 0.8)

    def loss(score: float, known: torch.Tensor = known) -> float:
        logits = torch.full((1, 84), float(np.log(score / (1 - score))))
        return float(lost_score_loss(logits, known, faces, 64, 64))

    assert loss(0.9) == 0
    assert loss(0.3) > loss(0.6) > 0
    assert loss(0.05, torch.full((1, 84), 0.1)) == 0


def test_weights_are_blended_with_the_initial_ones(bundled: EdgeFace, tmp_path: Path) -> None:
    trained = EdgeFace()
    state = {f"net.{name}": value for name, value in trained.state_dict().items()}
    write_checkpoint(tmp_path / "x.ckpt", {"state_dict": state, "maskedge": {"kind": "detector"}})
    blend(bundled, tmp_path / "x.ckpt", 0.25)
    net, _ = load_detector(tmp_path / "x.ckpt")
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            expected = 0.75 * bundled.state_dict()[name] + 0.25 * trained.state_dict()[name]
            assert torch.allclose(value, expected, atol=1e-5), name


def test_fixed_statistics_do_not_change_in_training() -> None:
    module = DetectorModule(DetectorRecipe(fixed_statistics=True), {}, 1).train()
    before = {name: value.clone() for name, value in module.net.named_buffers()}
    module.net(torch.rand(2, 3, 64, 64))
    assert all(torch.equal(value, before[name]) for name, value in module.net.named_buffers())
    assert module.net.head.training


def test_doubtful_detections_of_a_few_pictures_are_ignored(dataset: DataSet, bundled: EdgeFace) -> None:
    picture = replace(dataset.pictures[0], faces=dataset.pictures[0].faces[:1])
    scenes = load_scenes([picture])
    many, few = (mine_hard_examples(bundled, MaskClassifier(), scenes, few=few)[0] for few in (False, True))
    assert len(few.unlabelled) >= len(many.unlabelled)
    assert len(few.false_positives) <= len(many.false_positives)
    empty = draw_empty()
    assert empty
    assert all(not len(scene.boxes) and scene.whole for scene in empty)


def test_a_few_faces_are_refused_in_a_sentence(invoke, scenes_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    lines = (scenes_folder / "boxes.csv").read_text().splitlines()
    few = scenes_folder / "few.csv"
    few.write_text("\n".join(lines[:10]))
    try:
        done = invoke("edge-train", "detector", few, "--quiet", "--out", tmp_path / "few")
        assert done.returncode == 2
        assert "fine-tuning needs about a hundred" in done.stderr
        done = invoke("edge-train", "detector", few, "--fine-tune", "--init", "none", "--out", tmp_path / "few")
        assert (done.returncode, "leave out --init none" in done.stderr) == (2, True)
    finally:
        few.unlink()


@pytest.mark.slow
def test_a_folder_fine_tunes_the_bundled_network(invoke, scenes_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    small = ["--batches", "3", "--epochs", "1", "--workers", "0", "--accelerator", "cpu", "--quiet"]
    done = invoke("edge-train", "detector", scenes_folder, *small, "--out", tmp_path / "own")
    assert done.returncode == 0, done.stderr
    assert "training: fine-tuning of" in done.stdout
    assert "boxes: they begin at the" in done.stdout
    report = json.loads((tmp_path / "own" / "report.json").read_text())
    assert report["pictures"] == 6
    assert report["before"]["pictures"] == 6
    assert report["data"]["convention"] == "forehead"
    done = invoke("edge-export", tmp_path / "own" / "detector.ckpt", "-o", tmp_path / "own.onnx")
    assert done.returncode == 0, done.stderr
