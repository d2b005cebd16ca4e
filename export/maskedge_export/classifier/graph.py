"""The graph of a classifier file: raw uint8 crops in, probabilities out."""

from __future__ import annotations

from math import prod

import onnx
import torch
from torch import nn

from maskedge_train.classifier.nets import EdgeNet, locate
from maskedge_train.shared.pixels import normalise

from ..onnx_file import torch_to_onnx


class ClassifierGraph(nn.Module):
    """A network with its pixel path.

    The input is uint8 `[N, S, S, 3]`, BGR. The output is the probabilities, float32 `[N, C]`. An
    `EdgeNet` also returns the place of the face in the crop, float32 `[N, 4]`.

    Args:
        net: The network.
        temperature: Divisor of the logits (temperature scaling, Guo et al. 2017).
    """

    def __init__(self, net: nn.Module, temperature: float = 1.0) -> None:
        super().__init__()
        self.net, self.temperature = net, temperature

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, in order."""
        return ["probabilities", "places"] if isinstance(self.net, EdgeNet) else ["probabilities"]

    def forward(self, faces: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs for a batch of crops."""
        pixels = normalise(faces.permute(0, 3, 1, 2).to(torch.float32) / 255)
        logits, places = locate(self.net, pixels)
        probabilities = torch.softmax(logits / self.temperature, dim=1)
        return (probabilities,) if places is None else (probabilities, places)


def to_onnx(graph: ClassifierGraph, size: int) -> onnx.ModelProto:
    """Convert a classifier of `size` x `size` crops to an ONNX model without metadata."""
    example = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    batch = torch.export.Dim("N", min=1, max=4096)
    model = torch_to_onnx(graph, example, "faces", graph.outputs, {0: batch})
    onnx.checker.check_model(model, full_check=True)
    return model


def store_matrices_as_int8(model: onnx.ModelProto, at_least: int = 100_000) -> None:
    """Store each large weight matrix as 8-bit integers with one scale per row.

    The arithmetic stays float32. ONNX Runtime folds the two added operators (Cast, Mul) into a
    constant when it opens the file, so only the file shrinks. Call `round_matrices` on the network
    first; this step is then exact.

    Args:
        model: The model. It is changed.
        at_least: Elements from which a matrix counts as large.
    """
    for weight in [item for item in model.graph.initializer if len(item.dims) == 2 and prod(item.dims) >= at_least]:
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
    """Round each large weight matrix `[out, in]` to values that int8 can store exactly."""
    for module in net.modules():
        if isinstance(module, nn.Linear) and module.weight.numel() >= at_least:
            scale = _row_scale(module.weight)
            module.weight.copy_(torch.round(module.weight / scale) * scale)


def _row_scale(matrix: torch.Tensor) -> torch.Tensor:
    return matrix.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / 127
