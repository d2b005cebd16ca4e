"""The parity check: ONNX file and PyTorch network must find the same boxes in the same frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from maskedge.sources import demo
from maskedge.types import Image
from maskedge_train.detector.evaluate import NMS_IOU, suppress

from ..onnx_file import OPTIMISATION_LEVELS, TOLERANCE, open_cpu_session
from .graph import LEAST_SCORE, DetectorGraph

BOX_TOLERANCE = 0.1
"""Largest admitted difference of a coordinate, in pixels of the input."""
_ROUNDING = 1e-3
"""Distance to the score threshold or overlap limit within which rounding may decide."""


@dataclass(frozen=True)
class DetectorParity:
    """Result of a parity check.

    Attributes:
        frames: Number of outputs compared.
        boxes: Number of boxes in them.
        worst: Largest difference of a coordinate in pixels; infinite if a box has no counterpart.
        worst_input: Frame with the largest difference, uint8 `[H, W, 3]`, BGR.
        worst_score: Largest difference of a score.
    """

    frames: int
    boxes: int
    worst: float
    worst_input: Image
    worst_score: float

    @property
    def passed(self) -> bool:
        """True if the differences are within the tolerance."""
        return self.worst <= BOX_TOLERANCE and self.worst_score <= TOLERANCE["fp32"]

    def to_json(self) -> dict[str, Any]:
        """Return the result as the model card stores it."""
        return {
            "frames": self.frames,
            "boxes": self.boxes,
            "worst_difference": float(f"{self.worst:.2e}"),
            "worst_score_difference": float(f"{self.worst_score:.2e}"),
            "tolerance": BOX_TOLERANCE,
        }


def probe_frames(seed: int = 0) -> list[Image]:
    """Return the fixed frames of every parity check: the built-in clip, black, white, and noise.

    Returns:
        Frames uint8 `[H, W, 3]`, BGR, of several sizes, all multiples of 32.
    """
    random = np.random.default_rng(seed)
    frames = [np.full((96, 128, 3), value, np.uint8) for value in (0, 255)]
    frames += [random.integers(0, 256, (*size, 3), np.uint8) for size in ((32, 32), (128, 96), (224, 320))]
    for index in range(20, demo.FRAMES, 40):
        for size in ((320, 256), (640, 480)):
            frames.append(np.asarray(cv2.resize(demo.draw(index), size, interpolation=cv2.INTER_AREA), np.uint8))
    return frames


@torch.inference_mode()
def compare(graph: DetectorGraph, model: bytes, frames: Sequence[Image]) -> DetectorParity:
    """Compare PyTorch with ONNX Runtime, each with its own non-maximum suppression.

    The comparison runs with graph optimisation off and on, and with one and two threads.

    Args:
        graph: The network in PyTorch.
        model: Bytes of the .onnx file.
        frames: uint8 `[H, W, 3]` each, H and W multiples of 32.
    """
    expected = []
    for frame in frames:
        boxes, scores = graph(torch.from_numpy(frame)[None])
        expected.append(_Expected.of(boxes[0].numpy(), scores[0, 0].numpy()))
    worst, worst_input, worst_score, compared, count = 0.0, frames[0], 0.0, 0, 0
    for level in OPTIMISATION_LEVELS:
        for threads in (1, 2):
            session = open_cpu_session(model, level, threads)
            for frame, wanted in zip(frames, expected, strict=True):
                found = session.run(["boxes", "scores"], {"frame": frame[None]})
                difference, score = wanted.difference(found[0], found[1])
                worst_score = max(worst_score, score)
                if difference >= worst:
                    worst, worst_input = difference, frame
                compared, count = compared + 1, count + len(found[1])
    return DetectorParity(compared, count, worst, worst_input, worst_score)


_Output = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class _Expected:
    """The output of PyTorch for a frame.

    Attributes:
        certain: Boxes and scores that remain under any admitted rounding.
        possible: Boxes and scores that may remain.
    """

    certain: _Output
    possible: _Output

    @classmethod
    def of(cls, boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32]) -> _Expected:
        """Apply non-maximum suppression at a slightly lower, equal and slightly higher overlap."""
        kept = [suppress(boxes, scores, LEAST_SCORE - _ROUNDING, NMS_IOU + change) for change in (-_ROUNDING, 0.0, _ROUNDING)]
        strict, lenient = ({tuple(box) for box in kept[place][0].tolist()} for place in (0, 2))
        both = np.array(
            [
                tuple(box) in strict & lenient and score > LEAST_SCORE + _ROUNDING
                for box, score in zip(kept[1][0].tolist(), kept[1][1], strict=True)
            ],
            np.bool_,
        )
        possible = np.concatenate([own for own, _ in kept]), np.concatenate([score for _, score in kept])
        return cls((kept[1][0][both], kept[1][1][both]), possible)

    def difference(self, boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32]) -> tuple[float, float]:
        """Return the largest differences of boxes and of scores; infinite without a counterpart."""
        pairs = (_nearest(self.certain, (boxes, scores)), _nearest((boxes, scores), self.possible))
        return max(worst for worst, _ in pairs), max(score for _, score in pairs)


def _nearest(some: _Output, others: _Output) -> tuple[float, float]:
    """Return the largest distance of boxes and scores to those of the nearest of `others`."""
    worst = worst_score = 0.0
    for box, score in zip(*some, strict=True):
        if not len(others[0]):
            return float("inf"), worst_score
        away = np.abs(others[0] - box).max(axis=1)
        nearest = int(away.argmin())
        worst = max(worst, _finite(away[nearest]))
        worst_score = max(worst_score, _finite(abs(others[1][nearest] - score)))
    return worst, worst_score


def _finite(difference: float) -> float:
    """Return a difference, infinite for NaN: a comparison with NaN is false, so it would count as no difference."""
    return float(difference) if np.isfinite(difference) else float("inf")
