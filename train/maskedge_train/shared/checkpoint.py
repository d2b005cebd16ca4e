"""Checkpoints: weights together with the facts needed to use them.

They are read with `weights_only=True`, so a file from a stranger runs no code.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any, TypeAlias

import torch

from maskedge.errors import ModelError
from maskedge.support.files import write_file

Card: TypeAlias = dict[str, Any]
"""What is known of a trained net: data and split digests, metrics, seconds. JSON types only."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of ours, executing nothing in it.

    Raises:
        ModelError: The file is missing, damaged, or not one of ours.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on strangers' files torch asks for issue reports
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"there is no checkpoint {path}: train one with `edge-train classifier`.") from error
    except Exception as error:
        raise ModelError(f"{path} is no checkpoint of edge-train, or it is damaged; nothing in it was executed.") from error
    if not isinstance(content, dict) or "maskedge" not in content:
        raise ModelError(f"{path} is a checkpoint of another project: edge-train did not write it.")
    return content


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint beside `path` first, then rename it: on a full disk the one before survives.

    Raises:
        OutputError: It cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    kept = "; the one before is still there, go on with --resume" if path.exists() else ""
    write_file(path, buffer.getvalue(), remedy=f"make room{kept}")


def checkpoint_kind(path: Path) -> str:
    """Tell what a checkpoint holds: `classifier` or `detector`.

    Raises:
        ModelError: The file is missing, damaged, or not one of ours.
    """
    facts = read_checkpoint(path)["maskedge"]
    return str(facts.get("kind", "classifier")) if isinstance(facts, dict) else "classifier"
