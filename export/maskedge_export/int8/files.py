"""int8 files of exported float32 models. A file that fails a gate is not written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from maskedge.errors import ModelError, UsageError
from maskedge.modelfile.contract import read_kind, read_model
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.detectors.network import CnnDetector
from maskedge_train.classifier.checkpoint import ClassifierSpec
from maskedge_train.data.crops import Crops, cut_crops
from maskedge_train.data.dataset import DataSet
from maskedge_train.data.split import PARTS, is_held_out
from maskedge_train.shared.face_crop import CROP, INPUT_SIZE

from ..classifier.precision import gates, measure
from ..classifier.quantise import to_int8
from ..classifier.self_test import make_self_test
from ..onnx_file import reduced_precision, seal_model, write_model
from .detectors import detector_self_test, measure_detectors, quantise_detector

CALIBRATION = 100
"""Maximum number of training pictures to calibrate on, evenly spread."""


@dataclass(frozen=True)
class Int8File:
    """The outcome of a quantisation.

    Attributes:
        facts: The measurements, as the card holds them.
        written: The model and its card. Empty if a gate failed.
        sha256: SHA-256 of the model, hexadecimal.
    """

    facts: dict[str, Any]
    written: list[Path] = field(default_factory=list)
    sha256: str = ""


def write_int8(source: Path, output: Path, dataset: DataSet, *, force: bool = False) -> Int8File:
    """Quantise an exported float32 model, and write it if it passes the gates.

    Args:
        source: A classifier or detector of `edge-export`.
        output: The .onnx file to write. The card has the suffix .md.
        dataset: Labelled pictures. The ranges of activations are set on those that training uses;
            the gates are measured on those that it holds out.
        force: Write a file that fails a gate, too; its card records the failure.

    Raises:
        ModelError: The model is refused, or is not float32.
        UsageError: The data has no pictures to calibrate or to measure on.
        OutputError: A file cannot be written.
    """
    # The quantiser warns about each constant that it removes.
    onnxruntime.set_default_logger_severity(3)
    content = read_model(source)
    detector = read_kind(content) == "detector"
    contract = CnnDetector(source).contract if detector else MaskClassifier(source).contract
    if precision := reduced_precision(contract.card):
        raise ModelError(f"{source} is {precision} already: give the float32 file.")
    model = onnx.load_from_string(content)
    model.ClearField("metadata_props")
    held_out = np.array([is_held_out(picture) for picture in dataset.pictures], np.bool_)
    measured_on, learnt = np.flatnonzero(held_out), np.flatnonzero(~held_out)
    if not len(measured_on) or not len(learnt):
        raise UsageError(
            "the data has no pictures to calibrate or to measure on: give labelled scenes (--scenes), a hundred or more."
        )
    learnt = learnt[np.linspace(0, len(learnt) - 1, min(CALIBRATION, len(learnt))).astype(int)]
    calibration, tests = dataset.take(learnt.tolist()), dataset.take(measured_on.tolist())
    facts: dict[str, Any] = {"precision": "int8", "of": hashlib.sha256(content).hexdigest(), "pictures": len(tests.pictures)}
    if detector:
        quantised = quantise_detector(model, CnnDetector(source), calibration)
        facts |= measure_detectors(source, quantised, tests)
    else:
        quantised, more = _classifier(model, source, calibration, tests)
        facts |= more
    if not (force or all(facts["gates"].values())):
        return Int8File(facts)
    card = {key: value for key, value in contract.card.items() if key != "parity"} | {"quantisation": facts}
    known = card.get("versions")  # of any type, if another program wrote the card
    card["versions"] = {
        **(known if isinstance(known, dict) else {}),
        **{name: version(name) for name in ("maskedge", "onnx", "onnxruntime")},
    }
    labels = list(contract.labels)
    if detector:
        sealed = seal_model(quantised, "detector", labels, card, detector_self_test(quantised))
    else:
        spec = _spec(MaskClassifier(source))
        selftest = make_self_test(quantised.SerializeToString(), spec, "int8").to_json()
        sealed = seal_model(quantised, "classifier", labels, card, selftest, crop=spec.crop.to_json())
    return Int8File(facts, write_model(output, sealed, _entry(sealed, labels, card)), hashlib.sha256(sealed).hexdigest())


def _classifier(
    model: onnx.ModelProto, source: Path, calibration: DataSet, tests: DataSet
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Quantise a classifier; return it and its measurements.

    Raises:
        ModelError: The classifier takes crops of another size or rule.
        UsageError: The data has no crop to calibrate or to measure on.
    """
    spec = _spec(MaskClassifier(source))
    if (spec.size, spec.crop) != (INPUT_SIZE, CROP):
        raise ModelError(
            f"{source} takes other crops than the classifiers of edge-train, and only those can be quantised: use it as it is."
        )
    learnt, crops = _cut(calibration, "train", spec), _cut(tests, "test", spec)
    if not len(learnt.labels) or not len(crops.labels):
        raise UsageError(f"the data has no face with a label of {source} to calibrate or to measure on: give more --scenes.")
    quantised = to_int8(model, learnt.exact)
    contents = {"fp32": model.SerializeToString(), "int8": quantised.SerializeToString()}
    baseline, own = measure(contents, crops.exact, crops.targets(spec.labels))
    return quantised, {
        "gates": gates(own, baseline),
        "crops": len(crops.labels),
        "accuracy": own.accuracy,
        "accuracy_fp32": baseline.accuracy,
        "speed": own.speed,
    }


def _spec(classifier: MaskClassifier) -> ClassifierSpec:
    contract = classifier.contract
    return ClassifierSpec(str(contract.card.get("net")), contract.labels, contract.size, contract.crop)


def _cut(dataset: DataSet, part: str, spec: ClassifierSpec) -> Crops:
    """Cut the faces and the false alarms of all pictures."""
    parts: npt.NDArray[np.int64] = np.full(len(dataset.pictures), PARTS.index(part), np.int64)
    crops = cut_crops(dataset, parts, negatives="not_a_face" in spec.labels, painted=False).with_labels(spec.labels)
    return crops.take(crops.where(part))


def _entry(content: bytes, labels: list[str], card: Mapping[str, Any]) -> dict[str, object]:
    """Return the entry of a file in MODELS.json."""
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "net": card.get("net"),
        "parameters": card.get("parameters"),
        "labels": labels,
        "quantisation": {key: value for key, value in card["quantisation"].items() if key != "gates"},
    }
