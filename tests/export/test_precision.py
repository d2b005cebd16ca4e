"""int8 and fp16: real quantisation, real sessions, and the gates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.model_card import render_card
from maskedge.vision.self_test import verify
from maskedge_export.classifier import precision
from maskedge_export.classifier.precision import Measured, gates
from maskedge_export.cli import main
from maskedge_train.data.dataset import load_dataset
from maskedge_train.data.split import split_dataset

PASSED = {"LEAST_ACCURACY": -1.0, "LEAST_SPEED": 0.0}


@pytest.fixture
def export(checkpoint: Path, faces_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Export further precisions, with the gates that a test sets."""
    split_dataset(load_dataset(faces_folder), 0).save(tmp_path / "split.json")

    def run(*options: str, **bounds: float) -> Result:
        for name, value in bounds.items():
            monkeypatch.setattr(precision, name, value)
        data = ["--data", str(faces_folder), "--split", str(tmp_path / "split.json")]
        return CliRunner().invoke(main, [str(checkpoint), "-o", str(tmp_path / "model.onnx"), *data, *options])

    return run


def test_both_are_written_when_they_pass(export, tmp_path: Path, faces_folder: Path) -> None:  # type: ignore[no-untyped-def]
    result = export("--int8", "--fp16", **PASSED)
    assert result.exit_code == 0, result.output
    crops = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8)
    full = MaskClassifier(tmp_path / "model.onnx").classify_crops(crops)
    for name, element in (("int8", onnx.TensorProto.INT8), ("fp16", onnx.TensorProto.FLOAT16)):
        path = tmp_path / f"model.{name}.onnx"
        model = onnx.load(path)
        assert any(item.data_type == element for item in model.graph.initializer)
        assert model.ir_version <= 10
        assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
        assert path.stat().st_size < (tmp_path / "model.onnx").stat().st_size
        assert np.abs(MaskClassifier(path).classify_crops(crops) - full).max() < 0.1
        assert verify(path).passed
        card = path.with_suffix(".md").read_text()
        assert card == render_card(path)
        assert f"| numbers | {name} |" in card
        assert "| passed |" in card
    report = json.loads((tmp_path / "model.precisions.json").read_text())
    assert [row["precision"] for row in report["precisions"]] == ["fp32", "int8", "fp16"]
    assert report["crops"] > 0
    assert result.output.count("| yes |") == 3


@pytest.mark.usefixtures("converted_already")
def test_what_fails_its_gate_is_not_written(export, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    result = export("--int8", LEAST_ACCURACY=-1.0, LEAST_SPEED=1000.0)
    assert result.exit_code == 1
    assert "int8 failed a gate" in result.output
    assert "not median latency" in result.output
    assert (tmp_path / "model.onnx").is_file()
    assert not (tmp_path / "model.int8.onnx").exists()


@pytest.mark.usefixtures("converted_already")
def test_force_writes_it_and_the_card_records_the_failure(export, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    result = export("--int8", "--force", LEAST_ACCURACY=-1.0, LEAST_SPEED=1000.0)
    assert result.exit_code == 0, result.output
    assert "forced: not median latency" in result.output
    assert "**FAILED**, written by --force" in (tmp_path / "model.int8.md").read_text()


def test_smaller_numbers_need_a_split(checkpoint: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [str(checkpoint), "-o", str(tmp_path / "model.onnx"), "--fp16"])
    assert result.exit_code == 2
    assert "give --split" in result.output
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize(
    ("accuracy", "speed", "passed"),
    [(0.95, 1.1, [True, True]), (0.947, 1.2, [True, True]), (0.9469, 1.2, [False, True]), (0.96, 1.09, [True, False])],
)
def test_gates(accuracy: float, speed: float, passed: list[bool]) -> None:
    baseline = Measured("fp32", 500, 0.95, 0.2, 0.3, 1.0)
    assert list(gates(Measured("int8", 200, accuracy, 0.1, 0.2, speed), baseline).values()) == passed
