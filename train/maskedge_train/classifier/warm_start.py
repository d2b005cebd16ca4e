"""Warm start of a classifier's training from a checkpoint, an exported model or ImageNet weights."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from maskedge.errors import UsageError
from maskedge.modelfile.contract import open_model, read_contract
from maskedge.support.files import write_file
from maskedge.types import NOT_A_FACE
from maskedge_train.shared.onnx_weights import fill, is_exported, read_weights
from maskedge_train.teachers.efficientnet import EfficientNetLite
from maskedge_train.teachers.imagenet import is_imagenet, load_imagenet

from .checkpoint import load_classifier
from .net2net import WIDENS, widen
from .nets import NETS, EdgeNet, build

SEEN = "seen.npy"
"""File of the hashes of the pictures that a model was trained on."""


def check_start(path: Path, name: str, labels: tuple[str, ...], *, partial: bool = True) -> tuple[str, tuple[str, ...]]:
    """Check a warm-start file before the training starts.

    Args:
        path: Checkpoint of `edge-train classifier`, `.onnx` file of `edge-export`, or `.pth` file of
            ImageNet weights for an EfficientNet-Lite.
        name: Network to train, a name in `nets.NETS`.
        labels: Labels to learn: all or some of the file's labels. `not_a_face` is learned afresh if
            the file lacks it. ImageNet weights have none of them, and all are learned afresh.
        partial: Accept a file that lacks weights of the network: a smaller network that can be
            widened, or ImageNet weights.

    Returns:
        The file's network, which is `name` or a smaller network that can be widened to it, and its
        labels in output order: none for ImageNet weights.

    Raises:
        ModelError: The file is refused.
        UsageError: The file's network cannot be widened to `name`, or the file lacks a label.
    """
    if is_imagenet(path):
        if not partial:
            raise UsageError(f"{path} holds ImageNet weights, which can only be given to --init.")
        _load_imagenet(path, name, len(labels))
        return name, ()
    own: Any
    if is_exported(path):
        contract = read_contract(open_model(path), str(path))
        own, known = contract.card.get("net"), contract.labels
    else:
        _, spec, _ = load_classifier(path)
        own, known = spec.net, spec.labels
    if own not in (name, WIDENS.get(name) if partial else name):
        remedy = f"give --net {own}" if own in NETS else "give a file of this project"
        raise UsageError(f"{path} holds the net {own}, and {name} cannot start from it: {remedy}.")
    if unknown := set(labels) - {*known, NOT_A_FACE}:
        raise UsageError(
            f"{path} lacks the label {min(unknown)}; it has {', '.join(known)}: give a file with all labels of the data."
        )
    if is_exported(path):
        read_weights(path, build(own, len(known)))
    return own, known


def find_seen_hashes(path: Path) -> npt.NDArray[np.uint64] | None:
    """Return perceptual hashes of the pictures that a warm-start file was trained on, uint64 `[M]`.

    A training writes them beside its checkpoints. Those of the bundled model are beside this
    module, under the first digits of the model's SHA-256.

    Args:
        path: See `check_start`.

    Returns:
        The hashes; None if there are none for this file.
    """
    bundled = Path(__file__).parent / f"{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}.{SEEN}"
    own = bundled if bundled.is_file() else path.parent / SEEN
    try:
        hashes = np.load(own, allow_pickle=False)
    except (OSError, ValueError):
        return None
    return hashes if hashes.dtype == np.uint64 and hashes.ndim == 1 else None


def save_seen_hashes(path: Path, hashes: npt.NDArray[np.uint64]) -> None:
    """Write hashes for `find_seen_hashes`.

    Raises:
        OutputError: The file cannot be written.
    """
    content = io.BytesIO()
    np.save(content, np.unique(hashes))
    write_file(path, content.getvalue())


def initial_temperature(path: Path) -> float:
    """Return the temperature of a warm-start file (`check_start`), 1 if the file does not state one.

    Raises:
        ModelError: The file is refused.
    """
    if is_imagenet(path):
        return 1.0
    if is_exported(path):
        return float(read_contract(open_model(path), str(path)).card.get("temperature", 1.0))
    return load_classifier(path)[1].temperature


def load_start(path: Path, name: str, labels: tuple[str, ...], pixels: torch.Tensor) -> nn.Module:
    """Build a network with the weights of an earlier training.

    Args:
        path: See `check_start`.
        name: See `check_start`.
        labels: See `check_start`.
        pixels: float32 `[N, 3, 64, 64]` in -1..1, a few hundred training crops. An exported model
            lacks the statistics of its normalisation layers, which are measured on these crops.

    Returns:
        A network that predicts like the file, restricted to these labels. A widened network
        predicts nearly the same. With ImageNet weights, the last layer is fresh.

    Raises:
        ModelError: The file is refused.
        UsageError: See `check_start`.
    """
    if is_imagenet(path):
        return _load_imagenet(path, name, len(labels))
    own, known = check_start(path, name, labels)
    net = _load_exported(path, own, len(known), pixels) if is_exported(path) else load_classifier(path)[0]
    chosen = build(own, len(labels))
    state = net.state_dict()
    # Only this layer's shape depends on the labels.
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
    widen(chosen, larger, pixels)
    return larger


def _head(net: nn.Module) -> set[str]:
    """Return the names of weight and bias of the classification head."""
    last = [name for name, layer in net.named_modules() if isinstance(layer, nn.Linear) and not name.startswith("place")][-1]
    return {f"{last}.weight", f"{last}.bias"}


def _load_exported(path: Path, name: str, labels: int, pixels: torch.Tensor) -> nn.Module:
    net = build(name, labels)
    fill(net, read_weights(path, net), pixels)
    return net


def _load_imagenet(path: Path, name: str, labels: int) -> nn.Module:
    net = build(name, labels)
    if not isinstance(net, EfficientNetLite):
        fitting = [other for other, cls in NETS.items() if issubclass(cls, EfficientNetLite)]
        raise UsageError(f"{path} holds ImageNet weights, and {name} cannot start from it: give --net {' or '.join(fitting)}.")
    load_imagenet(net, path)
    return net
