"""int8 files of the bundled models: the packed first convolution, the gates, the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner, Result

from helpers.support import METADATA, write_model
from maskedge.modelfile.contract import default_detector, default_model
from maskedge.sources import demo
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.detectors.network import CnnDetector
from maskedge.vision.model_card import render_card
from maskedge.vision.self_test import verify
from maskedge_export.classifier import precision
from maskedge_export.cli import main
from maskedge_export.int8 import detectors
from maskedge_export.int8.packed_columns import pack_columns


def outputs(model: onnx.ModelProto, pixels: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, {model.graph.input[0].name: pixels})]


@pytest.mark.parametrize(("path", "shape"), [(default_model(), (3, 64, 64, 3)), (default_detector(), (1, 96, 160, 3))])
def test_the_packed_convolution_computes_the_same(path: Path, shape: tuple[int, ...]) -> None:
    """The border is half a byte off, which is the only difference."""
    model = onnx.load(path)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    pixels[0, :, :, :] = demo.draw(150)[100 : 100 + shape[1], 200 : 200 + shape[2]]
    before = outputs(model, pixels)
    assert pack_columns(model)
    onnx.checker.check_model(model, full_check=True)
    for old, new in zip(before, outputs(model, pixels), strict=True):
        assert new.shape == old.shape
        assert new == pytest.approx(old, abs=0.05)


def test_a_model_of_another_form_stays_as_it_is() -> None:
    model = onnx.load(default_model())
    next(node for node in model.graph.node if node.op_type == "Conv").attribute.append(
        onnx.helper.make_attribute("auto_pad", "NOTSET")
    )
    convolution = next(node for node in model.graph.node if node.op_type == "Conv")
    strides = next(attribute for attribute in convolution.attribute if attribute.name == "strides")
    strides.ints[:] = [1, 1]
    content = model.SerializeToString()
    assert not pack_columns(model)
    assert model.SerializeToString() == content


@pytest.fixture
def quantise(scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Quantise a bundled model on composite faces, with the speed that a gate demands."""

    def run(path: Path, *options: str, speed: float = 0.0) -> Result:
        for module in (precision, detectors):
            monkeypatch.setattr(module, "LEAST_SPEED", speed)
        monkeypatch.setattr(precision, "LEAST_ACCURACY", -1.0)
        monkeypatch.setattr(detectors, "LEAST_FOUND", -1.0)
        monkeypatch.setattr(detectors, "MOST_FALSE_ALARMS", 100.0)
        data = ["--scenes", str(scenes_folder / "boxes.csv"), "--backgrounds", str(scenes_folder / "backgrounds")]
        return CliRunner().invoke(main, ["int8", str(path), "-o", str(tmp_path / "own.onnx"), *data, *options])

    return run


@pytest.mark.parametrize("path", [default_model(), default_detector()], ids=["classifier", "detector"])
def test_a_file_that_passes_is_written_and_proven(quantise, path: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "MODELS.json").write_text("{}")
    result = quantise(path)
    assert result.exit_code == 0, result.output
    own = tmp_path / "own.onnx"
    model = onnx.load(own)
    assert any(item.data_type == onnx.TensorProto.INT8 for item in model.graph.initializer)
    assert model.ir_version <= 10
    assert max(opset.version for opset in model.opset_import) <= 18
    assert own.stat().st_size < 0.65 * path.stat().st_size
    found = verify(own)
    assert found.passed
    assert found.worst < 1e-3
    card = own.with_suffix(".md").read_text()
    assert card == render_card(own)
    assert "| numbers | int8 |" in card
    assert "those of the float32 file" in card
    entry = json.loads((tmp_path / "MODELS.json").read_text())["own.onnx"]
    assert entry["quantisation"]["precision"] == "int8"
    assert entry["bytes"] == own.stat().st_size


def with_card(path: Path, **changes: object) -> Path:
    """Write the bundled classifier with another card, as another program might write it."""
    model = onnx.load(default_model())
    metadata = {entry.key: entry.value for entry in model.metadata_props if entry.key != "maskedge.sha256"}
    card = json.loads(metadata["maskedge.card"]) | changes
    onnx.helper.set_model_props(model, metadata | {"maskedge.card": json.dumps(card)})
    onnx.save(model, path)
    return path


def test_a_prior_stays_in_float32(quantise, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    result = quantise(with_card(tmp_path / "odd.onnx", versions="1.0"))
    assert result.exit_code == 0, result.output
    graph = onnx.load(tmp_path / "own.onnx").graph
    floats = {item.name for item in graph.initializer if item.data_type == onnx.TensorProto.FLOAT}
    assert {"prior.faces", "prior.weighted", "prior.row"} <= floats
    probabilities = MaskClassifier(tmp_path / "own.onnx").classify_and_locate_crops(demo.draw(150)[None, 100:164, 200:264])[0]
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert "`incorrect_mask` -0.9" in (tmp_path / "own.md").read_text()


def test_the_same_faces_are_found(quantise, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert quantise(default_detector()).exit_code == 0
    image = demo.draw(150)
    floats, ints = (CnnDetector(path).detect(image) for path in (default_detector(), tmp_path / "own.onnx"))
    assert floats.scores is not None
    assert ints.scores is not None
    assert (floats.scores > 0.5).sum() == (ints.scores > 0.5).sum() >= 3


def test_a_file_that_fails_a_gate_is_not_written(quantise, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    result = quantise(default_detector(), speed=1000.0)
    assert result.exit_code == 1
    assert "FAILED" in result.output
    assert "nothing was written" in result.output
    assert not (tmp_path / "own.onnx").exists()
    forced = quantise(default_detector(), "--force", speed=1000.0)
    assert forced.exit_code == 0, forced.output
    assert "**FAILED**, written by --force" in (tmp_path / "own.md").read_text()


def test_an_int8_file_is_not_quantised_again(quantise) -> None:  # type: ignore[no-untyped-def]
    result = quantise(default_model().with_suffix(".int8.onnx"))
    assert result.exit_code == 4
    assert "give the float32 file" in result.output


@pytest.mark.parametrize("facts", [{"by": "another program"}, "int8"])
def test_a_card_of_another_program_is_understood(quantise, facts: object, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    result = quantise(with_card(tmp_path / "odd.onnx", quantisation=facts))
    assert result.exit_code == 4
    assert "is quantised already" in result.output


def test_pictures_without_a_face_of_the_model_are_too_few(quantise, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    other = METADATA | {"maskedge.labels": '["day", "night"]'}
    result = quantise(write_model(tmp_path / "other.onnx", metadata=other, shape=("N", 64, 64, 3)))
    assert result.exit_code == 2
    assert "no face with a label" in result.output


def test_an_adopted_classifier_is_not_quantised(quantise, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """It takes crops of its own size and rule, and the data is cut as for the classifiers of this project."""
    result = quantise(write_model(tmp_path / "adopted.onnx", shape=("N", 32, 32, 3)))
    assert result.exit_code == 4
    assert "takes other crops" in result.output


def test_it_needs_labelled_pictures(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["int8", str(default_model()), "-o", str(tmp_path / "own.onnx")])
    assert result.exit_code == 2
    assert "give --scenes" in result.output


def test_the_bundled_files_agree_with_float32() -> None:
    image = demo.draw(150)
    boxes = [face.box for face in demo.truth(150)]
    path = default_model()
    floats, ints = (MaskClassifier(own).classify(image, boxes) for own in (path, path.with_suffix(".int8.onnx")))
    assert ints == pytest.approx(floats, abs=0.1)
    assert (ints.argmax(axis=1) == floats.argmax(axis=1)).all()
