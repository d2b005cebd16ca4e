"""The graph of the contract: raw uint8 crops in, probabilities out."""

from __future__ import annotations

import json
import logging
import warnings

import onnx
import torch
from torch import nn

from maskedge.modelfile.contract import CONTRACT, seal
from maskedge_train.classifier.checkpoint import ClassifierSpec
from maskedge_train.classifier.nets import EdgeNet, locate
from maskedge_train.shared.checkpoint import Card
from maskedge_train.shared.pixels import normalise

OPSET = 18
IR_VERSION = 10
"""The newest that every supported onnxruntime loads."""


class ClassifierGraph(nn.Module):
    """A net with its pixel path: uint8 `[N, S, S, 3]` BGR to float32 `[N, C]` probabilities and perhaps `[N, 4]` places."""

    def __init__(self, net: nn.Module, temperature: float = 1.0) -> None:
        super().__init__()
        self.net, self.temperature = net, temperature

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, in order."""
        return ["probabilities", "places"] if isinstance(self.net, EdgeNet) else ["probabilities"]

    def forward(self, faces: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Answer for a batch of crops."""
        pixels = normalise(faces.permute(0, 3, 1, 2).to(torch.float32) / 255)
        logits, places = locate(self.net, pixels)
        probabilities = torch.softmax(logits / self.temperature, dim=1)
        return (probabilities,) if places is None else (probabilities, places)


def to_onnx(graph: ClassifierGraph, size: int) -> onnx.ModelProto:
    """Convert a classifier of `size` x `size` crops to a single-file ONNX model, still without metadata."""
    # torch says once a call that torchvision, which we do not use, is not there.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    example = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch and onnxscript: nothing a user can act on
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["faces"],
            output_names=graph.outputs,
            dynamic_shapes={"faces": {0: torch.export.Dim("N", min=1, max=4096)}},
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    model = program.model_proto
    tidy(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def finish(model: onnx.ModelProto, spec: ClassifierSpec, card: Card, selftest: str) -> bytes:
    """Write what the runtime must know of the model into it (docs/contracts.md) and give the bytes of the sealed file."""
    metadata = {
        "maskedge.contract": CONTRACT,
        "maskedge.kind": "classifier",
        "maskedge.labels": json.dumps(list(spec.labels)),
        "maskedge.crop": spec.crop.to_json(),
        "maskedge.card": json.dumps(card, sort_keys=True),
        "maskedge.selftest": selftest,
        "maskedge.sha256": "0" * 64,
    }
    onnx.helper.set_model_props(model, metadata)
    return seal(model.SerializeToString(deterministic=True))


def tidy(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes for its own debugging (stack traces, paths of this machine) and fix the versions."""
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version, model.doc_string = "maskedge", "", ""
    graph = model.graph
    graph.name = "maskedge"
    graph.doc_string = ""
    for item in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        item.ClearField("metadata_props")
    for node in graph.node:
        node.doc_string = ""


def store_matrices_as_int8(model: onnx.ModelProto, at_least: int = 100_000) -> None:
    """Store each large weight matrix as 8-bit integers with one scale a row; the arithmetic stays float32.

    ONNX Runtime folds the two added operators (cast, multiply) into a float32 constant when it opens the file, so only the
    file shrinks. The weights must have been rounded before (`round_matrices`), which makes this step exact.
    """
    for weight in [item for item in model.graph.initializer if len(item.dims) == 2 and _size(item) >= at_least]:
        values = torch.from_numpy(onnx.numpy_helper.to_array(weight).copy())
        scale = _row_scale(values)
        name = weight.name
        integers = torch.round(values / scale).to(torch.int8).numpy()
        model.graph.initializer.remove(weight)
        model.graph.initializer.extend(
            [
                onnx.numpy_helper.from_array(integers, f"{name}.int8"),
                onnx.numpy_helper.from_array(scale.numpy(), f"{name}.scale"),
            ]
        )
        nodes = [
            onnx.helper.make_node("Cast", [f"{name}.int8"], [f"{name}.float"], to=onnx.TensorProto.FLOAT),
            onnx.helper.make_node("Mul", [f"{name}.float", f"{name}.scale"], [name]),
        ]
        for node in reversed(nodes):
            model.graph.node.insert(0, node)
    onnx.checker.check_model(model, full_check=True)


@torch.no_grad()
def round_matrices(net: nn.Module, at_least: int = 100_000) -> None:
    """Round each large weight matrix `[out, in]` of `net` to the values that `store_matrices_as_int8` can keep."""
    for module in net.modules():
        if isinstance(module, nn.Linear) and module.weight.numel() >= at_least:
            scale = _row_scale(module.weight)
            module.weight.copy_(torch.round(module.weight / scale) * scale)


def _row_scale(matrix: torch.Tensor) -> torch.Tensor:
    return matrix.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / 127


def _size(item: onnx.TensorProto) -> int:
    count = 1
    for dim in item.dims:
        count *= dim
    return count
