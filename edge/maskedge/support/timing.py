"""Where the time of a frame goes. One mechanism for `edge-run` and `edge-bench`."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol

import numpy as np

STAGES = ("capture", "resize", "detect", "classify", "track")
"""The stages up to the answer, in the order of a frame's way. Drawing and the sinks add their own names behind them."""
HISTORY = 10_000
"""Frames whose figures are kept: a device that runs for weeks must not fill its memory with them."""
PERCENTILES = {"p50": 50, "p95": 95, "p99": 99, "max": 100}

_running = threading.local()
"""`stage`: the innermost running stage of this thread."""


class StageClock:
    """Measures the stages of each frame, in milliseconds.

    Use as `with clock("detect"): ...`, then `clock.close_frame(arrival)` once the answer stands. A stage that runs inside another
    counts as itself and not as the outer one, so that the stages of a frame add up.
    """

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        self._history: dict[str, deque[float]] = {}

    def __call__(self, stage: str) -> _Stage:
        """Measure the block as (a further part of) `stage` of the current frame."""
        return _Stage(self, stage)

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

    def history(self) -> Mapping[str, list[float]]:
        """Give the milliseconds of each stage, of the last `HISTORY` frames that had it: the stages, then sinks, `total` last."""
        known = [stage for stage in STAGES if stage in self._history]
        others = [stage for stage in self._history if stage not in STAGES and stage != "total"]
        total = ["total"] if "total" in self._history else []
        return {stage: list(self._history[stage]) for stage in known + others + total}

    def percentiles(self) -> dict[str, tuple[float, float]]:
        """Give p50 and p95 of each stage over the last `HISTORY` frames, in milliseconds, in the order of `history`."""
        figures = {stage: np.percentile(values, (50, 95)) for stage, values in self.history().items()}
        return {stage: (float(p50), float(p95)) for stage, (p50, p95) in figures.items()}


class _Stage:
    """One run of a stage. A class, not a generator: it is entered several times a frame."""

    __slots__ = ("_clock", "_name", "_outer", "_start")

    def __init__(self, clock: StageClock, name: str) -> None:
        self._clock, self._name = clock, name

    @property
    def clock(self) -> StageClock:
        """The clock that it counts for."""
        return self._clock

    def __enter__(self) -> None:
        self._outer: _Stage | None = getattr(_running, "stage", None)
        now = time.perf_counter()
        if self._outer is not None:
            self._outer.pause(now)
        _running.stage = self
        self._start = now

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        now = time.perf_counter()
        self.pause(now)
        _running.stage = self._outer
        if self._outer is not None:
            self._outer.go_on(now)

    def pause(self, now: float) -> None:
        """Count what ran until `now`: another stage takes over."""
        last = self._clock.last
        last[self._name] = last.get(self._name, 0.0) + (now - self._start) * 1000

    def go_on(self, now: float) -> None:
        """Count again from `now`."""
        self._start = now


class _NoStage:
    """Measures nothing."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        pass


class StageBlock(Protocol):
    """What `with` takes."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None: ...


_NO_STAGE = _NoStage()


def inner_stage(name: str) -> StageBlock:
    """Measure the block as stage `name`, by the clock whose stage runs around it in this thread; where none runs, not at all.

    For code that knows no clock: a detector's resizing, a sink's drawing.
    """
    outer: _Stage | None = getattr(_running, "stage", None)
    return _NO_STAGE if outer is None else _Stage(outer.clock, name)


def summarise(milliseconds: list[float]) -> dict[str, float]:
    """Give mean, p50, p95, p99 and the greatest of some times."""
    values = np.percentile(milliseconds, list(PERCENTILES.values()))
    return {"mean": float(np.mean(milliseconds)), **{name: float(value) for name, value in zip(PERCENTILES, values, strict=True)}}
