"""The matrix: cost of each setting on composed frames, relative to the original pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from maskedge.support.text import counted
from maskedge.types import Frame
from maskedge.vision.detectors import detector_names
from maskedge.vision.pipeline import MaskDetector
from maskedge_bench.conditions import short_names
from maskedge_bench.contestants.pipelines import BASELINE_DETECTOR, BASELINE_MODEL, Pipeline
from maskedge_bench.rounds import InProcess, Round, figures, in_turn

from .composed_frames import compose

SIZES = ((320, 240), (640, 480), (1280, 720), (1920, 1080))
FACES = (0, 1, 4, 16)
_MOST_FRAMES = 60
_WARM_UP = 2


@dataclass(frozen=True)
class Cell:
    """One combination of settings.

    Attributes:
        detector: Name of the detector.
        model: Classifier file; None for the bundled one.
        size: Width and height of the frames in pixels.
        faces: Faces per frame.
        threads: Threads of ONNX Runtime and OpenCV.
        detect_every: Frames per detection.
    """

    detector: str
    model: Path | None
    size: tuple[int, int]
    faces: int
    threads: int
    detect_every: int

    @property
    def baseline(self) -> Cell:
        """The original pipeline on the same frames."""
        return Cell(BASELINE_DETECTOR, BASELINE_MODEL, self.size, self.faces, 1, 1)


@dataclass(frozen=True)
class Axes:
    """The values of each setting.

    Without `full`, one setting varies at a time. The other settings have their usual value, or the
    first value given.

    Attributes:
        detectors: Names of detectors.
        models: Classifier files; None for the bundled one.
        sizes: Sizes of the frames.
        faces: Faces per frame.
        threads: Threads of ONNX Runtime and OpenCV.
        detect_every: Frames per detection.
        full: Measure every combination.
    """

    detectors: tuple[str, ...] = detector_names()
    models: tuple[Path | None, ...] = (None,)
    sizes: tuple[tuple[int, int], ...] = SIZES
    faces: tuple[int, ...] = FACES
    threads: tuple[int, ...] = (1, 2)
    detect_every: tuple[int, ...] = (1, 2, 4)
    full: bool = False

    def shortened(self) -> Axes:
        """Return fewer values of each setting that has its default values. Chosen values stay."""
        short: dict[str, Any] = {
            "sizes": ((320, 240), (640, 480), (1280, 720)), "faces": (0, 4), "threads": (1,), "detect_every": (1, 2),
        }  # fmt: skip
        usual = Axes()
        return replace(self, **{name: values for name, values in short.items() if getattr(self, name) == getattr(usual, name)})

    def cells(self) -> list[Cell]:
        """Return the cells, including the baselines of their frames."""
        wanted = list(self._product() if self.full else self._one_at_a_time())
        baselines = [cell.baseline for cell in wanted]
        return list(dict.fromkeys([*baselines, *wanted]))

    def _product(self) -> Iterator[Cell]:
        axes = (self.detectors, self.models, self.sizes, self.faces, self.threads, self.detect_every)
        return (Cell(*values) for values in product(*axes))

    def _one_at_a_time(self) -> Iterator[Cell]:
        for detector in self.detectors:
            usual = Cell(
                detector,
                self.models[0],
                _usual((640, 480), self.sizes),
                _usual(4, self.faces),
                _usual(1, self.threads),
                _usual(1, self.detect_every),
            )
            yield usual
            yield from (replace(usual, size=size) for size in self.sizes)
            yield from (replace(usual, faces=faces) for faces in self.faces)
            yield from (replace(usual, threads=threads) for threads in self.threads)
            yield from (replace(usual, detect_every=every) for every in self.detect_every)
            yield from (replace(usual, model=model) for model in self.models)


def _usual(value: Any, among: Sequence[Any]) -> Any:
    return value if value in among else among[0]


class Matrix:
    """The cells of a matrix, with their pipelines and frames.

    Args:
        axes: The values of each setting.
        seconds: Approximate duration of each cell per round.
    """

    def __init__(self, axes: Axes, seconds: float) -> None:
        self.cells = axes.cells()
        given = [BASELINE_MODEL, *(path for path in axes.models if path is not None)]
        self._names = dict(zip(given, short_names(given), strict=True))
        self.rounds: list[list[Round]] = []
        self._seconds = seconds
        self._detectors: dict[tuple[str, Path | None, int, int], MaskDetector] = {}
        self._frames: dict[tuple[tuple[int, int], int], list[Frame]] = {}
        self._runs: list[Callable[[], Round]] = []
        self._counts: list[int] = []

    @property
    def models(self) -> set[Path]:
        """Classifier files of the cells."""
        return {detector.classifier.path for detector in self._detectors.values()}

    def warm_up(self, progress: Callable[[], None] = lambda: None) -> None:
        """Load the pipelines, and choose the frames per cell by the time of a few frames."""
        for cell in self.cells:
            frames = self._loop(cell)
            contestant = InProcess(self._open(cell), cell.threads)
            contestant.run(frames[:1])
            first = contestant.run((frames * cell.detect_every)[: max(_WARM_UP, cell.detect_every)])
            wanted = round(self._seconds * first.rate / cell.detect_every) * cell.detect_every
            # A multiple, so that the share of frames with a detection is that of the setting.
            most = max(_MOST_FRAMES // cell.detect_every, 1) * cell.detect_every
            count = min(max(wanted, 2 * cell.detect_every), most)
            repeated = [frames[index % len(frames)] for index in range(count)]
            self._runs.append(partial(contestant.run, repeated))
            self._counts.append(count)
            progress()

    def _open(self, cell: Cell) -> MaskDetector:
        key = (cell.detector, cell.model, cell.threads, cell.detect_every)
        if key not in self._detectors:
            pipeline = Pipeline("", cell.detector, cell.model, cell.detect_every)
            self._detectors[key] = pipeline.open(cell.threads)
        return self._detectors[key]

    def _loop(self, cell: Cell) -> list[Frame]:
        key = (cell.size, cell.faces)
        if key not in self._frames:
            self._frames[key] = compose(*key)
        return self._frames[key]

    def run(self, rounds: int, progress: Callable[[], None] = lambda: None) -> None:
        """Run all cells, interleaved, `rounds` times."""
        in_turn(rounds, self._runs, self.rounds, progress)

    def rows(self) -> list[dict[str, Any]]:
        """Return the complete rounds as rows of the report; empty before the first round."""
        if not self.rounds:
            return []
        rounds = dict(zip(self.cells, zip(*self.rounds, strict=True), strict=True))
        return [
            {
                "detector": cell.detector,
                "model": self._names.get((path := self._open(cell).classifier.path), path.name),
                "precision": precision(self._open(cell)),
                "size": list(cell.size),
                "faces": cell.faces,
                "threads": cell.threads,
                "detect_every": cell.detect_every,
                "frames": count,
                **figures(rounds[cell], rounds[cell.baseline]),
            }
            for cell, count in zip(self.cells, self._counts, strict=True)
        ]


def precision(detector: MaskDetector) -> str:
    """Return the precision of a pipeline's classifier, such as `int8`."""
    quantisation = detector.classifier.contract.card.get("quantisation")
    return str(quantisation.get("precision", "float32")) if isinstance(quantisation, dict) else "float32"


def name_of(cell: dict[str, Any]) -> str:
    """Return the name of a cell, such as `haar, edgenet.onnx, 640 x 480, 4 faces, 1 thread`."""
    width, height = cell["size"]
    every = "every frame" if cell["detect_every"] == 1 else f"every {cell['detect_every']} frames"
    return (
        f"{cell['detector']}, {cell['model']}, {width} x {height}, {counted(cell['faces'], 'face')}, "
        f"{counted(cell['threads'], 'thread')}, {every}"
    )
