"""End-to-end speed: from a frame's arrival to the answer, in the same run as the original pipeline."""

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
from maskedge.modelfile.contract import default_model
from maskedge.types import Frame
from maskedge.vision.detectors import BoxDetector, detector_names
from maskedge_bench.contestants.eager import has_torch
from maskedge_bench.contestants.peers import AdaptedDetector, PackagePeer, YuNet
from maskedge_bench.contestants.pipelines import EVERY_FRAME, ORIGINAL_EAGER, PIPELINES, Pipeline
from maskedge_bench.report import SPEED, Conditions
from maskedge_bench.rounds import Contestant, InProcess, Pass, figures, in_turn, quantiles

from .composed_frames import load_frames
from .cost_model import fit_cost
from .end_to_end import measure_chain
from .live import measure_live
from .matrix import Axes, Matrix, name_of
from .overhead import measure_clock
from .probe import measure_starts
from .roofline import classifier_rows, detector_rows, measure_peak

_WARM_UP = 4
_FEW = 0.8
"""Faces a frame, to those that the original pipeline finds, below which a report says so."""


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        uri: Frames to run on.
        frames: How many.
        skip: Frames to pass over first.
        rounds: Counted rounds of the pipelines.
        threads: Threads of the pipelines.
        axes: The matrix; None for none.
        matrix_rounds: Counted rounds of the matrix.
        cell_seconds: About how long a cell of it may take in a round.
        live_seconds: How long each pipeline runs live; 0 for not at all.
        live_rate: Frames a second that come then.
        start_rounds: Counted starts; 0 for none.
        yunet: Model file of OpenCV's YuNet.
        adapters: Adapter files of other detectors.
        peer_python: Python of the environment of the package peer.
        quick: The short version.
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
        """Give the version that takes less than a minute."""
        axes = None if self.axes is None else replace(
            self.axes, sizes=((320, 240), (640, 480), (1280, 720)), faces=(0, 4), threads=(1,), detect_every=(1, 2)
        )  # fmt: skip
        return replace(
            self,
            frames=min(self.frames, 16),
            skip=120 if self.uri == "demo" else self.skip,
            rounds=min(self.rounds, 2),
            axes=axes,
            matrix_rounds=1,
            cell_seconds=0.1,
            live_seconds=min(self.live_seconds, 1.0),
            start_rounds=1,
            quick=True,
        )


@dataclass(frozen=True)
class _Entry:
    """A pipeline that takes part, opened."""

    pipeline: Pipeline
    contestant: Contestant
    model: Path | None
    model_name: str


class SpeedRun:
    """A measurement that can be interrupted: `report` gives what is complete.

    Args:
        plan: What to measure.
        progress: Called with what is done next, as often as `steps` says or less.
    """

    def __init__(self, plan: Plan, progress: Callable[[str], None] = lambda _: None) -> None:
        self.plan = plan
        self._progress = progress
        self._conditions = Conditions()
        self._frames: list[Frame] = []
        self._notes: list[str] = []
        self._entries: list[_Entry] = []
        self._rounds: list[list[Pass]] = []
        self._matrix: Matrix | None = None
        self._chain: list[dict[str, Any]] = []
        self._live: list[dict[str, Any]] = []
        self._start: list[dict[str, Any]] = []
        self._limits: dict[str, Any] | None = None
        self._clock: dict[str, float] | None = None

    def run(self) -> None:
        """Measure all of it.

        Raises:
            MaskedgeError: Something cannot be used; nothing was measured yet.
            KeyboardInterrupt: The user had enough.
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
                    self._measure_whole(entry, folder)
            self._measure_starts(folder)
            self._measure_limits()

    def _open(self, stack: ExitStack) -> None:
        plan = self.plan
        pipelines = list(PIPELINES)
        if has_torch():
            pipelines.insert(1, ORIGINAL_EAGER)
        else:
            self._notes.append("PyTorch is not installed: the original pipeline in eager PyTorch was not measured.")
        pipelines += EVERY_FRAME
        finders: dict[str, BoxDetector] = {}
        if plan.yunet is not None:
            finders["yunet"] = YuNet(plan.yunet)
        for path in plan.adapters:
            adapted = AdaptedDetector(path, plan.threads)
            if adapted.name in (*detector_names(), *finders):
                raise UsageError(f"{path} calls its detector {adapted.name}, as another is called: give it a name of its own.")
            finders[adapted.name] = adapted
        pipelines += [Pipeline(f"{name}, edgenet, every frame", name, None, 1, finder) for name, finder in finders.items()]
        for pipeline in pipelines:
            detector = pipeline.open(plan.threads)
            contestant = InProcess(detector, plan.threads)
            name = f"{pipeline.eager} in PyTorch" if pipeline.eager else detector.classifier.path.name
            self._entries.append(_Entry(pipeline, contestant, None if pipeline.eager else detector.classifier.path, name))
        if plan.peer_python is not None:
            peer = stack.enter_context(PackagePeer(plan.peer_python, plan.threads))
            self._entries.append(_Entry(Pipeline(peer.name, "res10", None, 1), peer, None, "MobileNetV2 in Keras"))
            self._notes.append(f"{peer.name} ran with {peer.versions}; it loads its face detector anew for every frame.")

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

    def _measure_whole(self, entry: _Entry, folder: Path) -> None:
        detector = entry.pipeline.open(self.plan.threads)
        name = entry.pipeline.name
        self._progress(f"whole chain and live: {name}")
        self._chain.append(measure_chain(name, detector, self._frames, folder))
        if self.plan.live_seconds:
            self._live.append(measure_live(name, detector, self._frames, self.plan.live_rate, self.plan.live_seconds))

    def _measure_starts(self, folder: Path) -> None:
        if not self.plan.start_rounds:
            return
        self._progress("starts")
        picture = folder / "frame.png"
        cv2.imwrite(str(picture), self._frames[-1].image)
        pipelines = [entry.pipeline for entry in self._entries if entry.pipeline in (*PIPELINES, ORIGINAL_EAGER)]
        self._start = measure_starts(pipelines, picture, self.plan.start_rounds)

    def _measure_limits(self) -> None:
        self._progress("limits")
        rows = self._pipeline_rows()
        usual = next((row for row in rows if row["name"] == PIPELINES[1].name), rows[0])
        self._clock = measure_clock(usual["stages_ms"]["total"]["mean"])
        try:
            peak = measure_peak()
            limits = classifier_rows(sorted(self._models(), key=lambda path: path.name), peak)
            for entry, row in zip(self._entries, rows, strict=True):
                if entry.pipeline in (PIPELINES[0], *EVERY_FRAME) and isinstance(entry.contestant, InProcess):
                    size = self._frames[0].size
                    limits += detector_rows(
                        entry.pipeline.detector, entry.contestant.detector.detector, size, row["stages_ms"], peak
                    )
            self._limits = {"peak": peak, "rows": limits}
        except ImportError as error:
            self._notes.append(f"The physical limit was not measured: {error.name} is missing, which the extra export brings.")

    def _models(self) -> set[Path]:
        return {entry.model for entry in self._entries if entry.model is not None} | (
            self._matrix.models if self._matrix else set()
        )

    def _pipeline_rows(self) -> list[dict[str, Any]]:
        if not self._rounds:
            return []
        passes = list(zip(*self._rounds, strict=True))
        return [
            {
                "name": entry.pipeline.name,
                "detector": entry.pipeline.detector,
                "model": entry.model_name,
                "model_sha256": sha256(entry.model.read_bytes()).hexdigest() if entry.model else None,
                "detect_every": entry.pipeline.detect_every,
                "threads": self.plan.threads,
                **figures(own, passes[0]),
                "quantiles_ms": quantiles(own),
            }
            for entry, own in zip(self._entries, passes, strict=True)
        ]

    @property
    def measured(self) -> bool:
        """Tell whether there is anything to report."""
        return bool(self._rounds)

    def report(self, *, partial: bool = False) -> dict[str, Any]:
        """Give the report of what is complete.

        Args:
            partial: It was stopped in the middle.
        """
        rows = self._pipeline_rows()
        cells = self._matrix.rows() if self._matrix else []
        spreads = {row["name"]: row["frames_per_second"] for row in rows}
        spreads |= {name_of(cell): cell["frames_per_second"] for cell in cells}
        models = sorted(self._models() | {default_model()}, key=lambda path: path.name)
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
            "chain": self._chain,
            "live": self._live,
            "start": self._start,
            "limits": self._limits,
            "instrumentation": self._clock,
            "notes": [*self._notes, *_fewer_faces(rows)],
        }


def _fewer_faces(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Say of which pipelines the speed is to be read with what they find: who finds nobody has nothing to do."""
    return [
        f"{row['name']} found {row['faces_a_frame']:.1f} faces a frame, where the original pipeline found "
        f"{rows[0]['faces_a_frame']:.1f}: it had less to do."
        for row in rows
        if row["faces_a_frame"] < _FEW * rows[0]["faces_a_frame"]
    ]


def steps(plan: Plan) -> int:
    """Tell how many steps of progress a plan has, at most."""
    return 6 + plan.rounds + (plan.matrix_rounds if plan.axes else 0) + len(PIPELINES)


def measure(plan: Plan, progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure a plan; when the user stops it, give what is complete, marked partial.

    Args:
        plan: What to measure.
        progress: Called with what is done next.

    Raises:
        MaskedgeError: Something cannot be used.
        KeyboardInterrupt: The user stopped it before anything was complete.
    """
    run = SpeedRun(plan, progress)
    try:
        run.run()
    except KeyboardInterrupt:
        if not run.measured:
            raise
        return run.report(partial=True)
    return run.report()
