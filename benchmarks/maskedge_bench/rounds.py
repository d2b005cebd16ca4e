"""Timed rounds. Each contestant runs once per round, and figures are medians over the rounds."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

import cv2
import numpy as np

from maskedge.support.timing import summarise
from maskedge.tracking.elapsed import USUAL
from maskedge.types import Frame
from maskedge.vision.pipeline import MaskDetector

from .conditions import spread


@dataclass(frozen=True)
class Round:
    """Measurements of one contestant in one round.

    Attributes:
        frames: Number of frames.
        seconds: Wall time.
        cpu_seconds: CPU time of all threads, user and system.
        faces: Number of faces in all frames.
        stages: Milliseconds per frame of each stage. `total` runs from arrival to result.
    """

    frames: int
    seconds: float
    cpu_seconds: float
    faces: int
    stages: Mapping[str, Sequence[float]]

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.frames / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds per frame."""
        return 1000 * self.cpu_seconds / self.frames


class Contestant(Protocol):
    """A face-mask detector that can be timed."""

    def run(self, frames: Sequence[Frame]) -> Round:
        """Process the frames in order, as the first frames of a video."""
        ...


class InProcess:
    """A pipeline in this process.

    Args:
        detector: The pipeline.
        threads: Threads of OpenCV. The setting is global to the process, so each round sets it
            again.
    """

    def __init__(self, detector: MaskDetector, threads: int) -> None:
        self.detector = detector
        self.threads = threads

    def run(self, frames: Sequence[Frame]) -> Round:
        """Process the frames with a new tracker."""
        detector = self.detector
        cv2.setNumThreads(self.threads)
        # Without the motion gate, a detection costs the same in each frame. Some inputs repeat a
        # few frames, and the gate would search hardly anything.
        detector.start_tracking(motion_gate=False)
        detector.clock.reset()
        faces = 0
        cpu, start = cpu_seconds(), time.perf_counter()
        for number, frame in enumerate(frames):
            arrival = time.perf_counter()
            # Timestamps by number: some inputs repeat a few frames.
            faces += len(detector(frame.image, number * USUAL))
            detector.clock.close_frame(arrival)
            detector.clock.next_frame()
        seconds = time.perf_counter() - start
        return Round(len(frames), seconds, cpu_seconds() - cpu, faces, detector.clock.history())


def cpu_seconds() -> float:
    """Return the CPU seconds of this process so far, user and system, over all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def in_turn(
    rounds: int, runs: Sequence[Callable[[], Round]], finished: list[list[Round]], progress: Callable[[], None] = lambda: None
) -> None:
    """Run all contestants in turn (A B A B), so that disturbances affect all alike.

    Args:
        rounds: Number of rounds.
        runs: One function per contestant.
        finished: Receives the measurements of each complete round. An interruption keeps earlier
            rounds.
        progress: Called after each round.
    """
    for _ in range(rounds):
        finished.append([run() for run in runs])
        progress()


def figures(own: Sequence[Round], baseline: Sequence[Round] | None) -> dict[str, Any]:
    """Summarise the rounds of one contestant.

    Args:
        own: Its rounds.
        baseline: The same rounds of the baseline, or None without a baseline.

    Returns:
        Medians and ranges over the rounds, and the figures of each stage.
    """
    pairs = list(zip(own, baseline, strict=True)) if baseline is not None else None
    return {
        "frames_per_second": spread([one.rate for one in own]),
        "ratio_to_baseline": spread([one.rate / base.rate for one, base in pairs], 3) if pairs else None,
        "cpu_ms": spread([one.cpu_ms for one in own], 3),
        "cpu_to_baseline": spread([one.cpu_ms / max(base.cpu_ms, 1e-9) for one, base in pairs], 3) if pairs else None,
        "faces_a_frame": round(median(one.faces / one.frames for one in own), 2),
        "stages_ms": stage_figures(own),
    }


def stage_figures(own: Sequence[Round]) -> dict[str, dict[str, float]]:
    """Return the figures of each stage.

    The mean is over all frames, the other figures over the frames with that stage.
    """
    frames = sum(one.frames for one in own)
    stages = {}
    for stage in own[0].stages:
        values = [value for one in own for value in one.stages.get(stage, ())]
        stages[stage] = {name: round(value, 3) for name, value in (summarise(values) | {"mean": sum(values) / frames}).items()}
    return stages


def quantiles(own: Sequence[Round]) -> list[float]:
    """Return the percentiles 0 to 100 of the latency, in milliseconds."""
    values = np.percentile([value for one in own for value in one.stages["total"]], range(101))
    return [round(float(value), 3) for value in values]
