"""Trainings whose targets are the probabilities of teachers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from helpers.support import composite
from maskedge import ModelError, UsageError
from maskedge.modelfile.contract import default_model
from maskedge.types import Image
from maskedge_train.classifier.checkpoint import ClassifierSpec, load_classifier, load_teachers
from maskedge_train.classifier.metrics import probabilities
from maskedge_train.classifier.nets import build
from maskedge_train.classifier.training import ClassifierModule, Recipe, predict
from maskedge_train.classifier.warm_start import load_start
from maskedge_train.data.dataset import LABELS
from maskedge_train.shared.checkpoint import read_checkpoint, write_checkpoint
from maskedge_train.shared.face_crop import CROP, INPUT_SIZE
from maskedge_train.shared.pixels import normalise, to_tensor
from maskedge_train.teachers.distillation import Teachers, blend_pairs

TWO = LABELS[:2]


def save(path: Path, name: str, net: nn.Module, labels: tuple[str, ...] = TWO) -> Path:
    """Write a network as a checkpoint."""
    weights = {f"net.{key}": value for key, value in net.state_dict().items()}
    write_checkpoint(path, {"maskedge": ClassifierSpec(name, labels, INPUT_SIZE, CROP).to_dict(), "state_dict": weights})
    return path


@pytest.fixture(scope="module")
def faces() -> Image:
    random = np.random.default_rng(2)
    return np.stack([composite(label, random)[48:112, 48:112] for label in TWO for _ in range(20)])


def bundled(faces: Image) -> nn.Module:
    return load_start(default_model(), "edgenet", TWO, normalise(to_tensor(faces).float() / 255)).eval()


@pytest.fixture(scope="module")
def teacher(faces: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled network with its two labels exchanged: no label of the data leads to its probabilities."""
    net = bundled(faces)
    final = net.get_submodule("label.3")
    with torch.no_grad():
        for parameter in final.parameters():
            parameter.copy_(parameter.flip(0))
    return save(tmp_path_factory.mktemp("teacher") / "teacher.ckpt", "edgenet", net)


def arguments(data: Path, out: Path, teacher: Path, *more: str | Path, samples: str = "128") -> list[str | Path]:
    return [
        *("edge-train", "classifier", "--data", data, "--out", out, "--whole-pictures", "--negatives", "none", "--no-paint"),
        *(
            "--augment",
            "light",
            "--samples",
            "128",
            "--batch-size",
            "16",
            "--accelerator",
            "cpu",
            "--quiet",
            "--teacher",
            teacher,
            *more,
        ),
    ]


def test_student_learns_the_probabilities_of_its_teacher(  # type: ignore[no-untyped-def]
    invoke, faces: Image, faces_folder: Path, teacher: Path, tmp_path: Path
) -> None:
    before = predict(bundled(faces), faces)
    run = arguments(faces_folder, tmp_path / "run", teacher, "--epochs", "2", "--init", "bundled")
    done = invoke(*run)
    assert done.returncode == 0, done.stderr
    assert "teacher.ckpt was trained on are unknown" in done.stderr
    last = read_checkpoint(tmp_path / "run" / "last.ckpt")
    assert {name.partition(".")[0] for name in last["state_dict"]} <= {"net", "augment", "macro_f1"}
    digest = hashlib.sha256(teacher.read_bytes()).hexdigest()
    assert (last["maskedge"]["recipe"]["teachers"], last["maskedge"]["recipe"]["teacher_share"]) == ([digest], 1)
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert (report["recipe"]["teachers"], report["recipe"]["teacher_share"]) == ([digest], 1)
    after = predict(load_classifier(tmp_path / "run" / "last.ckpt")[0], faces)
    goal = probabilities(predict(load_classifier(teacher)[0], faces), 1.0)
    apart = [np.abs(probabilities(logits, 1.0) - goal).mean() for logits in (before, after)]
    assert apart[1] < 0.6 * apart[0], apart


@pytest.mark.slow
def test_interrupted_training_is_resumed_with_its_teachers_only(  # type: ignore[no-untyped-def]
    invoke, faces_folder: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, again = (arguments(faces_folder, tmp_path / name, teacher, "--epochs", "2", samples="32") for name in ("run", "again"))
    done = invoke(*run)
    assert done.returncode == 0, done.stderr
    expected = read_checkpoint(tmp_path / "run" / "last.ckpt")["state_dict"]
    with monkeypatch.context() as patch:
        patch.setattr(ClassifierModule, "on_train_epoch_start", stop_before_the_second_epoch)
        with pytest.raises(InterruptedError):
            invoke(*again)
    done = invoke(*again, "--resume")
    assert done.returncode == 0, done.stderr
    found = read_checkpoint(tmp_path / "again" / "last.ckpt")["state_dict"]
    assert all(torch.equal(value, found[name]) for name, value in expected.items())

    # Resumed with another teacher or without one.
    other = save(tmp_path / "other.ckpt", "edgenet", build("edgenet", 2))
    for change in ([*again, "--teacher", other], [one for one in again if one not in ("--teacher", teacher)]):
        done = invoke(*change, "--resume")
        assert done.returncode == 2
        assert "teachers has changed" in done.stderr


def stop_before_the_second_epoch(module: ClassifierModule) -> None:
    if module.current_epoch:
        raise InterruptedError


def test_unsuitable_teachers_are_refused(invoke, faces_folder: Path, teacher: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    reversed_labels = save(tmp_path / "reversed.ckpt", "edgenet", build("edgenet", 2), TWO[::-1])
    with pytest.raises(UsageError, match="its labels are without_mask, with_mask, and with_mask, without_mask are needed"):
        load_teachers([teacher, reversed_labels])
    with pytest.raises(UsageError, match="cannot teach: give a checkpoint"):
        load_teachers([default_model()])
    write_checkpoint(tmp_path / "detector.ckpt", {"maskedge": {"kind": "detector"}, "state_dict": {}})
    with pytest.raises(UsageError, match=r"detector\.ckpt cannot teach"):
        load_teachers([tmp_path / "detector.ckpt"])
    with pytest.raises(ModelError, match="does not fit this version of maskedge: there is no net 'resnet'; known are"):
        load_teachers([save(tmp_path / "resnet.ckpt", "resnet", nn.Sequential())])

    done = invoke(*arguments(faces_folder, tmp_path / "run", reversed_labels))
    assert done.returncode == 2
    assert "reversed.ckpt cannot teach: its labels are without_mask, with_mask" in done.stderr
    run = tmp_path / "best.ckpt"
    run.write_bytes(teacher.read_bytes())
    done = invoke(*arguments(faces_folder, tmp_path, run, "--overwrite"))
    assert done.returncode == 2
    assert "is a file of --teacher, which would be overwritten" in done.stderr
    assert run.read_bytes() == teacher.read_bytes()


class Constant(nn.Module):
    """A network with fixed probabilities."""

    def __init__(self, probabilities: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(probabilities).log())
        self.crops: list[torch.Tensor] = []

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.crops.append(pixels)
        return self.logits.expand(len(pixels), -1)


def module_of(recipe: Recipe, *teachers: nn.Module) -> ClassifierModule:
    torch.manual_seed(1)
    return ClassifierModule(ClassifierSpec("edgenet", TWO, INPUT_SIZE, CROP), recipe, asdict(recipe), Teachers(teachers))


def test_targets_are_the_mean_of_the_teachers_and_a_share_of_the_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    targets: list[torch.Tensor] = []
    loss = nn.functional.cross_entropy
    monkeypatch.setattr(nn.functional, "cross_entropy", lambda logits, goal: (targets.append(goal), loss(logits, goal))[1])
    teachers = Constant([0.9, 0.1]), Constant([0.5, 0.5])
    module = module_of(Recipe("edgenet", smoothing=0.1, teacher_share=0.75), *teachers)
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    crops = torch.randint(0, 256, (8, 3, 104, 104), dtype=torch.uint8)
    batch = crops, torch.tensor([0, 1] * 4), torch.tensor([[0.2, 0.2, 0.8, 0.8]] * 8)
    module.train()
    # First a step of crops as they are: their boxes count, and the labels are smoothed.
    module.training_step(batch, 0).backward()
    assert torch.allclose(targets[0][:2], 0.75 * torch.tensor([0.7, 0.3]) + 0.25 * torch.tensor([[0.95, 0.05], [0.05, 0.95]]))
    place = module.net.get_parameter("place.3.bias")
    assert place.grad is not None and place.grad.any()
    module.zero_grad(set_to_none=True)
    # Then blended crops: labels between the two, the same crops for all, and no boxes.
    module.training_step(batch, 1).backward()
    assert len({tuple(row) for row in targets[1].tolist()}) > 2
    assert torch.allclose(targets[1].sum(1), torch.ones(8))
    assert torch.equal(teachers[0].crops[1], teachers[1].crops[1])
    assert place.grad is None or not place.grad.any()
    assert not any(teacher.training or teacher.logits.requires_grad for teacher in teachers)
    assert module.state_dict().keys() == ClassifierModule(module.spec, module.recipe, {}).state_dict().keys()


def test_each_pair_is_blended_in_a_proportion_of_its_own() -> None:
    torch.manual_seed(0)
    values = torch.arange(64.0)
    crops, targets = blend_pairs(values[:, None, None, None].expand(-1, 3, 4, 4), torch.stack([values, 63 - values], dim=1))
    assert crops.shape == (64, 3, 4, 4)
    assert torch.allclose(crops[:, 0, 0, 0], targets[:, 0], atol=1e-4)
    assert torch.allclose(targets.sum(1), torch.full((64,), 63.0))
    assert targets.min() >= 0
    assert len(targets[:, 0].round(decimals=3).unique()) > 50
