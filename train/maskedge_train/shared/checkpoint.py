"""Checkpoints: weights together with the facts needed to use them.

They are read with `weights_only=True`, so that a file from an unknown source cannot run code.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from maskedge.errors import ModelError
from maskedge.support.files import write_file

Card: TypeAlias = dict[str, Any]
"""Facts about a trained network: digests of data and split, metrics, seconds. JSON types only."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without executing code in it.

    Args:
        path: Checkpoint written by `write_checkpoint`.

    Returns:
        Its content, with `state_dict` and `maskedge` (the facts).

    Raises:
        ModelError: The file is missing, damaged, or from another project.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch asks users to report issues about unknown files
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"there is no checkpoint {path}: train one with `edge-train classifier`.") from error
    except PermissionError as error:
        raise ModelError(f"the checkpoint {path} cannot be read ({error.strerror}): allow this user to read it.") from error
    except Exception as error:
        raise ModelError(f"{path} is not a checkpoint of edge-train, or it is damaged; nothing in it was executed.") from error
    if not isinstance(content, dict) or not isinstance(content.get("maskedge"), dict):
        raise ModelError(f"{path} is a checkpoint of another project: edge-train did not write it.")
    return content


def check_weights(net: nn.Module, path: Path) -> None:
    """Check that the weights of a network are numbers.

    Args:
        net: The network.
        path: Its file, for the message.

    Raises:
        ModelError: A weight is infinite or not a number, as after a training that diverged.
    """
    if not all(torch.isfinite(value).all() for value in net.state_dict().values()):
        raise ModelError(f"{path} has weights that are infinite or not numbers: train it again with a lower learning rate.")


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint atomically. If the disk is full, the previous file stays intact.

    Raises:
        OutputError: The file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    kept = "; the previous checkpoint is intact, continue with --resume" if path.exists() else ""
    write_file(path, buffer.getvalue(), remedy=f"make room{kept}")


def checkpoint_kind(path: Path) -> str:
    """Return the kind of a checkpoint: `classifier` or `detector`.

    Raises:
        ModelError: The file is missing, damaged, or from another project.
    """
    facts = read_checkpoint(path)["maskedge"]
    return str(facts.get("kind", "classifier")) if isinstance(facts, dict) else "classifier"
