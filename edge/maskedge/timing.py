"""Where the time of a frame goes. One mechanism for `edge-run` and `edge-bench`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

STAGES = ("capture", "detect", "classify", "track")
"""The stages up to the answer, in the order of a frame's way. Sinks add their own names behind them."""
HISTORY = 10_000
"""Frames whose figures are kept: a device that runs for weeks must not fill its memory with them."""


class StageClock:
    """Measures the stages of each frame, in milliseconds.

    Use as `with clock("detect"): ...`, then `clock.close_frame(arrival)` once the answer stands.
    """

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        self._history: dict[str, deque[float]] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Measure the block as (a further part of) `stage` of the current frame."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.last[stage] = self.last.get(stage, 0.0) + (time.perf_counter() - start) * 1000

    def close_frame(self, arrival: float) -> dict[str, float]:
        """Note the answer's latency since `arrival` (seconds of `time.perf_counter`) as stage `total`; give the frame's stages."""
        self.last["total"] = (time.perf_counter() - arrival) * 1000
        return dict(self.last)

    def next_frame(self) -> None:
        """Keep the current frame's figures and start the next frame."""
        for stage, milliseconds in self.last.items():
            self._history.setdefault(stage, deque(maxlen=HISTORY)).append(milliseconds)
        self.last = {}

    def reset(self) -> None:
        """Forget everything measured (after a warm-up)."""
        self.last = {}
        self._history = {}

    def percentiles(self) -> dict[str, tuple[float, float]]:
        """Give p50 and p95 of each stage over the last `HISTORY` frames, in milliseconds: the stages, then sinks, `total` last."""
        known = [stage for stage in STAGES if stage in self._history]
        others = [stage for stage in self._history if stage not in STAGES and stage != "total"]
        total = ["total"] if "total" in self._history else []
        return {
            stage: (float(np.percentile(self._history[stage], 50)), float(np.percentile(self._history[stage], 95)))
            for stage in known + others + total
        }
