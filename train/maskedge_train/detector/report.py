"""What a detector finds in pictures that it did not learn from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from maskedge.files import write_file
from maskedge.track import box_iou

from ..classifier import normalise
from ..nets import count_parameters
from .checkpoint import load_detector
from .samples import WHOLE, Scene, letterbox

SCHEMA = "maskedge.detector/1"
NMS_IOU = 0.45
"""Of two boxes that overlap by more than this the better one stays."""
SCORES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6)
_LEAST_FACE = 0.05
"""Smaller faces (square root of the area, in units of the picture's longest side) do not count: 32 pixels of 640."""
_OVERLAP = 0.4


def suppress(
    boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], least: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Non-maximum suppression of float32 `[A, 4]` (x1, y1, x2, y2) and `[A]`; what is left, best first."""
    sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = np.asarray(cv2.dnn.NMSBoxes(sizes.tolist(), scores.tolist(), least, NMS_IOU), np.int64).reshape(-1)
    return boxes[kept], scores[kept]


@torch.inference_mode()
def measure_detector(
    checkpoint: Path, scenes: Sequence[Scene], out: Path, *, history: list[dict[str, float]], data: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Measure a detector at several least scores, and write report.json to `out`.

    Returns:
        The report: for each least score the shares of masked and unmasked faces found (IoU of at least 0.4), and the boxes that lie
        on no face, by picture.
    """
    net, _ = load_detector(checkpoint)
    hits: dict[bool, list[float]] = {True: [], False: []}
    alarms: list[float] = []
    for scene in scenes:
        image, _ = letterbox(scene, WHOLE)
        scale = WHOLE / max(scene.image.shape[:2])
        pixels = normalise(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)
        logits, places = net(pixels)
        boxes, scores = suppress(places[0].numpy() / scale, torch.sigmoid(logits[0]).numpy(), min(SCORES))
        least = _LEAST_FACE * max(scene.image.shape[:2])
        free = np.ones(len(boxes), np.bool_)
        for face, masked in zip(scene.boxes, scene.masked, strict=True):
            overlaps = np.array([box_iou(tuple(face), tuple(box)) for box in boxes])
            own = overlaps >= _OVERLAP if len(boxes) else np.zeros(0, np.bool_)
            free &= ~own
            if np.sqrt((face[2] - face[0]) * (face[3] - face[1])) >= least:
                hits[bool(masked)].append(float(scores[own].max()) if own.any() else 0.0)
        sides = np.sqrt(np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 0))
        alarms += scores[free & (sides >= least)].tolist()
    curve = [
        {
            "score": score,
            **{
                f"{name}_found": round(float(np.mean(np.array(hits[masked]) >= score)), 4) if hits[masked] else None
                for name, masked in (("masked", True), ("unmasked", False))
            },
            "false_alarms": round(float((np.array(alarms) >= score).sum()) / max(1, len(scenes)), 4),
        }
        for score in SCORES
    ]
    report = {
        "schema": SCHEMA,
        "parameters": count_parameters(net),
        "side": WHOLE,
        "data": data,
        "pictures": len(scenes),
        "faces": {"masked": len(hits[True]), "unmasked": len(hits[False])},
        "curve": curve,
        "history": history,
        "train_seconds": round(seconds, 1),
    }
    write_file(out / "report.json", json.dumps(report, indent=1) + "\n")
    return report
