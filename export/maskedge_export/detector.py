"""Detector checkpoints: the graph of the contract with decoding and non-maximum suppression, and its parity gate."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch import nn

from maskedge.modelfile.contract import CATALOGUE, CONTRACT, read_catalogue, read_model, seal
from maskedge.sources import demo
from maskedge.support.files import write_file
from maskedge.types import Image
from maskedge.vision.detectors.network import CnnDetector
from maskedge.vision.model_card import render_card
from maskedge.vision.self_test import DetectorSelfTest
from maskedge_train.classifier.training import normalise
from maskedge_train.detector.checkpoint import load_detector
from maskedge_train.detector.net import EdgeFace
from maskedge_train.detector.report import NMS_IOU, suppress

from .graph import OPSET, tidy
from .parity import open_plainly
from .selftest import TOLERANCE

LEAST_SCORE = 0.15
"""Boxes that score less are left out in the graph: hardly a face is among them, and the classifier has less to look at."""
MOST_BOXES = 200
BOX_TOLERANCE = 0.1
"""Greatest admitted difference of a box's side, in pixels of the input."""
_DOUBT = 1e-3
"""A score this near to the least one, or an overlap this near to the greatest, may fall on either side of it."""


class DetectorGraph(nn.Module):
    """A net with its pixel path: uint8 `[1, H, W, 3]` BGR to boxes float32 `[1, A, 4]` and scores float32 `[1, 1, A]`."""

    def __init__(self, net: EdgeFace) -> None:
        super().__init__()
        self.net = net

    def forward(self, frame: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Answer for a frame, every place of it."""
        logits, boxes = self.net(normalise(frame.permute(0, 3, 1, 2).to(torch.float32) / 255))
        return boxes, torch.sigmoid(logits)[:, None]


def to_onnx(graph: DetectorGraph) -> onnx.ModelProto:
    """Convert a detector to a single-file ONNX model for frames of any size in multiples of 32, still without metadata."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    rows, columns = torch.export.Dim("rows", min=1, max=128), torch.export.Dim("columns", min=1, max=128)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch and onnxscript: nothing a user can act on
        program = torch.onnx.export(
            graph,
            (torch.zeros((1, 96, 128, 3), dtype=torch.uint8),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["frame"],
            output_names=["places", "place_scores"],
            dynamic_shapes={"frame": {1: 32 * rows, 2: 32 * columns}},
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    model = program.model_proto
    tidy(model)
    _suppress(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def _suppress(model: onnx.ModelProto) -> None:
    """Add non-maximum suppression behind the answers of all places."""
    graph, helper = model.graph, onnx.helper
    constants: dict[str, npt.NDArray[Any]] = {
        "most_boxes": np.array([MOST_BOXES], np.int64),
        "overlap": np.array([NMS_IOU], np.float32),
        "least_score": np.array([LEAST_SCORE], np.float32),
        "third": np.array([2], np.int64),
        "first": np.array([0], np.int64),
        "leading": np.array([0, 1], np.int64),
        "last": np.array([1], np.int64),
    }
    graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.node.extend(
        [
            helper.make_node("NonMaxSuppression", ["places", "place_scores", "most_boxes", "overlap", "least_score"], ["chosen"]),
            helper.make_node("Gather", ["chosen", "third"], ["column"], axis=1),
            helper.make_node("Squeeze", ["column", "last"], ["rows_kept"]),
            helper.make_node("Squeeze", ["places", "first"], ["all_boxes"]),
            helper.make_node("Squeeze", ["place_scores", "leading"], ["all_scores"]),
            helper.make_node("Gather", ["all_boxes", "rows_kept"], ["boxes"], axis=0),
            helper.make_node("Gather", ["all_scores", "rows_kept"], ["scores"], axis=0),
        ]
    )
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info("boxes", onnx.TensorProto.FLOAT, ("K", 4)),
            helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ("K",)),
        ]
    )
    for dim, name in zip(graph.input[0].type.tensor_type.shape.dim[1:3], ("H", "W"), strict=True):
        dim.dim_param = name


@dataclass(frozen=True)
class DetectorParity:
    """Result of a comparison.

    Attributes:
        frames: Number of answers compared.
        boxes: Number of boxes in them.
        worst: Greatest difference of a side in pixels; infinite where a box has no partner.
        worst_input: uint8 `[H, W, 3]`, the frame it was found on.
        worst_score: Greatest difference of a score.
    """

    frames: int
    boxes: int
    worst: float
    worst_input: Image
    worst_score: float

    @property
    def passed(self) -> bool:
        """Tell whether the file may be written."""
        return self.worst <= BOX_TOLERANCE and self.worst_score <= TOLERANCE["fp32"]

    def to_json(self) -> dict[str, Any]:
        """Give the result as it stands in the card."""
        return {
            "frames": self.frames,
            "boxes": self.boxes,
            "worst_difference": float(f"{self.worst:.2e}"),
            "worst_score_difference": float(f"{self.worst_score:.2e}"),
            "tolerance": BOX_TOLERANCE,
        }


def probe_frames(seed: int = 0) -> list[Image]:
    """Make frames that every file is compared on: the built-in clip, black, white, noise; several sizes, multiples of 32."""
    random = np.random.default_rng(seed)
    frames = [np.full((96, 128, 3), value, np.uint8) for value in (0, 255)]
    frames += [random.integers(0, 256, (*size, 3), np.uint8) for size in ((32, 32), (128, 96), (224, 320))]
    for index in range(20, demo.FRAMES, 40):
        for size in ((320, 256), (640, 480)):
            frames.append(np.asarray(cv2.resize(demo.draw(index), size, interpolation=cv2.INTER_AREA), np.uint8))
    return frames


@torch.inference_mode()
def compare(graph: DetectorGraph, model: bytes, frames: Sequence[Image]) -> DetectorParity:
    """Compare PyTorch with ONNX Runtime, each with a suppression of its own: graph optimisation off and on, one thread and two.

    Args:
        graph: The net in PyTorch.
        model: Bytes of the .onnx file.
        frames: uint8 `[H, W, 3]` each, H and W multiples of 32.
    """
    expected = []
    for frame in frames:
        boxes, scores = graph(torch.from_numpy(frame)[None])
        expected.append(_Expected.of(boxes[0].numpy(), scores[0, 0].numpy()))
    worst, worst_input, worst_score, compared, count = 0.0, frames[0], 0.0, 0, 0
    levels = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    for level in levels:
        for threads in (1, 2):
            session = open_plainly(model, level, threads)
            for frame, answer in zip(frames, expected, strict=True):
                found = session.run(["boxes", "scores"], {"frame": frame[None]})
                difference, score = answer.difference(found[0], found[1])
                worst_score = max(worst_score, score)
                if difference >= worst:
                    worst, worst_input = difference, frame
                compared, count = compared + 1, count + len(found[1])
    return DetectorParity(compared, count, worst, worst_input, worst_score)


_Answer = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class _Expected:
    """What PyTorch answers for a frame.

    Attributes:
        sure: Boxes and scores that stay whichever way what is in doubt falls.
        possible: Those that may stay.
    """

    sure: _Answer
    possible: _Answer

    @classmethod
    def of(cls, boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32]) -> _Expected:
        """Suppress what all places answered, with a little more and a little less overlap."""
        kept = [suppress(boxes, scores, LEAST_SCORE - _DOUBT, NMS_IOU + change) for change in (-_DOUBT, 0.0, _DOUBT)]
        strict, lenient = ({tuple(box) for box in kept[place][0].tolist()} for place in (0, 2))
        both = np.array(
            [
                tuple(box) in strict & lenient and score > LEAST_SCORE + _DOUBT
                for box, score in zip(kept[1][0].tolist(), kept[1][1], strict=True)
            ],
            np.bool_,
        )
        possible = np.concatenate([own for own, _ in kept]), np.concatenate([score for _, score in kept])
        return cls((kept[1][0][both], kept[1][1][both]), possible)

    def difference(self, boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32]) -> tuple[float, float]:
        """Give the greatest difference between boxes and between scores; infinite where one side has a box that the other lacks."""
        pairs = (_nearest(self.sure, (boxes, scores)), _nearest((boxes, scores), self.possible))
        return max(worst for worst, _ in pairs), max(score for _, score in pairs)


def _nearest(some: _Answer, others: _Answer) -> tuple[float, float]:
    """Give how far the boxes of `some`, and their scores, are from the nearest of `others`, at worst."""
    worst = worst_score = 0.0
    for box, score in zip(*some, strict=True):
        if not len(others[0]):
            return float("inf"), worst_score
        away = np.abs(others[0] - box).max(axis=1)
        nearest = int(away.argmin())
        # NaN would compare as no difference.
        worst = max(worst, float(away[nearest]) if np.isfinite(away[nearest]) else float("inf"))
        worst_score = max(worst_score, abs(float(others[1][nearest] - score)))
    return worst, worst_score


@dataclass(frozen=True)
class DetectorExport:
    """What an export did; `written` is empty and `worst_frame` set when the parity gate closed."""

    parity: DetectorParity
    written: list[Path] = field(default_factory=list)
    sha256: str = ""
    worst_frame: Path | None = None


def export_detector(checkpoint: Path, output: Path, *, licences: Sequence[str] = ()) -> DetectorExport:
    """Export a detector checkpoint to `output`, if the parity gate passes; its card goes beside it as .md.

    Args:
        checkpoint: A checkpoint of `edge-train detector`.
        output: The .onnx file to write.
        licences: Licences of the data, for the card.

    Raises:
        ModelError: The checkpoint is refused.
        OutputError: A file cannot be written.
    """
    net, card = load_detector(checkpoint)
    graph = DetectorGraph(net).eval()
    model = to_onnx(graph)
    parity = compare(graph, model.SerializeToString(), probe_frames())
    if not parity.passed:
        worst = output.with_suffix(".worst.png")
        write_file(worst, cv2.imencode(".png", parity.worst_input)[1].tobytes())
        return DetectorExport(parity, worst_frame=worst)
    card = {
        **card,
        "least_score": LEAST_SCORE,
        "licences": list(licences),
        "parity": parity.to_json(),
        "versions": {name: version(name) for name in ("maskedge", "torch", "onnx", "onnxruntime")},
    }
    metadata = {
        "maskedge.contract": CONTRACT,
        "maskedge.kind": "detector",
        "maskedge.labels": json.dumps(["face"]),
        "maskedge.card": json.dumps(card, sort_keys=True),
        "maskedge.selftest": _selftest(model.SerializeToString()).to_json(),
        "maskedge.sha256": "0" * 64,
    }
    onnx.helper.set_model_props(model, metadata)
    content = seal(model.SerializeToString(deterministic=True))
    write_file(output, content)
    digest = hashlib.sha256(content).hexdigest()
    if output.with_name(CATALOGUE).exists():
        entry = {
            "sha256": digest,
            "bytes": len(content),
            "net": card.get("net"),
            "parameters": card.get("parameters"),
            "labels": ["face"],
            "parity": float(f"{parity.worst:.2e}"),
        }
        catalogue = {**read_catalogue(output.parent), output.name: entry}
        write_file(output.with_name(CATALOGUE), json.dumps(catalogue, indent=1, sort_keys=True) + "\n")
    write_file(output.with_suffix(".md"), render_card(output))
    return DetectorExport(parity, [output, output.with_suffix(".md")], digest)


def compare_with_checkpoint(model: Path, checkpoint: Path) -> DetectorParity:
    """Repeat the parity check of a file that is already there.

    Raises:
        ModelError: One of the two is refused.
    """
    CnnDetector(model)
    net, _ = load_detector(checkpoint)
    return compare(DetectorGraph(net).eval(), read_model(model), probe_frames())


def _selftest(model: bytes) -> DetectorSelfTest:
    """Let a model answer its self-test on this machine: a small frame of the built-in clip."""
    frame = np.asarray(cv2.resize(demo.draw(150), (160, 128), interpolation=cv2.INTER_AREA), np.uint8)
    boxes, scores = open_plainly(model).run(["boxes", "scores"], {"frame": frame[None]})
    return DetectorSelfTest(frame, np.asarray(boxes, np.float32), np.asarray(scores, np.float32), BOX_TOLERANCE)
