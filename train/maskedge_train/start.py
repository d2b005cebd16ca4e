"""Where a classifier's training starts, if not from fresh weights: a checkpoint, or a model that `edge-export` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from maskedge.cli.common import require_extra
from maskedge.errors import ModelError, UsageError
from maskedge.model import open_session, read_contract, read_model
from maskedge.types import Image

from .checkpoint import load_classifier
from .classifier import predict
from .nets import build

_FOLDED = "_bias"
"""The graph optimiser's name for the bias of a convolution that swallowed the normalisation behind it: its weight's, and this."""


def load_start(path: Path, name: str, labels: tuple[str, ...], crops: Image) -> nn.Module:
    """Give a net with the weights of an earlier training.

    Args:
        path: Checkpoint of `edge-train classifier`, or `.onnx` file of `edge-export`.
        name: Net to be trained, as in `nets.NETS`.
        labels: Labels to be told apart: all or some of those that the file knows.
        crops: uint8 `[N, 64, 64, 3]`, BGR, some hundred of the crops to learn from: an exported model no longer has the statistics
            that its normalisation layers go on from.

    Returns:
        The net, which answers as the file does, among these labels.

    Raises:
        ModelError: The file is refused.
        UsageError: It is of another net, or does not know a label.
    """
    net, own, known = _load_exported(path, crops) if path.suffix.lower() == ".onnx" else _load_checkpoint(path)
    if own != name:
        raise UsageError(f"{path} is a {own}, and a {name} cannot go on from that: give --net {own}.")
    if unknown := set(labels) - set(known):
        raise UsageError(
            f"{path} does not know the label {min(unknown)}, only {', '.join(known)}: it cannot go on with these data."
        )
    rows = [known.index(label) for label in labels]
    chosen = build(name, len(labels))
    # What answers for the labels is the last layer, the only one whose shape depends on them.
    answering = _answering(net)
    chosen.load_state_dict({key: value[rows] if key in answering else value for key, value in net.state_dict().items()})
    return chosen


def _answering(net: nn.Module) -> set[str]:
    """Names of the weight and bias of the layer that answers for the labels."""
    last = [name for name, layer in net.named_modules() if isinstance(layer, nn.Linear) and not name.startswith("place")][-1]
    return {f"{last}.weight", f"{last}.bias"}


def _load_checkpoint(path: Path) -> tuple[nn.Module, str, tuple[str, ...]]:
    net, spec, _ = load_classifier(path)
    return net, spec.net, spec.labels


def _load_exported(path: Path, crops: Image) -> tuple[nn.Module, str, tuple[str, ...]]:
    with require_extra("export"):
        import onnx
    content = read_model(path)
    contract = read_contract(open_session(content, str(path)), str(path))
    initializers = onnx.load_from_string(content).graph.initializer
    weights = {item.name.removeprefix("net."): onnx.numpy_helper.to_array(item) for item in initializers}
    name: Any = contract.card.get("net")
    try:
        net = build(name, len(contract.labels))
        _fill(net, weights, crops)
    except (KeyError, TypeError, RuntimeError, UsageError) as error:
        raise ModelError(
            f"{path} holds no weights that training can go on from: give its checkpoint, or a float32 model that edge-export wrote "
            "without --compact."
        ) from error
    return net, name, contract.labels


def _fill(net: nn.Module, weights: dict[str, np.ndarray[Any, Any]], crops: Image) -> None:
    """Put the weights of an exported model into a net.

    The graph optimiser folded each normalisation into the convolution before it. Unfolded, the layer must first normalise by the
    mean and the variance of what it gets, and then undo that: one look at the crops measures them, layer by layer.
    """
    layers = dict(net.named_modules())
    names = list(layers)
    folded = {}
    for key in net.state_dict():
        layer, _, kind = key.rpartition(".")
        if not isinstance(layers[layer], nn.BatchNorm2d):
            net.get_parameter(key).data = torch.tensor(weights[key]).reshape(net.get_parameter(key).shape)
        elif kind == "bias":
            folded[layer] = torch.tensor(weights[f"{names[names.index(layer) - 1]}.weight{_FOLDED}"])

    def unfold(layer: nn.Module, inputs: tuple[torch.Tensor], bias: torch.Tensor) -> None:
        assert isinstance(layer, nn.BatchNorm2d)  # noqa: S101  (for the type checker)
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        layer.running_mean, layer.running_var = mean, variance
        layer.weight.data, layer.bias.data = torch.sqrt(variance + layer.eps), bias + mean

    hooks = [
        layers[layer].register_forward_pre_hook(lambda own, inputs, bias=bias: unfold(own, inputs, bias))
        for layer, bias in folded.items()
    ]
    predict(net, crops)
    for hook in hooks:
        hook.remove()
