"""Checkpoints of detectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from maskedge.errors import ModelError
from maskedge.modelfile.contract import open_model, read_detector_contract
from maskedge_train.shared.checkpoint import Card, check_weights, read_checkpoint, write_checkpoint
from maskedge_train.shared.onnx_weights import fill, is_exported, read_weights

from .net import EdgeFace


def load_detector(path: Path) -> tuple[EdgeFace, Card]:
    """Load the network of a checkpoint, in evaluation mode, and its card.

    Raises:
        ModelError: The file is missing, damaged, or not a detector of this project.
    """
    content = read_checkpoint(path)
    facts: dict[str, Any] = content["maskedge"]
    if facts.get("kind") != "detector":
        raise ModelError(f"{path} is a checkpoint of a {facts.get('kind', 'classifier')}, not of a detector.")
    net = EdgeFace()
    try:
        net.load_state_dict({name.removeprefix("net."): value for name, value in content["state_dict"].items()})
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"{path} does not fit this version of maskedge: train again.") from error
    check_weights(net, path)
    return net.eval(), facts.get("card", {})


def check_start(path: Path) -> None:
    """Check a warm-start file before the training starts.

    Args:
        path: Checkpoint of `edge-train detector`, or `.onnx` file of `edge-export`.

    Raises:
        ModelError: The file is refused.
    """
    if not is_exported(path):
        load_detector(path)
        return
    read_detector_contract(open_model(path), str(path))
    read_weights(path, EdgeFace())


def load_start(path: Path, pixels: torch.Tensor) -> EdgeFace:
    """Load the network to start from, in evaluation mode.

    Args:
        path: See `check_start`.
        pixels: float32 `[N, 3, H, W]` in -1..1, a few hundred training samples
            (`onnx_weights.fill`).

    Raises:
        ModelError: The file is refused.
    """
    if not is_exported(path):
        return load_detector(path)[0]
    net = EdgeFace()
    fill(net, read_weights(path, net), pixels)
    return net


def save_weights(training: Path, path: Path) -> None:
    """Write the weights and facts of a training's checkpoint to `path`, without its training state.

    Args:
        training: Checkpoint of the training.
        path: File to write.

    Raises:
        ModelError: The checkpoint cannot be read.
        OutputError: `path` cannot be written.
    """
    content = read_checkpoint(training)
    write_checkpoint(path, {"state_dict": content["state_dict"], "maskedge": content["maskedge"]})


def store_card(path: Path, report: dict[str, Any]) -> None:
    """Store facts from a detector's report in its checkpoint.

    Args:
        path: Checkpoint of the detector.
        report: Its report.

    Raises:
        ModelError: The checkpoint cannot be read.
        OutputError: It cannot be written.
    """
    content = read_checkpoint(path)
    known = ("parameters", "data", "pictures", "faces", "curve", "train_seconds")
    card = {"net": "edgeface", "epochs": len(report["history"]), **{name: report[name] for name in known}}
    content["maskedge"] = {**content["maskedge"], "card": card}
    write_checkpoint(path, content)
