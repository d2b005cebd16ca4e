"""The gates of smaller numbers: as right as float32 on data that the net never saw, and faster on this machine in the same run."""

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

from .parity import open_plainly

SCHEMA = "maskedge.precisions/1"
LEAST_ACCURACY = -0.003
"""Least change of the accuracy."""
LEAST_SPEED = 1.1
"""Least ratio of float32's median latency to that of the smaller numbers."""
_ROUNDS, _CALLS = 9, 100


@dataclass(frozen=True)
class Measured:
    """What a precision costs and gives.

    Attributes:
        precision: `fp32`, `fp16` or `int8`.
        bytes: Size of the file.
        accuracy: Share of right answers.
        milliseconds: Median of a call for one face, one thread.
        p95: 95th percentile of the calls.
        speed: Median over the rounds of float32's time over its own, of the same round.
    """

    precision: str
    bytes: int
    accuracy: float
    milliseconds: float
    p95: float
    speed: float


def measure(models: Mapping[str, bytes], crops: Image, targets: npt.NDArray[np.int64]) -> list[Measured]:
    """Measure models on the same crops, and time them in turn.

    Args:
        models: Bytes by precision; the first, `fp32`, is the baseline.
        crops: uint8 `[N, S, S, 3]`, BGR, never trained on.
        targets: int64 `[N]`, the right labels.
    """
    sessions = {precision: open_plainly(content) for precision, content in models.items()}
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
    """Tell which gates a precision passes."""
    return {
        f"accuracy at most {-LEAST_ACCURACY} under fp32": own.accuracy - baseline.accuracy >= LEAST_ACCURACY - 1e-9,
        f"median latency at least {LEAST_SPEED} times better than fp32 where it was exported": own.speed >= LEAST_SPEED,
    }


def precision_report(rows: Sequence[Measured], written: Mapping[str, bool], crops: int) -> dict[str, Any]:
    """Give what was measured as JSON types."""
    baseline = rows[0]
    precisions = [
        {**vars(row), "gates": {} if row is baseline else gates(row, baseline), "written": written[row.precision]} for row in rows
    ]
    return {"schema": SCHEMA, "facts": host_facts(), "crops": crops, "rounds": _ROUNDS, "precisions": precisions}
