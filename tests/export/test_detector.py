"""Detector files: any frame size, the parity check, and verification on the device."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

from maskedge import ModelError
from maskedge.sources import demo
from maskedge.types import Image
from maskedge.vision.detectors.network import CnnDetector
from maskedge.vision.self_test import DetectorSelfTest, verify
from maskedge_export.cli import main
from maskedge_export.detector import export as module
from maskedge_export.detector.export import DetectorGraph, compare, export_detector
from maskedge_train.detector.net import EdgeFace


@pytest.fixture(scope="module")
def graph() -> DetectorGraph:
    """An untrained net that finds some faces, each with its own box and score."""
    torch.manual_seed(3)
    net = EdgeFace()
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.weight, 0.8, 2.5)
            torch.nn.init.normal_(layer.bias, std=0.3)
    torch.nn.init.constant_(net.objectness.bias, -1.6)
    torch.nn.init.normal_(net.objectness.weight, std=3.0)
    torch.nn.init.normal_(net.distances.weight, std=0.6)
    return DetectorGraph(net).eval()


@pytest.fixture(scope="module", autouse=True)
def small_frames() -> Iterator[list[Image]]:
    """Frames so small that an untrained net finds no more faces than a file returns."""
    frames = [cv2.resize(demo.draw(index), (160, 128), interpolation=cv2.INTER_AREA) for index in (20, 150, 260)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "probe_frames", lambda: frames)
        yield frames


@pytest.fixture(scope="module")
def checkpoint(graph: DetectorGraph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "detector.ckpt"
    weights = {f"net.{name}": value for name, value in graph.net.state_dict().items()}
    torch.save({"maskedge": {"kind": "detector", "card": {"net": "edgeface"}}, "state_dict": weights}, path)
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported file, which no test changes. An export takes many seconds of a core."""
    path = tmp_path_factory.mktemp("exported") / "own.onnx"
    assert export_detector(checkpoint, path, licences=["ours"]).written == [path, path.with_suffix(".md")]
    return path


@pytest.fixture(scope="module")
def model(exported: Path) -> bytes:
    """The converted network, without the metadata of the file."""
    converted = onnx.load(exported)
    del converted.metadata_props[:]
    return converted.SerializeToString()


@pytest.mark.slow
def test_equal_file_passes_with_boxes_among_the_answers(graph: DetectorGraph, model: bytes, small_frames: list[Image]) -> None:
    parity = compare(graph, model, small_frames)
    assert parity.boxes > 20
    assert parity.passed
    assert parity.frames == 3 * 4


@pytest.mark.slow
def test_file_is_proven_and_takes_any_size(checkpoint: Path, exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported)
    assert model.ir_version <= 10
    assert all(item.version <= 18 for item in model.opset_import)
    shutil.copy(exported, tmp_path / "own.onnx")
    result = export_detector(checkpoint, tmp_path / "own.onnx", licences=["ours"])
    assert result.written == [tmp_path / "own.onnx", tmp_path / "own.md"]
    assert (tmp_path / "own.onnx").read_bytes() == exported.read_bytes()
    assert "any size in multiples of 32" in (tmp_path / "own.md").read_text()
    found = verify(tmp_path / "own.onnx")
    assert found.kind == "detector"
    assert found.passed
    detector = CnnDetector(tmp_path / "own.onnx")
    for shape in ((1, 1, 3), (8, 8, 3), (33, 500, 3), (480, 640, 3), (1080, 1920, 3)):
        detector.detect(np.full(shape, 90, np.uint8))
    assert detector.smallest_face(640, 480) == pytest.approx(640 / 480 * 10)
    assert CnnDetector(tmp_path / "own.onnx", min_face_size=20).smallest_face(640, 480) == pytest.approx(20)
    run = CliRunner().invoke(main, ["verify", str(tmp_path / "own.onnx"), "--checkpoint", str(checkpoint)])
    assert run.exit_code == 0, run.output
    assert "a detector of face" in run.output


@pytest.mark.slow
def test_file_that_differs_is_not_written(model: bytes, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = onnx.load_from_string(model)
    kernel = next(item for item in changed.graph.initializer if list(item.dims) == [4, 32, 1, 1])
    weights = onnx.numpy_helper.to_array(kernel) + np.float32(0.02)
    kernel.CopyFrom(onnx.numpy_helper.from_array(weights, kernel.name))
    monkeypatch.setattr(module, "to_onnx", lambda graph: changed)
    run = CliRunner().invoke(main, [str(checkpoint), "-o", str(tmp_path / "own.onnx")])
    assert run.exit_code == 1
    assert "nothing was written" in run.output
    assert not (tmp_path / "own.onnx").exists()
    assert (tmp_path / "own.worst.png").exists()


def test_smaller_numbers_are_for_classifiers(checkpoint: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke(main, [str(checkpoint), "-o", str(tmp_path / "own.onnx"), "--compact"])
    assert run.exit_code == 2
    assert "leave them out for a detector" in run.output


def test_selftest_survives_its_text_and_notices_rubbish() -> None:
    frame = demo.draw(10)[:96, :128].copy()
    test = DetectorSelfTest(frame, np.array([[1, 2, 30, 40]], np.float32), np.array([0.5], np.float32), 0.1)
    read = DetectorSelfTest.from_json(test.to_json())
    assert np.array_equal(read.frame, frame)
    assert read.boxes.tolist() == [[1, 2, 30, 40]]
    for text in ("{}", "[", '{"frame": "", "boxes": [], "scores": [], "tolerance": 1}'):
        with pytest.raises(ValueError, match="cannot be read"):
            DetectorSelfTest.from_json(text)


@pytest.mark.slow
def test_classifier_file_is_no_detector(exported: Path) -> None:
    from maskedge.vision.classifier import MaskClassifier

    with pytest.raises(ModelError, match="expected 'classifier'"):
        MaskClassifier(exported)
