"""Where a classifier's training starts, if not from fresh weights: a checkpoint, or a model that `edge-export` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from maskedge.cli.common import require_extra
from maskedge.errors import ModelError, UsageError
from maskedge.model import open_session, read_contract, read_model

from .checkpoint import load_classifier
from .nets import NETS, build

_FOLDED = "_bias"
"""The graph optimiser's name for the bias of a convolution that swallowed the normalisation behind it: its weight's, and this."""


def check_start(path: Path, name: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a file that a training cannot start from, before minutes of work.

    Args:
        path: Checkpoint of `edge-train classifier`, or `.onnx` file of `edge-export`.
        name: Net to be trained, as in `nets.NETS`.
        labels: Labels to be told apart: all or some of those that the file knows.

    Returns:
        The labels that it knows, in the order of its output.

    Raises:
        ModelError: The file is refused.
        UsageError: It is of another net, or does not know a label.
    """
    own: Any
    if _is_exported(path):
        contract = read_contract(open_session(read_model(path), str(path)), str(path))
        own, known = contract.card.get("net"), contract.labels
    else:
        _, spec, _ = load_classifier(path)
        own, known = spec.net, spec.labels
    if own != name:
        remedy = f"give --net {own}" if own in NETS else "give a file that was trained here"
        raise UsageError(f"{path} is of the net {own}, and {name} cannot go on from that: {remedy}.")
    if unknown := set(labels) - set(known):
        raise UsageError(f"{path} does not know the label {min(unknown)}, only {', '.join(known)}: it cannot go on here.")
    if _is_exported(path):
        _read_weights(path, build(name, len(known)))
    return known


def load_start(path: Path, name: str, labels: tuple[str, ...], pixels: torch.Tensor) -> nn.Module:
    """Give a net with the weights of an earlier training.

    Args:
        path: See `check_start`.
        name: See `check_start`.
        labels: See `check_start`.
        pixels: float32 `[N, 3, 64, 64]` in -1..1, some hundred crops as the training shows them: an exported model no longer has
            the statistics that its normalisation layers go on from.

    Returns:
        The net, which answers as the file does, among these labels.

    Raises:
        ModelError: The file is refused.
        UsageError: See `check_start`.
    """
    known = check_start(path, name, labels)
    net = _load_exported(path, name, len(known), pixels) if _is_exported(path) else load_classifier(path)[0]
    rows = [known.index(label) for label in labels]
    chosen = build(name, len(labels))
    # The only layer whose shape depends on the labels.
    head = _head(net)
    chosen.load_state_dict({key: value[rows] if key in head else value for key, value in net.state_dict().items()})
    return chosen


def _is_exported(path: Path) -> bool:
    return path.suffix.lower() == ".onnx"


def _head(net: nn.Module) -> set[str]:
    """Names of the weight and bias of the classification head."""
    last = [name for name, layer in net.named_modules() if isinstance(layer, nn.Linear) and not name.startswith("place")][-1]
    return {f"{last}.weight", f"{last}.bias"}


def _load_exported(path: Path, name: str, labels: int, pixels: torch.Tensor) -> nn.Module:
    net = build(name, labels)
    _fill(net, _read_weights(path, net), pixels)
    return net


def _read_weights(path: Path, net: nn.Module) -> dict[str, torch.Tensor]:
    """Read the weights of an exported model, by their names in `net`; refuse the model where one is missing or of another shape."""
    with require_extra("export"):
        import onnx
    initializers = onnx.load_from_string(read_model(path)).graph.initializer
    weights = {item.name.removeprefix("net."): torch.tensor(onnx.numpy_helper.to_array(item)) for item in initializers}
    layers = dict(net.named_modules())
    for key, fresh in net.state_dict().items():
        own = weights.get(key)
        if isinstance(layers[key.rpartition(".")[0]], nn.BatchNorm2d):
            continue
        if own is None or own.shape != fresh.shape or own.dtype != fresh.dtype:
            raise ModelError(
                f"{path} holds no weights that training can go on from: give its checkpoint, or a float32 model that edge-export "
                "wrote without --compact."
            )
    return weights


def _fill(net: nn.Module, weights: dict[str, torch.Tensor], pixels: torch.Tensor) -> None:
    """Put the weights of an exported model into a net.

    The graph optimiser folded each normalisation into the convolution before it. Unfolded, the layer must first normalise by the
    mean and the variance of what it gets, and then undo that. One look at `pixels` measures them, layer by layer; a training whose
    batches are of another kind would meet another net.
    """
    layers = dict(net.named_modules())
    names = list(layers)
    folded = {}
    for key in net.state_dict():
        layer, _, kind = key.rpartition(".")
        if not isinstance(layers[layer], nn.BatchNorm2d):
            net.get_parameter(key).data = weights[key]
        elif kind == "bias":
            folded[layer] = weights[f"{names[names.index(layer) - 1]}.weight{_FOLDED}"]

    def unfold(layer: nn.Module, inputs: tuple[torch.Tensor], bias: torch.Tensor) -> None:
        assert isinstance(layer, nn.BatchNorm2d)  # noqa: S101  (for the type checker)
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        layer.running_mean, layer.running_var = mean, variance
        layer.weight.data, layer.bias.data = torch.sqrt(variance + layer.eps), bias + mean

    hooks = [
        layers[layer].register_forward_pre_hook(lambda own, inputs, bias=bias: unfold(own, inputs, bias))
        for layer, bias in folded.items()
    ]
    with torch.no_grad():
        net.eval()(pixels)
    for hook in hooks:
        hook.remove()
