"""One pass over some frames, and what several passes of several contestants, in turn, amount to."""

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

from .report import spread


@dataclass(frozen=True)
class Pass:
    """What one pass took.

    Attributes:
        frames: Frames that were answered.
        seconds: Wall time.
        cpu_seconds: CPU time of all threads, user and system.
        faces: Faces in all answers.
        stages: Milliseconds of each stage, frame by frame; `total` is from arrival to answer.
    """

    frames: int
    seconds: float
    cpu_seconds: float
    faces: int
    stages: Mapping[str, Sequence[float]]

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.frames / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds a frame."""
        return 1000 * self.cpu_seconds / self.frames


class Contestant(Protocol):
    """Something that answers frames and can be timed."""

    def run(self, frames: Sequence[Frame]) -> Pass:
        """Answer the frames, in order, as those of a video that begins."""
        ...


class InProcess:
    """A detector in this process.

    Args:
        detector: The detector.
        threads: Threads of OpenCV, which are the whole process's: set again before each pass.
    """

    def __init__(self, detector: MaskDetector, threads: int) -> None:
        self.detector = detector
        self.threads = threads

    def run(self, frames: Sequence[Frame]) -> Pass:
        """Answer the frames, with a fresh tracker."""
        detector = self.detector
        cv2.setNumThreads(self.threads)
        detector.start_tracking()
        detector.clock.reset()
        faces = 0
        cpu, start = cpu_seconds(), time.perf_counter()
        for number, frame in enumerate(frames):
            arrival = time.perf_counter()
            # By their number: some of them are a few frames again and again.
            faces += len(detector(frame.image, number * USUAL))
            detector.clock.close_frame(arrival)
            detector.clock.next_frame()
        seconds = time.perf_counter() - start
        return Pass(len(frames), seconds, cpu_seconds() - cpu, faces, detector.clock.history())


def cpu_seconds() -> float:
    """Give the CPU time of this process so far, of all threads, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def in_turn(
    rounds: int, runs: Sequence[Callable[[], Pass]], finished: list[list[Pass]], progress: Callable[[], None] = lambda: None
) -> None:
    """Run all in turn, again and again (A B A B), so that what disturbs the machine disturbs all alike.

    Args:
        rounds: How often.
        runs: What to run.
        finished: Takes the passes of each complete round; an interruption leaves the earlier ones.
        progress: Called after each round.
    """
    for _ in range(rounds):
        finished.append([run() for run in runs])
        progress()


def figures(own: Sequence[Pass], baseline: Sequence[Pass] | None) -> dict[str, Any]:
    """Sum up the passes of one contestant.

    Args:
        own: Its passes, one a round.
        baseline: Those of the baseline in the same rounds; None where there is none.

    Returns:
        Medians and ranges over the rounds; of the stages the figures over all frames that had them.
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


def stage_figures(own: Sequence[Pass]) -> dict[str, dict[str, float]]:
    """Give the figures of each stage. The mean is over all frames, the rest over those that had the stage."""
    frames = sum(one.frames for one in own)
    stages = {}
    for stage in own[0].stages:
        values = [value for one in own for value in one.stages.get(stage, ())]
        stages[stage] = {name: round(value, 3) for name, value in (summarise(values) | {"mean": sum(values) / frames}).items()}
    return stages


def quantiles(own: Sequence[Pass]) -> list[float]:
    """Give the 0th to the 100th percentile of the latency, in milliseconds."""
    values = np.percentile([value for one in own for value in one.stages["total"]], range(101))
    return [round(float(value), 3) for value in values]
