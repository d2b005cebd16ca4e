"""Weights of a model that `edge-export` wrote, for a training to go on from."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from torch import nn

from maskedge.cli.common import require_extra
from maskedge.errors import ModelError
from maskedge.modelfile.contract import read_model

_FOLDED = "_bias"
"""The graph optimiser's name for the bias of a convolution that swallowed the normalisation behind it: its weight's, and this."""


def is_exported(path: Path) -> bool:
    """Tell an exported model from a checkpoint, by its name."""
    return path.suffix.lower() == ".onnx"


def read_weights(path: Path, net: nn.Module) -> dict[str, torch.Tensor]:
    """Read the weights of an exported model, by their names in `net`.

    Raises:
        ModelError: The file is refused, or a weight is missing or of another shape.
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
                f"{path} holds no weights that training can go on from: give its checkpoint, or a float32 model that edge-export "
                "wrote without --compact."
            )
    return weights


def fill(net: nn.Module, weights: dict[str, torch.Tensor], pixels: torch.Tensor) -> None:
    """Put the weights of an exported model into a net.

    The graph optimiser folded each normalisation into the convolution before it, unless several convolutions share it. Unfolded,
    the layer must first normalise by the mean and the variance of what it gets, and then undo that. One look at `pixels` measures
    them, layer by layer; a training whose batches are of another kind would meet another net.

    Args:
        net: Filled in place, and left in evaluation mode.
        weights: What `read_weights` gave for such a net.
        pixels: float32 `[N, 3, H, W]` in -1..1, some hundred pictures as the training shows them.
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
    """Normalisation layers, and the name that the bias of the convolution before has when it swallowed them."""
    layers = [(name, layer) for name, layer in net.named_modules() if not list(layer.children())]
    return {
        name: f"{before}.weight{_FOLDED}"
        for (before, _), (name, layer) in itertools.pairwise(layers)
        if isinstance(layer, nn.BatchNorm2d)
    }
