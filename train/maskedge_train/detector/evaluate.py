"""Evaluation of a detector on held-out pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from maskedge.boxes import box_iou
from maskedge.support.files import write_file
from maskedge_train.shared.layers import count_parameters
from maskedge_train.shared.pixels import normalise

from .checkpoint import load_detector
from .net import EdgeFace
from .samples import Scene, letterbox

SCHEMA = "maskedge.detector/1"
NMS_IOU = 0.45
"""Overlap (IoU) above which the box with the lower score is suppressed."""
SCORES = (0.1, 0.15, 0.2, 0.3, 0.5)
SIDES = (320, 480)
"""Longest sides of the picture at which a detector is measured."""
_KINDS = (("masked", True), ("unmasked", False))
_MIN_FACE_SIZE = 0.05
"""Minimum face size: square root of the area relative to the picture's longest side, 32 of 640."""
_OVERLAP = 0.4


def suppress(
    boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], threshold: float, overlap: float = NMS_IOU
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Apply non-maximum suppression.

    Args:
        boxes: float32 `[A, 4]`, x1, y1, x2, y2.
        scores: float32 `[A]`.
        threshold: Minimum score.
        overlap: Overlap (IoU) above which the box with the lower score is dropped.

    Returns:
        The remaining boxes and scores, the highest score first.
    """
    sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = np.asarray(cv2.dnn.NMSBoxes(sizes.tolist(), scores.tolist(), threshold, overlap), np.int64).reshape(-1)
    return boxes[kept], scores[kept]


def measure_detector(
    checkpoint: Path,
    scenes: Sequence[Scene],
    out: Path,
    *,
    history: list[dict[str, float]],
    data: dict[str, Any],
    source: Sequence[Scene] = (),
    before: EdgeFace | None = None,
) -> dict[str, Any]:
    """Measure a detector at several picture sizes and score thresholds; write report.json.

    Only pictures with people count, since a classifier follows the detector.

    Args:
        checkpoint: Checkpoint of the detector.
        scenes: Held-out pictures.
        out: Folder of report.json.
        history: Learning curves for the report.
        data: Facts about the data for the report.
        source: Pictures of a held-out source, measured apart.
        before: Initial network of a fine-tuning, measured on the same pictures.

    Returns:
        The report: for each size and threshold the shares of masked and unmasked faces found (IoU
            of at least 0.4), and the false positives per picture. Detections on unlabelled faces are
            no false positives.
    """
    net, _ = load_detector(checkpoint)
    report = {
        "schema": SCHEMA,
        "parameters": count_parameters(net),
        "data": data,
        **_figures(net, scenes),
        **({"before": _figures(before, scenes)} if before is not None else {}),
        **({"held_out_source": _figures(net, source)} if source else {}),
        "history": history,
        "train_seconds": round(sum(epoch["seconds"] for epoch in history), 1),
    }
    write_file(out / "report.json", json.dumps(report, indent=1) + "\n")
    return report


def _figures(net: EdgeFace, scenes: Sequence[Scene]) -> dict[str, Any]:
    people = [scene for scene in scenes if len(scene.boxes)]
    return {
        "pictures": len(people),
        "faces": {name: sum(int((scene.masked == masked).sum()) for scene in people) for name, masked in _KINDS},
        "curve": [row for side in SIDES for row in _measure(net, people, side)],
    }


@torch.inference_mode()
def detect_faces(
    net: EdgeFace, scene: Scene, side: int, threshold: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Detect the faces of a scene, scaled to a longest side of `side` pixels.

    Returns:
        Boxes, float32 `[K, 4]` in pixels of the scene, and scores, float32 `[K]`.
    """
    image, _ = letterbox(scene, side)
    logits, places = net(normalise(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255))
    scale = max(scene.image.shape[:2]) / side
    return suppress(places[0].numpy() * scale, torch.sigmoid(logits[0]).numpy(), threshold)


def _measure(net: EdgeFace, scenes: Sequence[Scene], side: int) -> list[dict[str, Any]]:
    """Measure at one picture size; return a row for each score threshold."""
    hits: dict[bool, list[float]] = {True: [], False: []}
    false_positives: list[float] = []
    for scene in scenes:
        longest = max(scene.image.shape[:2])
        boxes, scores = detect_faces(net, scene, side, min(SCORES))
        free = np.ones(len(boxes), np.bool_)
        for face, masked in zip(scene.boxes, scene.masked, strict=True):
            own = np.array([box_iou(tuple(face), tuple(box)) >= _OVERLAP for box in boxes], np.bool_)
            free &= ~own
            if np.sqrt((face[2:] - face[:2]).prod()) >= _MIN_FACE_SIZE * longest:
                hits[bool(masked)].append(float(scores[own].max()) if own.any() else 0.0)
        for face in scene.unlabelled:
            free &= ~np.array([box_iou(tuple(face), tuple(box)) >= _OVERLAP for box in boxes], np.bool_)
        sides = np.sqrt(np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 0))
        false_positives += scores[free & (sides >= _MIN_FACE_SIZE * longest)].tolist()
    return [
        {
            "side": side,
            "score": score,
            **{
                f"{name}_found": round(float(np.mean(np.array(hits[masked]) >= score)), 4) if hits[masked] else None
                for name, masked in _KINDS
            },
            "false_alarms": round(float((np.array(false_positives) >= score).sum()) / max(1, len(scenes)), 4),
        }
        for score in SCORES
    ]
