"""Writes measurements of whole pictures, and a prior of labels, into an exported classifier file.

The measurements are reports of `edge-bench`. With them alone, graph, labels and self-test stay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from maskedge.errors import ModelError, UsageError
from maskedge.modelfile.contract import (
    ClassifierContract,
    origin_digest,
    read_catalogue,
    read_kind,
    read_model,
    seal,
)
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.self_test import SelfTest

from ..onnx_file import open_cpu_session, write_model
from .parity import TOLERANCE, probe_crops
from .prior import add_prior, apply_prior, check_prior

_THRESHOLDS, _ATTRIBUTES = "maskedge.thresholds/1", "maskedge.attributes/1"
_EVERY = 3
"""The card holds every third row of a curve, and those of the operating points."""
_OF_DOMAIN = ("points", "curve", "weights", "sources", "pictures", "faces", "backgrounds")
"""Keys of a row of a report of thresholds that the card holds."""


def annotate_classifier(
    path: Path,
    output: Path,
    thresholds: Path | None = None,
    attributes: Path | None = None,
    prior: Mapping[str, float] | None = None,
) -> list[Path]:
    """Write operating points, weak groups and a prior into a classifier.

    A prior changes the outputs, so reports have to be measured with the file that holds it. The
    probability of a face stays, and with it the operating points of the file.

    Args:
        path: The classifier file.
        output: The file to write. The card has the suffix .md.
        thresholds: Report of `edge-bench thresholds`.
        attributes: Report of `edge-bench attributes`.
        prior: Summand of the logit of a face's label, by label.

    Returns:
        The model file and the card.

    Raises:
        ModelError: The file is refused, or is a detector.
        UsageError: A report cannot be used, or was measured with another network; the prior does
            not suit the labels, or the file has one.
        OutputError: A file cannot be written.
    """
    content = read_model(path)
    if read_kind(content) == "detector":
        raise ModelError(f"{path} is a detector: give the classifier, because it decides which candidates are faces.")
    contract = MaskClassifier(path).contract
    card = dict(contract.card)
    before = origin = origin_digest(card, content)
    model = onnx.load_from_string(content)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if prior:
        origin = hashlib.sha256(f"{before} {json.dumps(prior, sort_keys=True)}".encode()).hexdigest()
        metadata |= _add_prior(model, content, path, contract, prior)
        # The groups were measured with other labels.
        card = {key: value for key, value in card.items() if key != "groups"} | {"prior": dict(prior)}
    if thresholds is not None:
        card["operating_points"] = _points(_read(thresholds, _THRESHOLDS), thresholds, origin)
    if attributes is not None:
        card["groups"] = _groups(_read(attributes, _ATTRIBUTES), attributes, origin)
    card["annotated"] = origin
    metadata |= {"maskedge.card": json.dumps(card, sort_keys=True), "maskedge.sha256": "0" * 64}
    # The digest is the last entry, as `seal_model` writes it.
    metadata["maskedge.sha256"] = metadata.pop("maskedge.sha256")
    onnx.helper.set_model_props(model, metadata)
    sealed = seal(model.SerializeToString(deterministic=True))
    entry = {**_known_figures(output, {before, origin}), "sha256": hashlib.sha256(sealed).hexdigest(), "bytes": len(sealed)}
    return write_model(output, sealed, entry)


def _add_prior(
    model: onnx.ModelProto, content: bytes, path: Path, contract: ClassifierContract, prior: Mapping[str, float]
) -> dict[str, str]:
    """Add a prior to a model, compare the outputs, and return the metadata that change."""
    if contract.card.get("prior"):
        raise UsageError(f"{path} has a prior already: give the file that it was made from.")
    check_prior(prior, contract.labels)
    try:
        add_prior(model, contract.labels, prior)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        # Another program may have written the graph, or the card.
        raise ModelError(
            f"{path} takes no prior ({' '.join(str(error).split())[:150]}): give a file as edge-export writes it."
        ) from error
    after, old = open_cpu_session(model.SerializeToString()), open_cpu_session(content)
    crops = probe_crops(contract.size)
    probabilities, *places = old.run(None, {"faces": crops})
    expected = [apply_prior(torch.from_numpy(probabilities), contract.labels, prior).numpy(), *places]
    for own, wanted in zip(after.run(None, {"faces": crops}), expected, strict=True):
        if not np.abs(own - wanted).max() <= TOLERANCE:
            raise ModelError(f"{path} returns other probabilities with the prior than computed, so nothing was written.")
    if contract.selftest is None:
        return {}
    try:
        test = SelfTest.from_json(contract.selftest)
    except ValueError as error:
        raise ModelError(f"{path} is refused: {error}.") from error
    answers = np.concatenate(after.run(None, {"faces": test.crops}), axis=1)
    return {"maskedge.selftest": SelfTest(test.crops, np.asarray(answers, np.float32), test.tolerance).to_json()}


def _known_figures(output: Path, origins: Collection[str]) -> Mapping[str, Any]:
    """Return the entry of a file in MODELS.json, if the file holds one of these networks."""
    entry = read_catalogue(output.parent).get(output.name)
    if entry is None or not output.is_file():
        return {}
    try:
        same = origin_digest(MaskClassifier(output).contract.card, read_model(output)) in origins
    except ModelError:
        return {}  # a damaged file may be replaced
    return entry if same else {}


def _read(path: Path, schema: str) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as JSON ({' '.join(str(error).split())[:120]}): give a report.") from error
    if not isinstance(report, dict) or report.get("schema") != schema:
        found = str(report.get("schema"))[:60] if isinstance(report, dict) else type(report).__name__
        raise UsageError(f"{path} has the schema {found!r}, expected {schema}: give a report of edge-bench.")
    if report.get("rows") == []:
        raise UsageError(f"{path} has no rows: measure again.")
    return report


def _check_model(row: Mapping[str, Any], path: Path, origin: str) -> None:
    if row["origin_sha256"] != origin:
        raise UsageError(
            f"{path} was measured with another network ({str(row['model'])[:60]}): measure this one with edge-bench --model."
        )


def _points(report: Mapping[str, Any], path: Path, origin: str) -> dict[str, dict[str, Any]]:
    points: dict[str, dict[str, Any]] = {}
    try:
        for row in report["rows"]:
            _check_model(row, path, origin)
            own = {key: row[key] for key in _OF_DOMAIN}
            own["curve"] = [
                point
                for number, point in enumerate(row["curve"])
                if number % _EVERY == 0 or point["face_threshold"] in row["points"].values()
            ]
            points.setdefault(row["detector"], {})[row["domain"]] = own
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is incomplete ({type(error).__name__}: {error}): measure again.") from error
    return points


def _groups(report: Mapping[str, Any], path: Path, origin: str) -> dict[str, Any]:
    """Return the number of measured groups and the weak ones, by detector."""
    kinds = ("two_labels", "three_labels")
    try:
        detectors = {}
        for row in report["rows"]:
            _check_model(row, path, origin)
            detectors[row["detector"]] = {
                "whole": {kind: row["whole"][kind]["f1"] for kind in kinds},
                "measured": sum(own["three_labels"]["faces"] >= report["least_faces"] for own in row["groups"]),
                "weak": [
                    {
                        "attribute": own["attribute"],
                        "group": own["group"],
                        "faces": own["three_labels"]["faces"],
                        **{kind: own[kind]["f1"] if own[kind]["faces"] else None for kind in kinds},
                    }
                    for own in row["groups"]
                    if own["weak"]
                ],
            }
        return {"least_faces": report["least_faces"], "most_below": report["most_below"], "detectors": detectors}
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is incomplete ({type(error).__name__}: {error}): measure again.") from error
