"""The live measurement: runs with several faces, sizes and rates, and several cameras at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from maskedge.modelfile.contract import default_model
from maskedge.support.text import counted
from maskedge.types import Frame
from maskedge.vision.detectors import DEFAULT_DETECTOR
from maskedge.vision.pipeline import DETECT_EVERY, MaskDetector
from maskedge.vision.worker import DetectionWorker
from maskedge_bench.conditions import Conditions
from maskedge_bench.report_schemas import LIVE
from maskedge_bench.speed.composed_frames import compose

from .measure import MODES, measure_live

DETECTORS = (DEFAULT_DETECTOR, "cnn")
_FRAMES = 30
"""Number of different frames of a scene."""
_SWAY = 0.05
"""Distance that a face moves to each side, as a fraction of its part of the frame's width. At 4 faces
in 640 x 480 pixels, it moves by up to 3 pixels from frame to frame."""
MOST_DROPPED = 0.01
"""Share of dropped frames from which a machine cannot keep up with its cameras."""


@dataclass(frozen=True)
class Scene:
    """The view of a camera.

    Attributes:
        size: Width and height in pixels.
        faces: Number of moving faces. 0: an empty room with the noise of a sensor.
        rate: Frames per second.
    """

    size: tuple[int, int]
    faces: int
    rate: float


@dataclass(frozen=True)
class LivePlan:
    """The parameters of a measurement.

    Without `full`, one property of the scene varies at a time, and the others have their usual value
    (640 x 480 pixels, 4 faces, 30 frames per second) or the first one given.

    Attributes:
        detectors: Names of detectors.
        modes: Some of `MODES`.
        sizes: Sizes of the frames in pixels.
        faces: Numbers of faces.
        rates: Frames per second.
        streams: Numbers of cameras at a time, ascending; empty omits these runs. They end at the
            first number that drops more than `MOST_DROPPED` of the frames.
        seconds: Duration of each run.
        threads: Threads of ONNX Runtime and OpenCV; None for those of `edge-run`.
        full: Measure every combination.
        quick: True for the short version.
    """

    detectors: tuple[str, ...] = DETECTORS
    modes: tuple[str, ...] = MODES
    sizes: tuple[tuple[int, int], ...] = ((640, 480), (1280, 720))
    faces: tuple[int, ...] = (0, 1, 4, 16)
    rates: tuple[float, ...] = (15.0, 30.0, 60.0)
    streams: tuple[int, ...] = (1, 2, 4, 8)
    seconds: float = 8.0
    threads: int | None = None
    full: bool = False
    quick: bool = False

    def shortened(self) -> LivePlan:
        """Return the version that takes less than a minute."""
        size, faces, rate = _usual(self)
        return replace(
            self,
            sizes=(size,),
            faces=tuple(dict.fromkeys((*self.faces[:1], faces))),
            rates=(rate,),
            streams=self.streams[:2],
            seconds=min(self.seconds, 2.0),
            full=False,
            quick=True,
        )

    @property
    def scenes(self) -> list[Scene]:
        """The scenes, those with the same frames one after another."""
        if self.full:
            return [Scene(*values) for values in product(self.sizes, self.faces, self.rates)]
        size, faces, rate = _usual(self)
        scenes = [Scene(size, number, rate) for number in self.faces]
        scenes += [Scene(size, faces, other) for other in self.rates]
        scenes += [Scene(other, faces, rate) for other in self.sizes]
        return list(dict.fromkeys(sorted(scenes, key=lambda scene: (scene.size, scene.faces))))

    @property
    def steps(self) -> int:
        """The largest number of runs."""
        return (len(self.scenes) + len(self.streams)) * len(self.detectors) * len(self.modes)


def _usual(plan: LivePlan) -> tuple[tuple[int, int], int, float]:
    """Return the usual size, number of faces and rate, or the first one given."""
    return (
        (640, 480) if (640, 480) in plan.sizes else plan.sizes[0],
        4 if 4 in plan.faces else plan.faces[0],
        30.0 if 30.0 in plan.rates else plan.rates[0],
    )


class LiveRun:
    """A measurement that can be interrupted; `report` then covers its complete runs.

    Args:
        plan: The parameters.
        progress: Called with the name of the next run.
    """

    def __init__(self, plan: LivePlan, progress: Callable[[str], None] = lambda _: None) -> None:
        self.rows: list[dict[str, Any]] = []
        self.streams: list[dict[str, Any]] = []
        self._plan = plan
        self._progress = progress
        self._conditions = Conditions()
        self._drawn: tuple[tuple[tuple[int, int], int], list[Frame]] | None = None

    def run(self) -> None:
        """Measure every scene, then several cameras at a time.

        Raises:
            MaskedgeError: A pipeline cannot be loaded or fails.
            KeyboardInterrupt: The user stopped the run.
        """
        plan = self._plan
        for scene in plan.scenes:
            for name, mode in product(plan.detectors, plan.modes):
                self.rows.append(self._measure(scene, name, mode, 1))
        scene = Scene(*_usual(plan))
        for name, mode in product(plan.detectors, plan.modes):
            self.streams += self._measure_streams(scene, name, mode)

    def _measure_streams(self, scene: Scene, name: str, mode: str) -> Iterator[dict[str, Any]]:
        for streams in self._plan.streams:
            row = self._measure(scene, name, mode, streams)
            yield row
            if row["dropped"] > MOST_DROPPED * row["captured"]:
                return

    def _measure(self, scene: Scene, name: str, mode: str, streams: int) -> dict[str, Any]:
        plan, (width, height) = self._plan, scene.size
        cameras = f", {streams} cameras" if streams > 1 else ""
        self._progress(f"{name}, {mode}, {counted(scene.faces, 'face')}, {width} x {height}, {scene.rate:g} frames/s{cameras}")
        frames = self._frames(scene)
        detector = MaskDetector(detector=name, detect_every=DETECT_EVERY, threads=plan.threads)
        if streams == 1:
            row = measure_live([detector], frames, scene.rate, plan.seconds, mode)
        else:
            # As the named cameras of `edge-run`: one pair of networks, and one detection thread.
            with contextlib.closing(DetectionWorker(detector.analyzer.analyze)) as worker:
                detectors = [detector.share(worker) for _ in range(streams)]
                row = measure_live(detectors, frames, scene.rate, plan.seconds, mode)
        return {"detector": name, "mode": mode, "size": list(scene.size), "faces": scene.faces, **row}

    def _frames(self, scene: Scene) -> list[Frame]:
        drawn = (scene.size, scene.faces)
        if self._drawn is None or self._drawn[0] != drawn:
            self._drawn = drawn, compose(scene.size, scene.faces, count=_FRAMES, sway=_SWAY)
        return self._drawn[1]

    def report(self, *, partial: bool = False) -> dict[str, Any]:
        """Return the report of the complete runs.

        Args:
            partial: True if the user stopped the run early.
        """
        plan = self._plan
        return {
            **self._conditions.head(LIVE, "Live", [default_model()], partial=partial),
            "quick": plan.quick,
            "threads": plan.threads,
            "detect_every": DETECT_EVERY,
            "run_seconds": plan.seconds,
            "rows": self.rows,
            "streams": self.streams,
        }


def measure(plan: LivePlan, progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Run a measurement. If the user stops it, return a partial report of the complete runs.

    Args:
        plan: The parameters.
        progress: Called with the name of the next run.

    Raises:
        MaskedgeError: A pipeline cannot be loaded or fails.
        KeyboardInterrupt: The user stopped the measurement before a run was complete.
    """
    run = LiveRun(plan, progress)
    try:
        run.run()
    except KeyboardInterrupt:
        if not run.rows:
            raise
        return run.report(partial=True)
    return run.report()
