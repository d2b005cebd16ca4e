"""Warm start: a training that starts from an earlier one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.support import composite
from maskedge import ModelError, UsageError
from maskedge.modelfile.contract import default_model
from maskedge.types import Image
from maskedge.vision.classifier import MaskClassifier
from maskedge_export.classifier.export import export_classifier
from maskedge_train.classifier.checkpoint import ClassifierSpec
from maskedge_train.classifier.metrics import probabilities
from maskedge_train.classifier.nets import build, locate
from maskedge_train.classifier.training import predict
from maskedge_train.classifier.warm_start import check_start, load_start
from maskedge_train.data.dataset import LABELS
from maskedge_train.shared.checkpoint import write_checkpoint
from maskedge_train.shared.face_crop import CROP, INPUT_SIZE
from maskedge_train.shared.pixels import normalise, to_tensor


@pytest.fixture(scope="module")
def faces() -> Image:
    random = np.random.default_rng(2)
    pictures = [composite(label, random) for label in LABELS[:3] for _ in range(20)]
    return np.stack([picture[48:112, 48:112] for picture in pictures])


def as_pixels(faces: Image) -> torch.Tensor:
    return normalise(to_tensor(faces).float() / 255)


@pytest.mark.parametrize("labels", [LABELS, ("with_mask", "without_mask")])
def test_exported_model_predicts_the_same_as_a_net(faces, labels: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    net = load_start(default_model(), "edgenet", labels, as_pixels(faces))
    classifier = MaskClassifier(default_model())
    temperature = classifier.contract.card["temperature"]
    # The file has a prior after its net. It shifts the shares of the face labels, not the probability of a face.
    prior = classifier.contract.card.get("prior", {})
    found_by_file = classifier.classify_crops(faces)
    without = found_by_file / np.exp([prior.get(label, 0.0) for label in classifier.labels])
    is_face = np.array([label != "not_a_face" for label in classifier.labels])
    scale = found_by_file[:, is_face].sum(1, keepdims=True) / without[:, is_face].sum(1, keepdims=True)
    without[:, is_face] *= scale
    expected = without[:, [classifier.labels.index(label) for label in labels]]
    found = probabilities(predict(net, faces), temperature)
    assert np.abs(found - expected / expected.sum(1, keepdims=True)).max() < 1e-4
    # In training mode, with batch statistics, the net still predicts the same.
    with torch.no_grad():
        learning = net.train()(as_pixels(faces)).argmax(1).numpy()
    assert (learning == found.argmax(1)).mean() > 0.9


def test_larger_net_is_widened_from_a_smaller_one(faces) -> None:  # type: ignore[no-untyped-def]
    small, large = (load_start(default_model(), name, LABELS, as_pixels(faces)).eval() for name in ("edgenet", "edgenet-l"))
    mirrored = np.ascontiguousarray(faces[:, :, ::-1])
    # The larger net also averages over the mirror image.
    expected = (predict(small, faces) + predict(small, mirrored)) / 2
    assert np.abs(probabilities(expected, 1.0) - probabilities(predict(large, faces), 1.0)).max() < 0.05
    with torch.no_grad():
        (_, own), (_, other), (_, found) = (
            locate(small, as_pixels(faces)),
            locate(small, as_pixels(mirrored)),
            locate(large, as_pixels(faces)),
        )
        learning = large.train()(as_pixels(faces)).argmax(1).numpy()
    assert own is not None and other is not None and found is not None
    mirrored_back = torch.stack([1 - other[:, 2], other[:, 1], 1 - other[:, 0], other[:, 3]], dim=1)
    assert ((own + mirrored_back) / 2 - found).abs().max() < 0.02
    assert (learning == predict(small, faces).argmax(1)).mean() > 0.9
    # Additional channels can learn: no gradient is zero once the muted blocks have started to
    # contribute.
    for _ in range(2):
        large.zero_grad()
        large(as_pixels(faces)).logsumexp(1).sum().backward()
        with torch.no_grad():
            for own in large.parameters():
                own -= 0.001 * (own.grad if own.grad is not None else 0)
    still = {name for name, own in large.named_parameters() if not name.startswith("place") and not own.grad.any()}
    assert not still


@pytest.mark.slow
def test_training_starts_from_a_model(invoke, faces, faces_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    begun = predict(load_start(default_model(), "edgenet", LABELS[:2], as_pixels(faces)), faces).argmax(1)
    run = ["edge-train", "classifier", "--data", faces_folder, "--epochs", "1", "--samples", "64", "--batch-size", "16", "--quiet"]
    run += ["--generated", "4"]
    done = invoke(*run, "--learning-rate", "1e-5", "--init", default_model(), "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert len(report["recipe"]["init"]) == 64
    # The data has two labels; not_a_face is kept in addition.
    assert report["labels"] == ["with_mask", "without_mask", "not_a_face"]
    # Such small steps change few predictions.
    net = load_start(tmp_path / "best.ckpt", "edgenet", LABELS[:2], as_pixels(faces))
    assert (predict(net, faces).argmax(1) == begun).mean() > 0.85
    done = invoke(*run, "--init", tmp_path / "best.ckpt", "--out", tmp_path, "--resume")
    assert done.returncode == 2
    assert "init has changed" in done.stderr


def test_label_that_a_model_lacks_starts_from_fresh_weights(faces: Image, tmp_path: Path) -> None:
    net, two = build("edgenet", 2).eval(), ("with_mask", "without_mask")
    weights = {f"net.{name}": value for name, value in net.state_dict().items()}
    facts = ClassifierSpec("edgenet", two, INPUT_SIZE, CROP).to_dict()
    write_checkpoint(tmp_path / "two.ckpt", {"maskedge": facts, "state_dict": weights})
    extended = load_start(tmp_path / "two.ckpt", "edgenet", (*two, "not_a_face"), as_pixels(faces))
    assert np.abs(predict(extended, faces)[:, :2] - predict(net, faces)).max() < 1e-4
    with pytest.raises(UsageError, match="lacks the label incorrect_mask"):
        check_start(tmp_path / "two.ckpt", "edgenet", LABELS)


def test_unusable_warm_start_files_are_refused(invoke, faces, faces_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match="give --net edgenet"):
        load_start(default_model(), "seednet", LABELS, as_pixels(faces))
    with pytest.raises(UsageError, match="lacks the label scarf"):
        load_start(default_model(), "edgenet", ("with_mask", "scarf"), as_pixels(faces))
    with pytest.raises(ModelError, match="there is no checkpoint"):
        load_start(tmp_path / "no.ckpt", "edgenet", LABELS, as_pixels(faces))
    (tmp_path / "broken.onnx").write_bytes(default_model().read_bytes()[:-100])
    done = invoke("edge-train", "classifier", "--data", faces_folder, "--init", tmp_path / "broken.onnx", "--out", tmp_path)
    assert done.returncode == 4
    assert "broken.onnx" in done.stderr
    assert "Traceback" not in done.stderr


def test_compact_model_is_refused(faces: Image, tmp_path: Path) -> None:
    net = build("seednet", 2).eval()
    for parameter in net.parameters():  # biases that are all 0 are one in the graph, as they never are after training
        torch.nn.init.normal_(parameter, std=0.03)
    spec, checkpoint = ClassifierSpec("seednet", LABELS[:2], INPUT_SIZE, CROP), tmp_path / "seednet.ckpt"
    weights = {f"net.{name}": value for name, value in net.state_dict().items()}
    write_checkpoint(checkpoint, {"maskedge": {**spec.to_dict(), "card": {"net": "seednet"}}, "state_dict": weights})
    for compact in (False, True):
        export_classifier(checkpoint, tmp_path / f"{compact}.onnx", None, compact=compact)
    start = load_start(tmp_path / "False.onnx", "seednet", spec.labels, as_pixels(faces))
    assert np.abs(predict(start, faces) - predict(net, faces)).max() < 1e-4
    with pytest.raises(ModelError, match="--compact"):
        check_start(tmp_path / "True.onnx", "seednet", spec.labels)
