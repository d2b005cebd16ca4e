"""Time per stage of a frame, measured with the same code in `edge-run` and `edge-bench`."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol

import numpy as np

STAGES = ("capture", "resize", "detect", "classify", "track")
"""Stages up to the result, in order. Drawing and the sinks add further stages."""
HISTORY = 10_000
"""Number of frames whose times are kept. It limits the memory in runs of weeks."""
PERCENTILES = {"p50": 50, "p95": 95, "p99": 99, "max": 100}

_running = threading.local()
"""`stage`: the innermost stage that runs in this thread."""


class StageClock:
    """Measures the stages of each frame, in milliseconds.

    Use it as `with clock("detect"): ...`, and call `clock.close_frame(arrival)` when the result is
    complete. The time of an inner stage is not added to the outer stage, so the stages of a frame
    add up to its time.
    """

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        self._history: dict[str, deque[float]] = {}

    def __call__(self, stage: str) -> _Stage:
        """Measure the block as `stage` of the current frame. Repeated blocks of a stage add up."""
        return _Stage(self, stage)

    def close_frame(self, arrival: float) -> dict[str, float]:
        """Record the latency of the frame as stage `total`, and return the frame's stages.

        The latency is the time since `arrival`, in seconds of `time.perf_counter`.
        """
        self.last["total"] = (time.perf_counter() - arrival) * 1000
        return dict(self.last)

    def next_frame(self) -> None:
        """Store the times of the current frame and start the next frame."""
        for stage, milliseconds in self.last.items():
            self._history.setdefault(stage, deque(maxlen=HISTORY)).append(milliseconds)
        self.last = {}

    def reset(self) -> None:
        """Discard all measurements, as after a warm-up."""
        self.last = {}
        self._history = {}

    def history(self) -> Mapping[str, list[float]]:
        """Return the milliseconds of each stage over its last `HISTORY` frames.

        The stages come first, then the sinks, and `total` last.
        """
        known = [stage for stage in STAGES if stage in self._history]
        others = [stage for stage in self._history if stage not in STAGES and stage != "total"]
        total = ["total"] if "total" in self._history else []
        return {stage: list(self._history[stage]) for stage in known + others + total}

    def percentiles(self) -> dict[str, tuple[float, float]]:
        """Return p50 and p95 of each stage in milliseconds, over the last `HISTORY` frames.

        They have the order of `history`.
        """
        figures = {stage: _percentiles(values, (50, 95)) for stage, values in self.history().items()}
        return {stage: (p50, p95) for stage, (p50, p95) in figures.items()}


class _Stage:
    """One run of a stage.

    It is a class instead of a generator for speed, because every frame enters several stages.
    """

    __slots__ = ("_clock", "_name", "_outer", "_start")

    def __init__(self, clock: StageClock, name: str) -> None:
        self._clock, self._name = clock, name

    @property
    def clock(self) -> StageClock:
        """The clock that records this stage."""
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
        """Add the time until `now`, because an inner stage begins."""
        last = self._clock.last
        last[self._name] = last.get(self._name, 0.0) + (now - self._start) * 1000

    def go_on(self, now: float) -> None:
        """Continue to measure at `now`."""
        self._start = now


class _NoStage:
    """A stage that measures nothing."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        pass


class StageBlock(Protocol):
    """A context manager that measures its block."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None: ...


_NO_STAGE = _NoStage()


def inner_stage(name: str) -> StageBlock:
    """Measure the block as stage `name`, with the clock of the enclosing stage in this thread.

    Without an enclosing stage, measure nothing.

    It serves code without a clock of its own, as a detector's resizing or a sink's drawing.
    """
    outer: _Stage | None = getattr(_running, "stage", None)
    return _NO_STAGE if outer is None else _Stage(outer.clock, name)


def summarise(milliseconds: list[float]) -> dict[str, float]:
    """Return mean, p50, p95, p99 and maximum of a series of times."""
    values = _percentiles(milliseconds, tuple(PERCENTILES.values()))
    return {"mean": float(np.mean(milliseconds)), **dict(zip(PERCENTILES, values, strict=True))}


def _percentiles(values: Sequence[float], percents: Sequence[float]) -> list[float]:
    """Return percentiles as `numpy.percentile`, which would load `numpy.ma` at the end of every run."""
    last = len(values) - 1
    return [float(value) for value in np.interp([percent / 100 * last for percent in percents], range(last + 1), sorted(values))]
