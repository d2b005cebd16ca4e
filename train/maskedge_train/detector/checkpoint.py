"""Checkpoints of detectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from maskedge.errors import ModelError
from maskedge.modelfile.contract import open_model, read_detector_contract
from maskedge_train.shared.checkpoint import Card, read_checkpoint, write_checkpoint
from maskedge_train.shared.onnx_weights import fill, is_exported, read_weights

from .net import EdgeFace


def load_detector(path: Path) -> tuple[EdgeFace, Card]:
    """Rebuild the net of a checkpoint, in evaluation mode, and give what is known of it.

    Raises:
        ModelError: The file is missing, damaged, or no detector of ours.
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
    return net.eval(), facts.get("card", {})


def check_start(path: Path) -> None:
    """Refuse a file that a training cannot start from, before minutes of work.

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
    """Give the net that a training goes on from, in evaluation mode.

    Args:
        path: See `check_start`.
        pixels: float32 `[N, 3, H, W]` in -1..1, some hundred samples of the training (`exported.fill`).

    Raises:
        ModelError: The file is refused.
    """
    if not is_exported(path):
        return load_detector(path)[0]
    net = EdgeFace()
    fill(net, read_weights(path, net), pixels)
    return net


def keep_weights(training: Path, path: Path) -> None:
    """Write what is needed to use the net of a training's checkpoint, and no more, to `path`.

    Raises:
        ModelError: The checkpoint cannot be read.
        OutputError: `path` cannot be written.
    """
    content = read_checkpoint(training)
    write_checkpoint(path, {"state_dict": content["state_dict"], "maskedge": content["maskedge"]})


def enter_card(path: Path, report: dict[str, Any]) -> None:
    """Write what is known of a detector, from its report, into its checkpoint.

    Raises:
        ModelError: The checkpoint cannot be read.
        OutputError: It cannot be written.
    """
    content = read_checkpoint(path)
    known = ("parameters", "data", "pictures", "faces", "curve", "train_seconds")
    card = {"net": "edgeface", "epochs": len(report["history"]), **{name: report[name] for name in known}}
    content["maskedge"] = {**content["maskedge"], "card": card}
    write_checkpoint(path, content)
