"""The parity check: a file that differs from PyTorch is not written."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

from maskedge_export.classifier import export as export_module
from maskedge_export.classifier.graph import ClassifierGraph, to_onnx
from maskedge_export.classifier.parity import compare, probe_crops
from maskedge_export.cli import main
from maskedge_train.classifier.nets import NETS, build


def spoilt(model: onnx.ModelProto, bias: tuple[float, float]) -> onnx.ModelProto:
    """A copy with another bias in the last layer."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    item = next(item for item in copy.graph.initializer if list(item.dims) == [2] and item.data_type == onnx.TensorProto.FLOAT)
    item.CopyFrom(onnx.numpy_helper.from_array(np.array(bias, np.float32), item.name))
    return copy


def test_equal_file_passes(graph: ClassifierGraph, converted: onnx.ModelProto) -> None:
    crops = probe_crops(64)
    parity = compare(graph, converted.SerializeToString(), crops)
    assert parity.passed
    assert parity.worst < 1e-5
    # Optimisation off and on, one thread and two, four batch sizes.
    assert parity.crops == 2 * 2 * 4 * len(crops)


@pytest.mark.parametrize("name", sorted(NETS))
def test_every_net_passes(name: str) -> None:
    torch.manual_seed(1)
    own = ClassifierGraph(build(name, 4), 0.8).eval()
    content = to_onnx(own, 64)
    assert content.ir_version <= 10
    assert [opset.version for opset in content.opset_import] == [18]
    assert compare(own, content.SerializeToString(), probe_crops(64)[::4]).worst <= 1e-5


def test_probes_are_varied(graph: ClassifierGraph) -> None:
    crops = probe_crops(64)
    assert crops.dtype == np.uint8
    assert {0, 255} <= {int(crop.min()) for crop in crops if crop.min() == crop.max()}
    assert len({crop.tobytes() for crop in crops}) == len(crops)


@pytest.mark.parametrize("bias", [(0.3, -0.3), (math.nan, math.nan)])
def test_changed_file_is_not_written(
    checkpoint: Path, tmp_path: Path, converted: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch, bias: tuple[float, float]
) -> None:
    monkeypatch.setattr(export_module, "to_onnx", lambda graph, size: spoilt(converted, bias))
    result = CliRunner().invoke(main, [str(checkpoint), "-o", str(tmp_path / "model.onnx")])
    assert result.exit_code == 1
    assert "nothing was written" in result.output
    assert not (tmp_path / "model.onnx").exists()
    assert (tmp_path / "model.worst.png").is_file()


def test_bad_checkpoint(tmp_path: Path) -> None:
    other = CliRunner().invoke(main, [str(tmp_path / "none.ckpt"), "-o", str(tmp_path / "model.onnx")])
    assert other.exit_code == 4


def test_real_pictures_are_spread_over_the_folder(tmp_path: Path) -> None:
    for value in range(7):
        cv2.imwrite(str(tmp_path / f"{value}.png"), np.full((20, 30, 3), value, np.uint8))
    assert export_module.real_crops(tmp_path, 8, most=5)[:, 0, 0, 0].tolist() == [0, 1, 3, 4, 6]
    assert len(export_module.real_crops(tmp_path, 8)) == 7
    (tmp_path / "empty").mkdir()
    assert export_module.real_crops(tmp_path / "empty", 8).shape == (0, 8, 8, 3)
