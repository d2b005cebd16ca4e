"""Export of a detector checkpoint: parity check and model card."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np

from maskedge.modelfile.contract import read_model
from maskedge.sources import demo
from maskedge.vision.detectors.network import CnnDetector
from maskedge.vision.self_test import DetectorSelfTest
from maskedge_train.detector.checkpoint import load_detector

from ..onnx_file import coarse, open_cpu_session, seal_model, write_model, write_worst_input
from .graph import LEAST_SCORE, DetectorGraph, to_onnx
from .parity import BOX_TOLERANCE, DetectorParity, compare, probe_frames


@dataclass(frozen=True)
class DetectorExport:
    """The outcome of an export.

    Attributes:
        parity: The comparison with PyTorch.
        written: The model and its card. Empty if the parity check failed.
        sha256: SHA-256 of the model, hexadecimal.
        worst_frame: File of the frame with the largest difference; None if the parity check passed.
    """

    parity: DetectorParity
    written: list[Path] = field(default_factory=list)
    sha256: str = ""
    worst_frame: Path | None = None


def export_detector(checkpoint: Path, output: Path, *, licences: Sequence[str] = ()) -> DetectorExport:
    """Export a detector checkpoint, if it passes the parity check.

    Args:
        checkpoint: A checkpoint of `edge-train detector`.
        output: The .onnx file to write. The card has the suffix .md.
        licences: Licences of the training data, for the card.

    Raises:
        ModelError: The checkpoint is refused.
        OutputError: A file cannot be written.
    """
    net, card = load_detector(checkpoint)
    graph = DetectorGraph(net).eval()
    model = to_onnx(graph)
    parity = compare(graph, model.SerializeToString(), probe_frames())
    if not parity.passed:
        return DetectorExport(parity, worst_frame=write_worst_input(output, parity.worst_input))
    card = {
        **card,
        "least_score": LEAST_SCORE,
        "licences": list(licences),
        "parity": parity.to_json(),
        "versions": {name: version(name) for name in ("maskedge", "torch", "onnx", "onnxruntime")},
    }
    selftest = _make_self_test(model.SerializeToString()).to_json()
    content = seal_model(model, "detector", ["face"], card, selftest)
    digest = hashlib.sha256(content).hexdigest()
    entry = {
        "sha256": digest,
        "bytes": len(content),
        "net": card.get("net"),
        "parameters": card.get("parameters"),
        "labels": ["face"],
        "parity": float(f"{parity.worst:.2e}"),
    }
    return DetectorExport(parity, write_model(output, content, entry), digest)


def compare_with_checkpoint(model: Path, checkpoint: Path) -> DetectorParity:
    """Compare an existing model file with the checkpoint that it was exported from.

    Raises:
        ModelError: A file is refused.
    """
    CnnDetector(model)
    net, _ = load_detector(checkpoint)
    return compare(DetectorGraph(net).eval(), read_model(model), probe_frames())


def _make_self_test(model: bytes) -> DetectorSelfTest:
    """Record the output of a model for a small frame of the built-in clip as its self-test."""
    frame = coarse(np.asarray(cv2.resize(demo.draw(150), (160, 128), interpolation=cv2.INTER_AREA), np.uint8))
    boxes, scores = open_cpu_session(model).run(["boxes", "scores"], {"frame": frame[None]})
    return DetectorSelfTest(frame, np.asarray(boxes, np.float32), np.asarray(scores, np.float32), BOX_TOLERANCE)
