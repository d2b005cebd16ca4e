"""Helpers of several tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

METADATA = {
    "maskedge.contract": "1",
    "maskedge.kind": "classifier",
    "maskedge.labels": '["with_mask", "without_mask"]',
    "maskedge.crop": '{"margin": 0.1, "square": true}',
    "maskedge.card": "{}",
}


def write_model(
    path: Path,
    *,
    metadata: dict[str, str] | None = None,
    input_name: str = "faces",
    dtype: int = TensorProto.UINT8,
    shape: tuple[Any, ...] = ("N", 32, 32, 3),
    outputs: int = 2,
    output_name: str = "probabilities",
    ir_version: int = 10,
) -> Path:
    """A tiny classifier that keeps the contract, but for what is asked otherwise: it answers by mean brightness."""
    pixel = TensorProto.FLOAT
    weights = np.linspace(-1, 1, outputs, dtype=np.float32).reshape(1, outputs)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", [input_name], ["float"], to=pixel),
            helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "scale"], ["small"]),
            helper.make_node("Unsqueeze", ["small", "last"], ["column"]),
            helper.make_node("MatMul", ["column", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], [output_name], axis=1),
        ],
        "tiny",
        [helper.make_tensor_value_info(input_name, dtype, shape)],
        [helper.make_tensor_value_info(output_name, pixel, ("N", outputs))],
        [
            onnx.numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"),
            onnx.numpy_helper.from_array(np.array(0.1, np.float32), "scale"),
            onnx.numpy_helper.from_array(np.array([1], np.int64), "last"),
            onnx.numpy_helper.from_array(weights, "weights"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=ir_version)
    helper.set_model_props(model, METADATA if metadata is None else metadata)
    path.write_bytes(model.SerializeToString())
    return path


def command_line(arguments: Sequence[str | Path]) -> list[str]:
    """The installed script beside this Python."""
    return [str(Path(sys.executable).parent / arguments[0]), *map(str, arguments[1:])]


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """The environment without a display."""
    kept = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return kept | (more or {})
