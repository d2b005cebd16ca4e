"""Checkpoint in, proven file out; or nothing at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from maskedge.files import write_file
from maskedge.model import CATALOGUE, read_catalogue
from maskedge.pictures import is_picture, natural_key, read_picture
from maskedge.types import Image
from maskedge_train.checkpoint import Card, load_classifier

from .graph import ClassifierGraph, round_matrices, set_metadata, store_matrices_as_int8, to_onnx
from .parity import Parity, compare, probe_crops

HEADLINE = ("name", "pictures", "accuracy", "macro_f1", "two_way")
"""Which figures of the card MODELS.json repeats."""


@dataclass(frozen=True)
class ExportResult:
    """What an export did.

    Attributes:
        parity: The comparison with PyTorch.
        real_crops: Number of real pictures among the compared inputs.
        sha256: Digest of the written file; empty when nothing was written.
        worst_crop: Where the worst input was saved; None when the gate passed.
    """

    parity: Parity
    real_crops: int
    sha256: str = ""
    worst_crop: Path | None = None


def export_classifier(checkpoint: Path, output: Path, data: Path | None = None, *, compact: bool = False) -> ExportResult:
    """Export a classifier checkpoint to `output`, if the parity gate passes.

    Args:
        checkpoint: A checkpoint of `edge-train classifier`.
        output: The .onnx file to write (beside it first, then renamed, so that it is whole or absent).
        data: Folder of pictures that join the random and flat inputs of the gate.
        compact: Store large weight matrices as 8-bit integers.

    Raises:
        ModelError: The checkpoint is refused.
        OutputError: The file cannot be written.
    """
    net, spec, card = load_classifier(checkpoint)
    if compact:
        round_matrices(net)
    real = real_crops(data, spec.size) if data else np.empty((0, spec.size, spec.size, 3), np.uint8)
    graph = ClassifierGraph(net, spec.temperature).eval()
    crops = np.concatenate([probe_crops(spec.size), real])

    model = to_onnx(graph, spec.size)
    if compact:
        store_matrices_as_int8(model)
    parity = compare(graph, model.SerializeToString(), crops)
    if not parity.passed:
        worst = output.with_suffix(".worst.png")
        cv2.imwrite(str(worst), parity.worst_input)
        return ExportResult(parity, len(real), worst_crop=worst)
    set_metadata(model, spec, {**card, "compact": compact, "parity": parity.to_json()})
    content = model.SerializeToString(deterministic=True)
    write_file(output, content)
    sha256 = hashlib.sha256(content).hexdigest()
    _update_catalogue(output, sha256, spec.labels, card, parity)
    return ExportResult(parity, len(real), sha256)


def _update_catalogue(output: Path, sha256: str, labels: Sequence[str], card: Card, parity: Parity) -> None:
    """Enter the file in the MODELS.json beside it, where there is one."""
    path = output.with_name(CATALOGUE)
    if not path.exists():
        return
    # The first is the part that the training kept for it; calibration and confusion stay in the card.
    test = {key: value for key, value in card.get("evaluations", [{}])[0].items() if key in HEADLINE}
    entry = {
        "sha256": sha256,
        "bytes": output.stat().st_size,
        "net": card.get("net"),
        "parameters": card.get("parameters"),
        "labels": list(labels),
        "test": test,
        "parity": parity.to_json()["worst_difference"],
    }
    models = {**read_catalogue(output.parent), output.name: entry}
    write_file(path, json.dumps(models, indent=1, sort_keys=True) + "\n")


def real_crops(folder: Path, size: int, most: int = 256) -> Image:
    """Take up to `most` readable pictures from `folder` and below, evenly spread: uint8 `[N, size, size, 3]`, BGR."""
    paths = sorted((path for path in folder.rglob("*") if path.is_file() and is_picture(path)), key=natural_key)
    crops = []
    for path in paths[:: max(1, len(paths) // most)][:most]:
        try:
            crops.append(cv2.resize(read_picture(path), (size, size), interpolation=cv2.INTER_AREA))
        except ValueError:
            continue  # the training run named it
    return np.stack(crops).astype(np.uint8) if crops else np.empty((0, size, size, 3), np.uint8)
