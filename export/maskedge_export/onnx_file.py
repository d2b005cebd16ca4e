"""Parts that classifier and detector files share: versions, metadata, sessions, catalogue."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from maskedge.errors import ModelError
from maskedge.modelfile.contract import CATALOGUE, CONTRACT, read_catalogue, seal
from maskedge.support.files import write_file
from maskedge.types import Image
from maskedge.vision.model_card import render_card

from .outputs import REMEDY

OPSET = 18
IR_VERSION = 10
"""The newest IR version that every supported onnxruntime loads."""
TOLERANCE = {"fp32": 1e-4, "fp16": 5e-3, "int8": 5e-2}
"""Largest admitted difference of a self-test probability on another machine, by precision.

Integer kernels round differently from processor to processor.
"""
OPTIMISATION_LEVELS = (
    onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
)
"""Levels of graph optimisation at which a file must agree with PyTorch."""


_LEAST_ROUNDED = 256
"""Number of weights of a tensor from which they are rounded."""


def torch_to_onnx(
    graph: nn.Module, example: torch.Tensor, inputs: str, outputs: Sequence[str], dynamic: Mapping[int, Any]
) -> onnx.ModelProto:
    """Convert a PyTorch module with one input to a single-file ONNX model without metadata.

    Args:
        graph: The module.
        example: An input.
        inputs: Name of the input.
        outputs: Names of the outputs.
        dynamic: Dimensions of the input that stay open (`torch.export.Dim`), by axis.
    """
    # torch logs on each call that torchvision is missing; this project does not use torchvision.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch and onnxscript, out of a user's control
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[inputs],
            output_names=list(outputs),
            dynamic_shapes={inputs: dict(dynamic)},
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    model = program.model_proto
    tidy(model)
    round_weights(model)
    return model


def round_weights(model: onnx.ModelProto) -> None:
    """Round float32 weights to 16 significant bits, so that a compressed file is a quarter smaller.

    The relative error of a weight is 2^-17 at most. The parity check covers it.

    Args:
        model: The model. It is changed.
    """
    for tensor in model.graph.initializer:
        weights = onnx.numpy_helper.to_array(tensor)
        if weights.dtype == np.float32 and weights.size >= _LEAST_ROUNDED:
            bits = np.ascontiguousarray(weights).view(np.uint32)
            rounded = ((bits + 0x80) & np.uint32(0xFFFFFF00)).view(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(rounded, tensor.name))


def tidy(model: onnx.ModelProto) -> None:
    """Set the versions and remove the exporter's debug data (stack traces, local paths)."""
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version, model.doc_string = "maskedge", "", ""
    graph = model.graph
    graph.name = "maskedge"
    graph.doc_string = ""
    for item in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        item.ClearField("metadata_props")
    for node in graph.node:
        node.doc_string = ""


def seal_model(
    model: onnx.ModelProto, kind: str, labels: Sequence[str], card: Mapping[str, Any], selftest: str, **more: str
) -> bytes:
    """Write the metadata of the contract (docs/contracts.md) into a model.

    Args:
        model: The model. It is changed.
        kind: `classifier` or `detector`.
        labels: Labels in output order.
        card: The model card, JSON types.
        selftest: The self-test as JSON.
        more: Further metadata, named without the prefix `maskedge.`.

    Returns:
        The bytes of the sealed file.
    """
    metadata = {
        "maskedge.contract": CONTRACT,
        "maskedge.kind": kind,
        "maskedge.labels": json.dumps(list(labels)),
        **{f"maskedge.{name}": value for name, value in more.items()},
        "maskedge.card": json.dumps(card, sort_keys=True),
        "maskedge.selftest": selftest,
        "maskedge.sha256": "0" * 64,
    }
    onnx.helper.set_model_props(model, metadata)
    return seal(model.SerializeToString(deterministic=True))


def write_model(output: Path, content: bytes, entry: Mapping[str, Any]) -> list[Path]:
    """Write a model file and its card; update the MODELS.json in the same folder, if there is one.

    A device's checks come first, so that a file that a device refuses replaces nothing.

    Args:
        output: The .onnx file. The card has the suffix .md.
        content: Bytes of the sealed file.
        entry: The file's entry in MODELS.json.

    Returns:
        The model file and the card.

    Raises:
        ModelError: The runtime refuses the file, its card cannot be shown, or MODELS.json cannot be
            read; nothing is written.
        OutputError: A file cannot be written.
    """
    text = _render(output, content)
    listed = output.with_name(CATALOGUE).exists()
    catalogue = {**read_catalogue(output.parent), output.name: entry}
    write_file(output, content, remedy=REMEDY)
    if listed:
        write_file(output.with_name(CATALOGUE), json.dumps(catalogue, indent=1, sort_keys=True) + "\n", remedy=REMEDY)
    card = output.with_suffix(".md")
    write_file(card, text, remedy=REMEDY)
    return [output, card]


def _render(output: Path, content: bytes) -> str:
    """Load a model as a device does, and return its card.

    Raises:
        ModelError: The file is refused, or its card cannot be shown.
        OutputError: The temporary copy cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="maskedge-") as folder:
        trial = Path(folder) / output.name
        write_file(trial, content, remedy="free some space there, or set TMPDIR to another folder")
        try:
            return render_card(trial)
        except ModelError as error:
            raise ModelError(str(error).replace(str(trial), str(output))) from error


def reduced_precision(card: Mapping[str, Any]) -> str | None:
    """Return the precision of a file of reduced precision, such as `int8`; None for float32.

    Args:
        card: Card of the file. Another program may have written it.
    """
    quantised = card.get("quantisation")
    if not quantised:
        return None
    return str(quantised.get("precision", "quantised")) if isinstance(quantised, Mapping) else "quantised"


def coarse(image: Image) -> Image:
    """Return a picture in steps of 32, for a self-test. Its PNG takes a fifth of the bytes."""
    return np.asarray((image & np.uint8(0xE0)) | np.uint8(0x10), np.uint8)


def write_worst_input(output: Path, image: Image) -> Path:
    """Save the input with the largest difference as .worst.png, and return its path.

    Raises:
        OutputError: The file cannot be written.
    """
    path = output.with_suffix(".worst.png")
    write_file(path, cv2.imencode(".png", image)[1].tobytes(), remedy=REMEDY)
    return path


def open_cpu_session(
    model: bytes,
    level: onnxruntime.GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    threads: int = 1,
) -> onnxruntime.InferenceSession:
    """Open a model on the CPU, even if the installed onnxruntime has other execution providers."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
