"""The parity gate: the ONNX file must answer as the PyTorch net does, from the same uint8 crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn

from maskedge.types import Image

TOLERANCE = 1e-4
"""Greatest admitted difference of a probability, or of a place in units of the crop's side."""
BATCHES = (1, 2, 7, 32)


@dataclass(frozen=True)
class Parity:
    """Result of a comparison.

    Attributes:
        crops: Number of answers compared.
        worst: Greatest difference of a probability or place.
        worst_input: uint8 `[S, S, 3]`, the crop it was found on.
        changed: Number of crops for which the likeliest label differs.
    """

    crops: int
    worst: float
    worst_input: Image
    changed: int

    @property
    def passed(self) -> bool:
        """Tell whether the file may be written."""
        return self.worst <= TOLERANCE and self.changed == 0

    def to_json(self) -> dict[str, Any]:
        """Give the result as it stands in the card."""
        return {
            "crops": self.crops,
            "worst_difference": float(f"{self.worst:.2e}"),
            "changed": self.changed,
            "tolerance": TOLERANCE,
        }


def probe_crops(size: int, seed: int = 0) -> Image:
    """Make crops that every file is compared on: black, white, flat, noise, and smooth shapes. uint8 `[N, size, size, 3]`."""
    random = np.random.default_rng(seed)
    flat = [np.full((size, size, 3), value, np.uint8) for value in (0, 255, 128)]
    noise = list(random.integers(0, 256, (29, size, size, 3), np.uint8))
    coarse = torch.from_numpy(random.random((32, 3, 5, 5), np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1).permute(0, 2, 3, 1)
    return np.stack([*flat, *noise, *np.asarray((smooth * 255).numpy(), np.uint8)])


def open_plainly(
    model: bytes,
    level: onnxruntime.GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    threads: int = 1,
) -> onnxruntime.InferenceSession:
    """Open a model on the CPU, whatever else the installed onnxruntime can use."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@torch.inference_mode()
def compare(graph: nn.Module, model: bytes, crops: Image) -> Parity:
    """Compare PyTorch with ONNX Runtime: graph optimisation off and on, one thread and two, several batch sizes.

    Args:
        graph: uint8 `[N, S, S, 3]` to float32 `[N, C]` and what else it answers, float32 `[N, ...]`.
        model: Bytes of the .onnx file.
        crops: uint8 `[N, S, S, 3]`.
    """
    parts = [graph(torch.from_numpy(crops[start : start + 64])) for start in range(0, len(crops), 64)]
    labels = parts[0][0].shape[1]
    expected = np.concatenate([torch.cat(part, dim=1).numpy() for part in parts])
    worst, worst_index, changed, compared = 0.0, 0, 0, 0
    levels = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    for level in levels:
        for threads in (1, 2):
            session = open_plainly(model, level, threads)
            for batch in BATCHES:
                answers = np.concatenate(
                    [
                        np.concatenate(session.run(None, {"faces": crops[start : start + batch]}), axis=1)
                        for start in range(0, len(crops), batch)
                    ]
                )
                difference = np.abs(answers - expected).max(axis=1)
                # NaN would compare as no difference.
                difference[~np.isfinite(difference)] = np.inf
                if difference.max() >= worst:
                    worst, worst_index = float(difference.max()), int(difference.argmax())
                changed += int((answers[:, :labels].argmax(1) != expected[:, :labels].argmax(1)).sum())
                compared += len(crops)
    return Parity(compared, worst, crops[worst_index], changed)
