"""Trial of a new model beside the present one, on the device's own frames. No frame leaves the memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from maskedge.boxes import IOU, box_iou
from maskedge.errors import ModelError
from maskedge.sources.demo import draw
from maskedge.types import Face, Image
from maskedge.vision.analysis import FrameAnalyzer
from maskedge.vision.pipeline import MaskDetector

_LEAST_FRAMES = 2
_INTERVAL = 0.25
"""Minimum seconds between two frames of a trial."""
_ENOUGH_FACES = 10
"""Number of faces below which pictures of the demo are compared as well."""
_DEMO_FRAMES = (20, 60, 100)
_ROUNDS = 3
"""Number of runs of each model on a frame. The fastest counts, so that other load does not."""
_PAUSE = 0.02
"""Seconds between two runs, in which the cameras go on."""


@dataclass(frozen=True)
class TrialLimits:
    """Limits that a new model must keep.

    Attributes:
        latency_ratio: Largest duration of a detection with it, in units of the present one.
        agreement: Smallest share of the faces that both find with the same label, 0 to 1.
        frames: Number of frames of the cameras that are tried.
        frames_seconds: Maximum seconds to wait for them.
        confirm_seconds: Seconds with frames and without a failure after which it is confirmed.
        report_seconds: Maximum seconds for which an update waits for that.
    """

    latency_ratio: float = 1.5
    agreement: float = 0.8
    frames: int = 8
    frames_seconds: float = 30.0
    confirm_seconds: float = 60.0
    report_seconds: float = 600.0


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial.

    Attributes:
        frames: Number of frames of the device.
        faces: Number of compared faces.
        agreement: Share of the faces that both models find with the same label; 1 without faces.
        latency_ratio: Duration of a detection with the new model, in units of the present one.
        milliseconds: Mean duration of a detection with the present and with the new model.
    """

    frames: int
    faces: int
    agreement: float
    latency_ratio: float
    milliseconds: tuple[float, float]

    def problem(self, limits: TrialLimits) -> str:
        """Return why the new model is refused, as a clause; empty if it is not."""
        if self.latency_ratio > limits.latency_ratio:
            present, new = self.milliseconds
            return (
                f"a detection takes {new:.1f} ms instead of {present:.1f} ms (at most {limits.latency_ratio:g} times are allowed)"
            )
        if self.agreement < limits.agreement:
            return (
                f"it agrees with the present model on {self.agreement:.0%} of {self.faces} faces "
                f"(at least {limits.agreement:.0%} are needed)"
            )
        return ""


def collect_frames(analyzer: FrameAnalyzer, limits: TrialLimits, stopping: threading.Event) -> list[Image]:
    """Collect the next frames of the cameras, uint8 `[H, W, 3]`, BGR.

    Args:
        analyzer: Analyses the frames of all cameras.
        limits: Number of frames, and maximum seconds to wait.
        stopping: Ends the wait.

    Raises:
        ModelError: The cameras deliver too few frames.
    """
    frames: list[Image] = []
    complete = threading.Event()
    due = 0.0

    def tap(image: Image) -> None:
        nonlocal due
        if time.monotonic() >= due and len(frames) < limits.frames:
            frames.append(image.copy())
            due = time.monotonic() + _INTERVAL
        if len(frames) >= limits.frames:
            complete.set()

    analyzer.tap = tap
    try:
        end = time.monotonic() + limits.frames_seconds
        while not complete.wait(0.1) and not stopping.is_set() and time.monotonic() < end:
            pass
    finally:
        analyzer.tap = None
    if len(frames) < _LEAST_FRAMES:
        raise ModelError(
            f"no camera has delivered enough pictures for a trial within {limits.frames_seconds:g} s: check the cameras, "
            "and try again."
        )
    return frames


def compare(present: MaskDetector, new: MaskDetector, frames: Sequence[Image]) -> TrialResult:
    """Run two models on the same frames.

    Args:
        present: The present model, a variant for single pictures.
        new: The new model, likewise.
        frames: uint8 `[H, W, 3]`, BGR.

    Raises:
        ModelError: A model fails.
    """
    agreed = total = 0
    durations = [0.0, 0.0]
    for frame in frames:
        fastest = [float("inf"), float("inf")]
        for _ in range(_ROUNDS):
            for number, detector in enumerate((present, new)):
                started = time.perf_counter()
                detector.detect(frame)
                fastest[number] = min(fastest[number], time.perf_counter() - started)
                time.sleep(_PAUSE)
        durations = [total + own for total, own in zip(durations, fastest, strict=True)]
        same, faces = _agreement(present, new, frame)
        agreed, total = agreed + same, total + faces
    if total < _ENOUGH_FACES:
        for number in _DEMO_FRAMES:
            same, faces = _agreement(present, new, draw(number))
            agreed, total = agreed + same, total + faces
    return TrialResult(
        frames=len(frames),
        faces=total,
        agreement=agreed / total if total else 1.0,
        latency_ratio=durations[1] / max(durations[0], 1e-9),
        milliseconds=(1000 * durations[0] / len(frames), 1000 * durations[1] / len(frames)),
    )


def _agreement(present: MaskDetector, new: MaskDetector, frame: Image) -> tuple[int, int]:
    """Return how many faces both models find with the same label, and how many either finds."""
    before, after = ([scored.face for scored in detector.detect(frame)] for detector in (present, new))
    left: list[Face] = list(after)
    agreed = matched = 0
    for face in before:
        other = max(left, key=lambda one: box_iou(face.box, one.box), default=None)
        if other is not None and box_iou(face.box, other.box) >= IOU:
            left.remove(other)
            matched += 1
            agreed += other.label == face.label
    return agreed, len(before) + len(after) - matched
