"""The speed measurement: all parts of a speed report, in the same run as the original pipeline."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2

from maskedge.errors import UsageError
from maskedge.modelfile.precision import bundled_classifier
from maskedge.types import Frame
from maskedge.vision.detectors import BoxDetector, detector_names
from maskedge_bench.conditions import Conditions
from maskedge_bench.contestants.eager import has_torch
from maskedge_bench.contestants.peers import AdaptedDetector, PackagePeer, YuNet
from maskedge_bench.contestants.pipelines import EVERY_FRAME, ORIGINAL_EAGER, PIPELINES, Pipeline
from maskedge_bench.live.measure import measure_live
from maskedge_bench.report_schemas import SPEED
from maskedge_bench.rounds import Contestant, InProcess, Round, figures, in_turn, quantiles
from maskedge_bench.start.load_time import measure_load_times

from .composed_frames import load_frames
from .cost_model import fit_cost
from .end_to_end import measure_end_to_end
from .matrix import Axes, Matrix, name_of
from .overhead import measure_clock
from .roofline import measure_roofline

_WARM_UP = 4
_FEW = 0.8
"""A pipeline gets a note if its faces per frame are below this fraction of the original's."""


@dataclass(frozen=True)
class Plan:
    """The parameters of a measurement.

    Attributes:
        uri: Source of the frames.
        frames: Number of frames.
        skip: Number of frames to skip first.
        rounds: Counted rounds of the pipelines.
        threads: Threads of the pipelines.
        axes: Settings of the matrix; None omits the matrix.
        matrix_rounds: Counted rounds of the matrix.
        cell_seconds: Approximate duration of each cell per round.
        live_seconds: Duration of each live run; 0 omits the live runs.
        live_rate: Frames per second of the live source.
        start_rounds: Counted starts of each pipeline; 0 omits the starts.
        yunet: Model file of OpenCV's YuNet.
        adapters: Adapter files of third-party detectors.
        peer_python: Python of the environment of the package face-mask-detector.
        quick: True for the short version.
    """

    uri: str = "demo"
    frames: int = 150
    skip: int = 0
    rounds: int = 3
    threads: int = 1
    axes: Axes | None = field(default_factory=Axes)
    matrix_rounds: int = 2
    cell_seconds: float = 0.3
    live_seconds: float = 4.0
    live_rate: float = 30.0
    start_rounds: int = 3
    yunet: Path | None = None
    adapters: tuple[Path, ...] = ()
    peer_python: Path | None = None
    quick: bool = False

    def shortened(self) -> Plan:
        """Return the version that takes less than a minute."""
        return replace(
            self,
            frames=min(self.frames, 16),
            # Frames of the built-in clip with several faces, unless others are chosen.
            skip=120 if self.uri == "demo" and not self.skip else self.skip,
            rounds=min(self.rounds, 2),
            axes=self.axes and self.axes.shortened(),
            matrix_rounds=1,
            cell_seconds=0.1,
            live_seconds=min(self.live_seconds, 1.0),
            start_rounds=1,
            quick=True,
        )


@dataclass(frozen=True)
class _Entry:
    """A loaded pipeline."""

    pipeline: Pipeline
    contestant: Contestant
    model: Path | None
    model_name: str


class SpeedRun:
    """A measurement that can be interrupted; `report` then covers its complete parts.

    Args:
        plan: The parameters.
        progress: Called with the name of the next step, at most `steps(plan)` times.
    """

    def __init__(self, plan: Plan, progress: Callable[[str], None] = lambda _: None) -> None:
        self.plan = plan
        self._progress = progress
        self._conditions = Conditions()
        self._frames: list[Frame] = []
        self._notes: list[str] = []
        self._entries: list[_Entry] = []
        self._rounds: list[list[Round]] = []
        self._matrix: Matrix | None = None
        self._end_to_end: list[dict[str, Any]] = []
        self._live: list[dict[str, Any]] = []
        self._load_times: list[dict[str, Any]] = []
        self._roofline: dict[str, Any] | None = None
        self._clock: dict[str, float] | None = None

    def run(self) -> None:
        """Measure all parts.

        Raises:
            MaskedgeError: A source, model or peer cannot be used.
            KeyboardInterrupt: The user stopped the run.
        """
        with ExitStack() as stack:
            self._progress("loading")
            self._frames, self._notes = load_frames(self.plan.uri, self.plan.frames, self.plan.skip)
            self._open(stack)
            self._measure_pipelines()
            own = [entry for entry in self._entries if isinstance(entry.contestant, InProcess)]
            self._measure_matrix()
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for entry in own:
                if entry.pipeline in PIPELINES:
                    self._measure_end_to_end(entry, folder)
            self._measure_load_times(folder)
            self._measure_roofline()

    def _open(self, stack: ExitStack) -> None:
        plan = self.plan
        pipelines = list(PIPELINES)
        if has_torch():
            pipelines.insert(1, ORIGINAL_EAGER)
        else:
            self._notes.append("PyTorch is not installed: the original pipeline in eager PyTorch was not measured.")
        pipelines += EVERY_FRAME
        detectors: dict[str, BoxDetector] = {}
        if plan.yunet is not None:
            detectors["yunet"] = YuNet(plan.yunet)
        for path in plan.adapters:
            adapted = AdaptedDetector(path, plan.threads)
            if adapted.name in (*detector_names(), *detectors):
                raise UsageError(
                    f"{path} names its detector {adapted.name}, and another detector has that name: choose another name."
                )
            detectors[adapted.name] = adapted
        pipelines += [Pipeline(f"{name}, edgenet, every frame", name, None, 1, detector) for name, detector in detectors.items()]
        for pipeline in pipelines:
            detector = pipeline.open(plan.threads)
            contestant = InProcess(detector, plan.threads)
            name = f"{pipeline.eager} in PyTorch" if pipeline.eager else detector.classifier.path.name
            self._entries.append(_Entry(pipeline, contestant, None if pipeline.eager else detector.classifier.path, name))
        if plan.peer_python is not None:
            peer = stack.enter_context(PackagePeer(plan.peer_python, plan.threads))
            self._entries.append(_Entry(Pipeline(peer.name, "res10", None, 1), peer, None, "MobileNetV2 in Keras"))
            self._notes.append(f"{peer.name} ran with {peer.versions}; it loads its face detector again for every frame.")

    def _measure_pipelines(self) -> None:
        self._progress("warm-up")
        for entry in self._entries:
            entry.contestant.run(self._frames[:_WARM_UP])
        runs = [lambda own=entry: own.contestant.run(self._frames) for entry in self._entries]
        in_turn(self.plan.rounds, runs, self._rounds, lambda: self._progress(f"pipelines, round {len(self._rounds)}"))

    def _measure_matrix(self) -> None:
        if self.plan.axes is None:
            return
        self._progress("matrix, warm-up")
        self._matrix = Matrix(self.plan.axes, self.plan.cell_seconds)
        self._matrix.warm_up()
        self._matrix.run(self.plan.matrix_rounds, lambda: self._progress("matrix, a round"))

    def _measure_end_to_end(self, entry: _Entry, folder: Path) -> None:
        detector = entry.pipeline.open(self.plan.threads)
        name = entry.pipeline.name
        self._progress(f"end to end and live: {name}")
        self._end_to_end.append(measure_end_to_end(name, detector, self._frames, folder))
        if self.plan.live_seconds:
            plan = self.plan
            # The original pipeline waits for its detections.
            mode = "synchronous" if entry.pipeline is PIPELINES[0] else "asynchronous"
            row = measure_live([detector], self._frames, plan.live_rate, plan.live_seconds, mode)
            self._live.append({"name": name, **row})

    def _measure_load_times(self, folder: Path) -> None:
        if not self.plan.start_rounds:
            return
        self._progress("load times")
        picture = folder / "frame.png"
        cv2.imwrite(str(picture), self._frames[-1].image)
        pipelines = [entry.pipeline for entry in self._entries if entry.pipeline in (*PIPELINES, ORIGINAL_EAGER)]
        self._load_times = measure_load_times(pipelines, picture, self.plan.start_rounds)

    def _measure_roofline(self) -> None:
        self._progress("roofline")
        rows = self._pipeline_rows()
        usual = next((row for row in rows if row["name"] == PIPELINES[1].name), rows[0])
        self._clock = measure_clock(usual["stages_ms"]["total"]["mean"])
        try:
            models = sorted(self._models(), key=lambda path: path.name)
            detectors = [pipeline.detector for pipeline in PIPELINES]
            self._roofline = measure_roofline(models, detectors, self._frames[-1].image)
        except ImportError as error:
            self._notes.append(f"The roofline was not measured: {error.name} is not installed (pip install {error.name}).")

    def _models(self) -> set[Path]:
        return {entry.model for entry in self._entries if entry.model is not None} | (
            self._matrix.models if self._matrix else set()
        )

    def _pipeline_rows(self) -> list[dict[str, Any]]:
        if not self._rounds:
            return []
        rounds = list(zip(*self._rounds, strict=True))
        return [
            {
                "name": entry.pipeline.name,
                "detector": entry.pipeline.detector,
                "model": entry.model_name,
                "model_sha256": sha256(entry.model.read_bytes()).hexdigest() if entry.model else None,
                "detect_every": entry.pipeline.detect_every,
                "threads": self.plan.threads,
                **figures(own, rounds[0]),
                "quantiles_ms": quantiles(own),
            }
            for entry, own in zip(self._entries, rounds, strict=True)
        ]

    @property
    def measured(self) -> bool:
        """True once a round of the pipelines is complete."""
        return bool(self._rounds)

    def report(self, *, partial: bool = False) -> dict[str, Any]:
        """Return the report of the complete parts.

        Args:
            partial: True if the user stopped the run early.
        """
        rows = self._pipeline_rows()
        cells = self._matrix.rows() if self._matrix else []
        spreads = {row["name"]: row["frames_per_second"] for row in rows}
        spreads |= {name_of(cell): cell["frames_per_second"] for cell in cells}
        models = sorted(self._models() | {bundled_classifier()}, key=lambda path: path.name)
        return {
            **self._conditions.head(SPEED, "Speed", models, spreads, partial=partial),
            "quick": self.plan.quick,
            "source": {
                "name": Path(self.plan.uri).name,
                "frames": len(self._frames),
                "size": list(self._frames[0].size),
            },
            "rounds": len(self._rounds),
            "threads": self.plan.threads,
            "baseline": PIPELINES[0].name,
            "pipelines": rows,
            "matrix": {"rounds": len(self._matrix.rounds) if self._matrix else 0, "cells": cells},
            "cost": fit_cost(cells),
            "chain": self._end_to_end,
            "live": self._live,
            "start": self._load_times,
            "limits": self._roofline,
            "instrumentation": self._clock,
            "notes": [*self._notes, *_fewer_faces(rows)],
        }


def _fewer_faces(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return a note per pipeline that classified far fewer faces than the original."""
    return [
        f"{row['name']} found {row['faces_a_frame']:.1f} faces per frame, the original pipeline "
        f"{rows[0]['faces_a_frame']:.1f}: it had fewer faces to classify."
        for row in rows
        if row["faces_a_frame"] < _FEW * rows[0]["faces_a_frame"]
    ]


def steps(plan: Plan) -> int:
    """Return the largest number of progress steps of a plan."""
    return 6 + plan.rounds + (plan.matrix_rounds if plan.axes else 0) + len(PIPELINES)


def measure(plan: Plan, progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Run a measurement. If the user stops it, return a partial report of the complete parts.

    Args:
        plan: The parameters.
        progress: Called with the name of the next step.

    Raises:
        MaskedgeError: A source, model or peer cannot be used.
        KeyboardInterrupt: The user stopped the run before a round was complete.
    """
    run = SpeedRun(plan, progress)
    try:
        run.run()
    except KeyboardInterrupt:
        if not run.measured:
            raise
        return run.report(partial=True)
    return run.report()
