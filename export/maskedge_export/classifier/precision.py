"""Gates of the int8 and fp16 files: accuracy on held-out data, and speed on this machine.

Both files are compared with float32 in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from maskedge.system.host import host_facts
from maskedge.types import Image

from ..onnx_file import open_cpu_session

SCHEMA = "maskedge.precisions/1"
LEAST_ACCURACY = -0.003
"""Smallest admitted change of the accuracy."""
LEAST_SPEED = 1.1
"""Smallest admitted speed-up of the median latency over float32."""
_ROUNDS, _CALLS = 9, 100


@dataclass(frozen=True)
class Measured:
    """Measurements of one precision.

    Attributes:
        precision: `fp32`, `fp16` or `int8`.
        bytes: Size of the file.
        accuracy: Share of correct labels.
        milliseconds: Median latency of one face on one thread.
        p95: 95th percentile of that latency, in milliseconds.
        speed: Speed-up over float32 in the same round, median over the rounds.
    """

    precision: str
    bytes: int
    accuracy: float
    milliseconds: float
    p95: float
    speed: float


def measure(models: Mapping[str, bytes], crops: Image, targets: npt.NDArray[np.int64]) -> list[Measured]:
    """Measure the accuracy and latency of models on the same crops, interleaved round by round.

    Args:
        models: Bytes of the .onnx files by precision. The first, `fp32`, is the baseline.
        crops: Held-out crops, uint8 `[N, S, S, 3]`, BGR.
        targets: Indices of the true labels, int64 `[N]`.
    """
    sessions = {precision: open_cpu_session(content) for precision, content in models.items()}
    rounds: dict[str, list[float]] = {precision: [] for precision in models}
    calls: dict[str, list[float]] = {precision: [] for precision in models}
    for counted in range(-1, _ROUNDS):
        for precision, session in sessions.items():
            own = []
            for call in range(_CALLS):
                face = crops[call % len(crops)][None]
                start = time.perf_counter()
                session.run(None, {"faces": face})
                own.append(1000 * (time.perf_counter() - start))
            if counted >= 0:
                rounds[precision].append(median(own))
                calls[precision] += own
    baseline = rounds[next(iter(models))]
    return [
        Measured(
            precision,
            len(models[precision]),
            round(_accuracy(session, crops, targets), 4),
            round(median(calls[precision]), 4),
            round(float(np.percentile(calls[precision], 95)), 4),
            round(median(base / own for base, own in zip(baseline, rounds[precision], strict=True)), 3),
        )
        for precision, session in sessions.items()
    ]


def _accuracy(session: Any, crops: Image, targets: npt.NDArray[np.int64]) -> float:
    answers = [session.run(None, {"faces": crops[start : start + 64]})[0].argmax(axis=1) for start in range(0, len(crops), 64)]
    return float((np.concatenate(answers) == targets).mean())


def gates(own: Measured, baseline: Measured) -> dict[str, bool]:
    """Return for each gate whether a precision passes it."""
    return {
        f"accuracy at most {-LEAST_ACCURACY} under fp32": own.accuracy - baseline.accuracy >= LEAST_ACCURACY - 1e-9,
        f"median latency at least {LEAST_SPEED} times better than fp32 where it was exported": own.speed >= LEAST_SPEED,
    }


def precision_report(rows: Sequence[Measured], written: Mapping[str, bool], crops: int) -> dict[str, Any]:
    """Return the measurements as a report of JSON types.

    Args:
        rows: Measurements, float32 first.
        written: By precision, True if the file was written.
        crops: Number of crops measured.
    """
    baseline = rows[0]
    precisions = [
        {**vars(row), "gates": {} if row is baseline else gates(row, baseline), "written": written[row.precision]} for row in rows
    ]
    return {"schema": SCHEMA, "facts": host_facts(), "crops": crops, "rounds": _ROUNDS, "precisions": precisions}
