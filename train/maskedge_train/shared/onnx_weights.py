"""Weights of an exported ONNX model, as the start of a further training."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from torch import nn

from maskedge.cli.common import require_extra
from maskedge.errors import ModelError
from maskedge.modelfile.contract import read_model

_FOLDED = "_bias"
"""Suffix that the graph optimiser appends to a weight's name for a folded bias."""


def is_exported(path: Path) -> bool:
    """Return True if a path names an exported model, and False for a checkpoint."""
    return path.suffix.lower() == ".onnx"


def read_weights(path: Path, net: nn.Module) -> dict[str, torch.Tensor]:
    """Read the weights of an exported model, keyed by their names in `net`.

    Args:
        path: `.onnx` file written by `edge-export`.
        net: Network whose parameter names, shapes and dtypes the file must match.

    Returns:
        Parameter name to tensor.

    Raises:
        ModelError: The file is refused, or a weight is missing or has another shape.
    """
    with require_extra("export"):
        import onnx
    initializers = onnx.load_from_string(read_model(path)).graph.initializer
    weights = {item.name.removeprefix("net."): torch.tensor(onnx.numpy_helper.to_array(item)) for item in initializers}
    folded = _folded(net)
    for key, fresh in net.state_dict().items():
        layer, _, kind = key.rpartition(".")
        if kind == "num_batches_tracked" or (folded.get(layer) in weights and kind != "bias"):
            continue
        own = weights.get(key, weights.get(folded.get(layer, "")))
        if own is None or own.shape != fresh.shape or own.dtype != fresh.dtype:
            raise ModelError(
                f"{path} has no weights to continue training from: give its checkpoint, or a float32 model that edge-export "
                "wrote without --compact."
            )
    return weights


def fill(net: nn.Module, weights: dict[str, torch.Tensor], pixels: torch.Tensor) -> None:
    """Load the weights of an exported model into a network.

    The graph optimiser folds each normalisation into the preceding convolution, unless several
    convolutions share it. To restore such a layer, `fill` measures the mean and variance of its
    input on `pixels`, layer by layer. The restored layer normalises by these statistics and then
    reverts them. Batches of another kind would later change the statistics and, with them, the
    network.

    Args:
        net: Filled in place and left in evaluation mode.
        weights: Result of `read_weights` for the same network.
        pixels: float32 `[N, 3, H, W]` in -1..1, a few hundred training pictures.
    """
    folded = {layer: weights[bias] for layer, bias in _folded(net).items() if bias in weights}
    own = {key: weights.get(key, value) for key, value in net.state_dict().items() if key.rpartition(".")[0] not in folded}
    net.load_state_dict(own, strict=False)

    def unfold(layer: nn.Module, inputs: tuple[torch.Tensor], bias: torch.Tensor) -> None:
        assert isinstance(layer, nn.BatchNorm2d)  # noqa: S101  (for the type checker)
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        layer.running_mean, layer.running_var = mean, variance
        layer.weight.data, layer.bias.data = torch.sqrt(variance + layer.eps), bias + mean

    hooks = [
        net.get_submodule(layer).register_forward_pre_hook(lambda own, inputs, bias=bias: unfold(own, inputs, bias))
        for layer, bias in folded.items()
    ]
    with torch.no_grad():
        net.eval()(pixels)
    for hook in hooks:
        hook.remove()


def _folded(net: nn.Module) -> dict[str, str]:
    """Map each normalisation layer to the name of its folded bias."""
    layers = [(name, layer) for name, layer in net.named_modules() if not list(layer.children())]
    return {
        name: f"{before}.weight{_FOLDED}"
        for (before, _), (name, layer) in itertools.pairwise(layers)
        if isinstance(layer, nn.BatchNorm2d)
    }
