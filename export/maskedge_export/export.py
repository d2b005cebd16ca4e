"""Checkpoint in, proven file out; or nothing at all."""

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

from maskedge.errors import ModelError
from maskedge.modelfile.contract import CATALOGUE, read_catalogue, read_model
from maskedge.support.files import write_file
from maskedge.support.pictures import is_picture, natural_key, read_picture
from maskedge.types import Image
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.model_card import render_card
from maskedge_train.classifier.checkpoint import ClassifierSpec, load_classifier
from maskedge_train.shared.checkpoint import Card

from .evaluation import Evaluation
from .graph import ClassifierGraph, finish, round_matrices, store_matrices_as_int8, to_onnx
from .parity import Parity, compare, probe_crops
from .precision import gates, measure, precision_report
from .quantise import to_fp16, to_int8
from .selftest import make_selftest

HEADLINE = ("name", "pictures", "accuracy", "macro_f1", "two_way")
"""Which figures of the card MODELS.json repeats."""


@dataclass(frozen=True)
class ExportResult:
    """What an export did.

    Attributes:
        parity: The comparison with PyTorch.
        real_crops: Number of real pictures among the compared inputs.
        written: The files, the model first; empty when the parity gate closed.
        sha256: Digest of the model.
        worst_crop: Where the worst input was saved; None when the gate passed.
        precisions: What smaller numbers cost and give (`precision.precision_report`); None when none were asked for.
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
) -> ExportResult:
    """Export a classifier checkpoint to `output`, if the parity gate passes; and with smaller numbers beside it, if theirs do.

    Every file is written beside itself first, then renamed, so that it is whole or absent.

    Args:
        checkpoint: A checkpoint of `edge-train classifier`.
        output: The .onnx file to write; its card goes beside it as .md, `int8` to .int8.onnx and `fp16` to .fp16.onnx.
        data: Folder of pictures that join the random and flat inputs of the gate.
        compact: Store large weight matrices as 8-bit integers.
        licences: Licences of the data, for the card.
        precisions: Smaller numbers to try: `int8`, `fp16`.
        evaluation: Crops to calibrate and to measure these on.
        force: Write what fails its gate too, with the failure in its card.

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
        worst = output.with_suffix(".worst.png")
        write_file(worst, cv2.imencode(".png", parity.worst_input)[1].tobytes())
        return ExportResult(parity, len(real), worst_crop=worst)
    versions = {name: version(name) for name in ("maskedge", "torch", "onnx", "onnxruntime")}
    card = {**card, "compact": compact, "licences": list(licences), "versions": versions}
    content = _write(model, output, spec, {**card, "parity": parity.to_json()}, "fp32")
    written = [output, output.with_suffix(".md")]
    if not precisions or evaluation is None:
        return ExportResult(parity, len(real), written, hashlib.sha256(content).hexdigest())

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
    write_file(output.with_suffix(".precisions.json"), json.dumps(report, indent=1) + "\n")
    written.append(output.with_suffix(".precisions.json"))
    return ExportResult(parity, len(real), written, hashlib.sha256(content).hexdigest(), precisions=report)


def compare_with_checkpoint(model: Path, checkpoint: Path, data: Path | None = None) -> Parity:
    """Repeat the parity check of a file that is already there.

    Args:
        model: The .onnx file.
        checkpoint: The checkpoint that it should be made of.
        data: Folder of pictures that join the random and flat inputs.

    Raises:
        ModelError: One of the two is refused, they do not speak of the same input and labels, or the file has smaller numbers, for
            which parity does not hold.
    """
    contract = MaskClassifier(model).contract
    net, spec, _ = load_classifier(checkpoint)
    if quantisation := contract.card.get("quantisation"):
        raise ModelError(
            f"{model} has {quantisation['precision']} numbers, which are proven by their accuracy (edge-export inspect): "
            "compare the fp32 file with the checkpoint."
        )
    if (contract.labels, contract.size, contract.crop) != (spec.labels, spec.size, spec.crop):
        raise ModelError(f"{model} was not made of {checkpoint}: labels, input size or crop differ.")
    if contract.card.get("compact"):
        round_matrices(net)
    real = real_crops(data, spec.size) if data else np.empty((0, spec.size, spec.size, 3), np.uint8)
    graph = ClassifierGraph(net, spec.temperature).eval()
    return compare(graph, read_model(model), np.concatenate([probe_crops(spec.size), real]))


def _write(model: onnx.ModelProto, output: Path, spec: ClassifierSpec, card: Card, precision: str) -> bytes:
    """Write a model with its metadata and its card, and enter it in the MODELS.json beside it, where there is one."""
    # Its own copy: the metadata of one precision must not be taken over by another.
    own = onnx.ModelProto()
    own.CopyFrom(model)
    selftest = make_selftest(own.SerializeToString(), spec, precision)
    content = finish(own, spec, card, selftest.to_json())
    write_file(output, content)
    if output.with_name(CATALOGUE).exists():
        catalogue = {**read_catalogue(output.parent), output.name: _entry(content, spec.labels, card)}
        write_file(output.with_name(CATALOGUE), json.dumps(catalogue, indent=1, sort_keys=True) + "\n")
    write_file(output.with_suffix(".md"), render_card(output))
    return content


def _entry(content: bytes, labels: Sequence[str], card: Card) -> dict[str, object]:
    """Give what MODELS.json tells of a file."""
    # The first is the part that the training kept for it; calibration and confusion stay in the card.
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
    """Take up to `most` readable pictures from `folder` and below, evenly spread: uint8 `[N, size, size, 3]`, BGR."""
    paths = sorted((path for path in folder.rglob("*") if path.is_file() and is_picture(path)), key=natural_key)
    crops = []
    for path in paths[:: max(1, len(paths) // most)][:most]:
        try:
            crops.append(cv2.resize(read_picture(path), (size, size), interpolation=cv2.INTER_AREA))
        except ValueError:
            continue  # the training run named it
    return np.stack(crops).astype(np.uint8) if crops else np.empty((0, size, size, 3), np.uint8)
