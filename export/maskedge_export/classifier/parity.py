"""The parity check: ONNX file and PyTorch network must agree on the same uint8 crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from maskedge.types import Image

from ..onnx_file import OPTIMISATION_LEVELS, open_cpu_session

TOLERANCE = 1e-4
"""Largest admitted difference of a probability, or of a place as a fraction of the crop's side."""
BATCHES = (1, 2, 7, 32)


@dataclass(frozen=True)
class Parity:
    """Result of a parity check.

    Attributes:
        crops: Number of outputs compared.
        worst: Largest difference of a probability or place.
        worst_input: Crop with the largest difference, uint8 `[S, S, 3]`, BGR.
        changed: Number of crops whose most probable label differs.
    """

    crops: int
    worst: float
    worst_input: Image
    changed: int

    @property
    def passed(self) -> bool:
        """True if the differences are within the tolerance."""
        return self.worst <= TOLERANCE and self.changed == 0

    def to_json(self) -> dict[str, Any]:
        """Return the result as the model card stores it."""
        return {
            "crops": self.crops,
            "worst_difference": float(f"{self.worst:.2e}"),
            "changed": self.changed,
            "tolerance": TOLERANCE,
        }


def probe_crops(size: int, seed: int = 0) -> Image:
    """Return the fixed crops of every parity check, uint8 `[N, size, size, 3]`.

    They are flat, noise and smooth shapes.
    """
    random = np.random.default_rng(seed)
    flat = [np.full((size, size, 3), value, np.uint8) for value in (0, 255, 128)]
    noise = list(random.integers(0, 256, (29, size, size, 3), np.uint8))
    coarse = torch.from_numpy(random.random((32, 3, 5, 5), np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1).permute(0, 2, 3, 1)
    return np.stack([*flat, *noise, *np.asarray((smooth * 255).numpy(), np.uint8)])


@torch.inference_mode()
def compare(graph: nn.Module, model: bytes, crops: Image) -> Parity:
    """Compare PyTorch with ONNX Runtime.

    The comparison runs with graph optimisation off and on, one and two threads, and several batch
    sizes.

    Args:
        graph: Maps uint8 `[N, S, S, 3]` to probabilities, float32 `[N, C]`, and further float32
            `[N, ...]`.
        model: Bytes of the .onnx file.
        crops: uint8 `[N, S, S, 3]`.
    """
    parts = [graph(torch.from_numpy(crops[start : start + 64])) for start in range(0, len(crops), 64)]
    labels = parts[0][0].shape[1]
    expected = np.concatenate([torch.cat(part, dim=1).numpy() for part in parts])
    worst, worst_index, changed, compared = 0.0, 0, 0, 0
    for level in OPTIMISATION_LEVELS:
        for threads in (1, 2):
            session = open_cpu_session(model, level, threads)
            for batch in BATCHES:
                answers = np.concatenate(
                    [
                        np.concatenate(session.run(None, {"faces": crops[start : start + batch]}), axis=1)
                        for start in range(0, len(crops), batch)
                    ]
                )
                difference = np.abs(answers - expected).max(axis=1)
                # A comparison with NaN is false, so NaN would count as no difference.
                difference[~np.isfinite(difference)] = np.inf
                if difference.max() >= worst:
                    worst, worst_index = float(difference.max()), int(difference.argmax())
                changed += int((answers[:, :labels].argmax(1) != expected[:, :labels].argmax(1)).sum())
                compared += len(crops)
    return Parity(compared, worst, crops[worst_index], changed)
