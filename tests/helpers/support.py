"""Helpers that several tests share."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper

from maskedge.sources import demo
from maskedge.types import Image

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""
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
    place: Sequence[float] | None = None,
) -> Path:
    """Write a tiny model that classifies by mean brightness.

    It follows the contract except where the arguments differ from it.

    With `place`, the model also returns this place for every face.
    """
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
    if place is not None:
        graph.node.extend(
            [
                helper.make_node("Mul", ["column", "nothing"], ["zeros"]),
                helper.make_node("Add", ["zeros", "place"], ["places"]),
            ]
        )
        graph.initializer.extend(
            [
                onnx.numpy_helper.from_array(np.zeros((1, len(place)), np.float32), "nothing"),
                onnx.numpy_helper.from_array(np.array([place], np.float32), "place"),
            ]
        )
        graph.output.append(helper.make_tensor_value_info("places", pixel, ("N", len(place))))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=ir_version)
    helper.set_model_props(model, METADATA if metadata is None else metadata)
    path.write_bytes(model.SerializeToString())
    return path


def write_detector(
    path: Path, *, size: tuple[Any, Any] = (40, 30), metadata: dict[str, str] | None = None, output_name: str = "boxes"
) -> Path:
    """Write a tiny detector that follows the contract. Each bright pixel is a face of one pixel."""
    width, height = size
    nodes = [
        helper.make_node("Cast", ["frame"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "three"], ["mean"], keepdims=0),
        helper.make_node("Greater", ["mean", "bright"], ["found"]),
        helper.make_node("NonZero", ["found"], ["places"]),
        helper.make_node("Transpose", ["places"], ["rows"], perm=[1, 0]),
        helper.make_node("Cast", ["rows"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["numbers", "columns"], ["corner"], axis=1),
        helper.make_node("Add", ["corner", "one"], ["opposite"]),
        helper.make_node("Concat", ["corner", "opposite"], [output_name], axis=1),
        helper.make_node("ReduceSum", [output_name, "last"], ["sums"], keepdims=0),
        helper.make_node("Mul", ["sums", "small"], ["parts"]),
        helper.make_node("Add", ["parts", "sure"], ["scores"]),
    ]
    constants = {
        "three": np.array([3], np.int64), "last": np.array([1], np.int64), "columns": np.array([2, 1], np.int64),
        "bright": np.array(200, np.float32), "one": np.array(1, np.float32),
        "small": np.array(1e-5, np.float32),
        "sure": np.array(0.99, np.float32),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, (1, height, width, 3))],
        [
            helper.make_tensor_value_info(output_name, TensorProto.FLOAT, ("K", 4)),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("K",)),
        ],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    own = {"maskedge.contract": "1", "maskedge.kind": "detector", "maskedge.labels": '["face"]'}
    helper.set_model_props(model, own if metadata is None else metadata)
    path.write_bytes(model.SerializeToString())
    return path


def command_line(arguments: Sequence[str | Path]) -> list[str]:
    """Return the command line of the installed script beside this Python."""
    return [str(Path(sys.executable).parent / arguments[0]), *map(str, arguments[1:])]


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment without a display."""
    kept = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return kept | (more or {})


def _ports() -> Iterator[int]:
    # Under those that the system gives to a program that asks for any, over those that a browser refuses, and apart from those
    # of the other processes of a run.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return itertools.cycle(np.random.default_rng().permutation(np.arange(11_000 + worker % 16, 32_000, 16)).tolist())


_PORTS = _ports()


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """Return an unused port of the loopback interface.

    It is still free when a server has started, seconds later: neither the system nor another process of the tests gives it to
    anybody in the meantime.
    """
    for port in _PORTS:
        with contextlib.suppress(OSError), socket.socket(type=kind) as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the ports never end")


def texture(shape: tuple[int, int], random: np.random.Generator) -> Image:
    """Return a background of soft random colours."""
    coarse = random.integers(0, 256, (7, 7, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def composite(label: str, random: np.random.Generator) -> Image:
    """Return a composite face, rotated, scaled and tinted, uint8 `[160, 160, 3]`."""
    tiles, labels, _, _ = demo._atlas()
    own = [tile for tile, name in zip(tiles, labels, strict=True) if name == label.replace("incorrect_mask", "without_mask")]
    tile = cv2.resize(own[int(random.integers(len(own)))], (160, 160))
    if label == "incorrect_mask":
        cv2.rectangle(tile, (45, 112), (115, 145), (200, 170, 120), -1)
    matrix = cv2.getRotationMatrix2D((80, 80), random.uniform(-12, 12), random.uniform(0.9, 1.2))
    rotated = cv2.warpAffine(tile, matrix, (160, 160), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(np.clip(rotated * 0.75 + 0.4 * (texture((160, 160), random) - 128.0) + 20, 0, 255), np.uint8)
