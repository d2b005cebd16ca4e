"""Export of a classifier checkpoint: parity check, int8 and fp16 variants, model card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import onnx
from torch import nn

from maskedge.errors import ModelError, UsageError
from maskedge.modelfile.contract import read_model
from maskedge.support.files import write_file
from maskedge.support.pictures import is_picture, natural_key, read_picture
from maskedge.types import Image
from maskedge.vision.classifier import MaskClassifier
from maskedge_train.classifier.checkpoint import ClassifierSpec, load_classifier
from maskedge_train.shared.checkpoint import Card

from ..onnx_file import reduced_precision, seal_model, write_model, write_worst_input
from ..outputs import REMEDY
from .evaluation import Evaluation
from .graph import ClassifierGraph, round_matrices, store_matrices_as_int8, to_onnx
from .parity import Parity, compare, probe_crops
from .precision import gates, measure, precision_report
from .prior import WithPrior, check_prior
from .quantise import to_fp16, to_int8
from .self_test import make_self_test

HEADLINE = ("name", "pictures", "accuracy", "macro_f1", "two_way")
"""Figures of the card that MODELS.json repeats."""


@dataclass(frozen=True)
class ClassifierExport:
    """The outcome of an export.

    Attributes:
        parity: The comparison with PyTorch.
        real_crops: Number of real pictures among the compared inputs.
        written: The files, the model first. Empty if the parity check failed.
        sha256: SHA-256 of the model, hexadecimal.
        worst_crop: File of the crop with the largest difference; None if the parity check passed.
        precisions: The report of `precision.precision_report`; None without int8 and fp16.
    """

    parity: Parity
    real_crops: int
    written: list[Path] = field(default_factory=list)
    sha256: str = ""
    worst_crop: Path | None = None
    precisions: dict[str, object] | None = None


def export_classifier(
    checkpoint: Path,
    output: Path,
    data: Path | None = None,
    *,
    compact: bool = False,
    licences: Sequence[str] = (),
    precisions: Sequence[str] = (),
    evaluation: Evaluation | None = None,
    force: bool = False,
) -> ClassifierExport:
    """Export a classifier checkpoint, if it passes the parity check.

    Each file is written under a temporary name first, so that it appears complete or not at all.

    Args:
        checkpoint: A checkpoint of `edge-train classifier`.
        output: The .onnx file to write. The card has the suffix .md; the other precisions have
            .int8.onnx and .fp16.onnx.
        data: Folder of pictures that join the fixed crops of the parity check.
        compact: Store large weight matrices as 8-bit integers.
        licences: Licences of the training data, for the card.
        precisions: Further precisions: `int8`, `fp16`. A file that fails a gate is not written.
        evaluation: Crops to calibrate and to measure the precisions on.
        force: Write files that fail a gate, too; their cards record the failure.

    Raises:
        ModelError: The checkpoint is refused.
        OutputError: A file cannot be written.
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
        return ClassifierExport(parity, len(real), worst_crop=write_worst_input(output, parity.worst_input))
    versions = {name: version(name) for name in ("maskedge", "torch", "onnx", "onnxruntime")}
    card = {**card, "compact": compact, "licences": list(licences), "versions": versions}
    content = _write(model, output, spec, {**card, "parity": parity.to_json()}, "fp32")
    written = [output, output.with_suffix(".md")]
    if not precisions or evaluation is None:
        return ClassifierExport(parity, len(real), written, hashlib.sha256(content).hexdigest())

    smaller = {name: to_int8(model, evaluation.calibration) if name == "int8" else to_fp16(model) for name in precisions}
    contents = {"fp32": model.SerializeToString(), **{name: own.SerializeToString() for name, own in smaller.items()}}
    baseline, *rows = measured = measure(contents, evaluation.crops, evaluation.targets(spec.labels))
    kept = {"fp32": True}
    for row in rows:
        passed = gates(row, baseline)
        kept[row.precision] = force or all(passed.values())
        if kept[row.precision]:
            path = output.with_suffix(f".{row.precision}.onnx")
            facts = {"precision": row.precision, "gates": passed, "accuracy": row.accuracy, "accuracy_fp32": baseline.accuracy}
            _write(smaller[row.precision], path, spec, {**card, "quantisation": facts}, row.precision)
            written += [path, path.with_suffix(".md")]
    report = precision_report(measured, kept, len(evaluation.crops))
    write_file(output.with_suffix(".precisions.json"), json.dumps(report, indent=1) + "\n", remedy=REMEDY)
    written.append(output.with_suffix(".precisions.json"))
    return ClassifierExport(parity, len(real), written, hashlib.sha256(content).hexdigest(), precisions=report)


def compare_with_checkpoint(model: Path, checkpoint: Path, data: Path | None = None) -> Parity:
    """Compare an existing model file with the checkpoint that it was exported from.

    Args:
        model: The .onnx file.
        checkpoint: The checkpoint.
        data: Folder of pictures that join the fixed crops.

    Raises:
        ModelError: A file is refused, the two differ in input or labels, or the model file is int8
            or fp16, to which the parity check does not apply.
    """
    contract = MaskClassifier(model).contract
    net, spec, _ = load_classifier(checkpoint)
    if precision := reduced_precision(contract.card):
        raise ModelError(
            f"{model} is {precision}, which is checked by its accuracy (edge-export inspect): "
            "compare the fp32 file with the checkpoint."
        )
    if (contract.labels, contract.size, contract.crop) != (spec.labels, spec.size, spec.crop):
        raise ModelError(f"{model} was not exported from {checkpoint}: labels, input size or crop differ.")
    if contract.card.get("compact"):
        round_matrices(net)
    real = real_crops(data, spec.size) if data else np.empty((0, spec.size, spec.size, 3), np.uint8)
    graph: nn.Module = ClassifierGraph(net, spec.temperature).eval()
    if prior := contract.card.get("prior"):
        try:
            check_prior(prior, spec.labels)
        except UsageError as error:
            raise ModelError(f"the card of {model} is refused: {error}") from error
        graph = WithPrior(graph, spec.labels, prior)
    return compare(graph, read_model(model), np.concatenate([probe_crops(spec.size), real]))


def _write(model: onnx.ModelProto, output: Path, spec: ClassifierSpec, card: Card, precision: str) -> bytes:
    """Write a model with its metadata and card, and return its bytes."""
    # Seal a copy, so that the metadata of one precision is not part of another.
    own = onnx.ModelProto()
    own.CopyFrom(model)
    selftest = make_self_test(own.SerializeToString(), spec, precision).to_json()
    content = seal_model(own, "classifier", spec.labels, card, selftest, crop=spec.crop.to_json())
    write_model(output, content, _entry(content, spec.labels, card))
    return content


def _entry(content: bytes, labels: Sequence[str], card: Card) -> dict[str, object]:
    """Return the entry of a file in MODELS.json."""
    # The first evaluation is on the held-out test part.
    test = {key: value for key, value in card.get("evaluations", [{}])[0].items() if key in HEADLINE}
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "net": card.get("net"),
        "parameters": card.get("parameters"),
        "labels": list(labels),
        "test": test,
        "parity": card.get("parity", {}).get("worst_difference"),
    }


def real_crops(folder: Path, size: int, most: int = 256) -> Image:
    """Read up to `most` pictures of a folder and its sub-folders, evenly spread.

    Pictures that cannot be read are skipped.

    Returns:
        uint8 `[N, size, size, 3]`, BGR.
    """
    paths = sorted((path for path in folder.rglob("*") if path.is_file() and is_picture(path)), key=natural_key)
    crops = []
    for row in np.linspace(0, len(paths) - 1, min(most, len(paths))).astype(int):
        try:
            crops.append(cv2.resize(read_picture(paths[row]), (size, size), interpolation=cv2.INTER_AREA))
        except ValueError:
            continue  # edge-train audit lists it
    return np.stack(crops).astype(np.uint8) if crops else np.empty((0, size, size, 3), np.uint8)
