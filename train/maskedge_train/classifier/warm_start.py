"""Where a classifier's training starts, if not from fresh weights: a checkpoint, or a model that `edge-export` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from maskedge.errors import UsageError
from maskedge.modelfile.contract import open_model, read_contract
from maskedge.types import NOT_A_FACE
from maskedge_train.onnx_weights import fill, is_exported, read_weights

from .checkpoint import load_classifier
from .net2net import GROWS, grow
from .nets import NETS, EdgeNet, build


def check_start(path: Path, name: str, labels: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Refuse a file that a training cannot start from, before minutes of work.

    Args:
        path: Checkpoint of `edge-train classifier`, or `.onnx` file of `edge-export`.
        name: Net to be trained, as in `nets.NETS`.
        labels: Labels to be told apart: all or some of those that the file knows; and `not_a_face`, which is learned afresh where
            it does not.

    Returns:
        The net that it is of, `name` or a smaller one that can grow to it, and its labels, in the order of its output.

    Raises:
        ModelError: The file is refused.
        UsageError: It is of a net that cannot grow to this one, or does not know a label.
    """
    own: Any
    if is_exported(path):
        contract = read_contract(open_model(path), str(path))
        own, known = contract.card.get("net"), contract.labels
    else:
        _, spec, _ = load_classifier(path)
        own, known = spec.net, spec.labels
    if own not in (name, GROWS.get(name)):
        remedy = f"give --net {own}" if own in NETS else "give a file that was trained here"
        raise UsageError(f"{path} is of the net {own}, and {name} cannot go on from that: {remedy}.")
    if unknown := set(labels) - {*known, NOT_A_FACE}:
        raise UsageError(f"{path} does not know the label {min(unknown)}, only {', '.join(known)}: it cannot go on here.")
    if is_exported(path):
        read_weights(path, build(own, len(known)))
    return own, known


def load_start(path: Path, name: str, labels: tuple[str, ...], pixels: torch.Tensor) -> nn.Module:
    """Give a net with the weights of an earlier training.

    Args:
        path: See `check_start`.
        name: See `check_start`.
        labels: See `check_start`.
        pixels: float32 `[N, 3, 64, 64]` in -1..1, some hundred crops as the training shows them: an exported model no longer has
            the statistics that its normalisation layers go on from.

    Returns:
        The net, which answers as the file does, among these labels; nearly so, if it grew.

    Raises:
        ModelError: The file is refused.
        UsageError: See `check_start`.
    """
    own, known = check_start(path, name, labels)
    net = _load_exported(path, own, len(known), pixels) if is_exported(path) else load_classifier(path)[0]
    chosen = build(own, len(labels))
    state = net.state_dict()
    # The only layer whose shape depends on the labels.
    for key in _head(net):
        fresh = chosen.state_dict()[key].clone()
        for row, label in enumerate(labels):
            if label in known:
                fresh[row] = state[key][known.index(label)]
        state[key] = fresh
    chosen.load_state_dict(state)
    if own == name:
        return chosen
    larger = build(name, len(labels))
    assert isinstance(chosen, EdgeNet) and isinstance(larger, EdgeNet)  # noqa: S101  (for the type checker)
    grow(chosen, larger, pixels)
    return larger


def _head(net: nn.Module) -> set[str]:
    """Names of the weight and bias of the classification head."""
    last = [name for name, layer in net.named_modules() if isinstance(layer, nn.Linear) and not name.startswith("place")][-1]
    return {f"{last}.weight", f"{last}.bias"}


def _load_exported(path: Path, name: str, labels: int, pixels: torch.Tensor) -> nn.Module:
    net = build(name, labels)
    fill(net, read_weights(path, net), pixels)
    return net
