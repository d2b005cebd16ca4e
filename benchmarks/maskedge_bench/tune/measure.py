"""Times the bundled models in float32 and int8, with one and two threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from maskedge.modelfile.contract import read_kind, read_model
from maskedge.modelfile.precision import bundled_classifier, bundled_detector, has_dot_products
from maskedge.sources import demo
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.detectors.network import CnnDetector
from maskedge.vision.self_test import verify

SECONDS = 20.0
"""Time of the rounds. Loading the models takes a few seconds more."""
PRECISIONS = ("float32", "int8")
MODELS = ("classifier", "cnn")
LEAST_GAIN = 1.05
"""Smallest gain for which a precision is preferred to float32."""
LEAST_THREAD_GAIN = 1.3
"""Smallest gain for which a second thread is worth the processor time that it takes from others."""
_FACES = 8
_FRAME = 150
"""Frame of the built-in clip that is measured."""


@dataclass(frozen=True)
class Tuning:
    """The measurements and the choice.

    Attributes:
        milliseconds: Median time by model (`MODELS`), precision and number of threads: of one
            picture of 640 x 480 for `cnn`, of eight faces for the classifier.
        refused: The models whose int8 file returns other outputs on this machine than where it was
            made.
        dot_products: True if the processor has dot products of bytes.
    """

    milliseconds: dict[tuple[str, str, int], float]
    refused: tuple[str, ...]
    dot_products: bool

    def gain(self, model: str) -> float:
        """Return how many times faster int8 is than float32, with one thread."""
        return self.milliseconds[model, "float32", 1] / self.milliseconds[model, "int8", 1]

    def thread_gain(self, model: str) -> float | None:
        """Return how many times faster two threads are, in the chosen precision."""
        two = self.milliseconds.get((model, self.precision, 2))
        return self.milliseconds[model, self.precision, 1] / two if two else None

    @property
    def precision(self) -> str:
        """The choice for both models: `float32` or `int8`, by the sum of their times."""
        floats, ints = (sum(self.milliseconds[model, precision, 1] for model in MODELS) for precision in PRECISIONS)
        return "int8" if not self.refused and floats / ints >= LEAST_GAIN else "float32"

    @property
    def threads(self) -> int:
        """The choice: 1 or 2."""
        gains = [gain for model in MODELS if (gain := self.thread_gain(model)) is not None]
        return 2 if gains and min(gains) >= LEAST_THREAD_GAIN else 1


def measure_tuning(seconds: float = SECONDS, progress: Callable[[float], None] = lambda done: None) -> Tuning:
    """Time the models in turn.

    Args:
        seconds: Time of the rounds. At least three rounds are measured.
        progress: Called after each round with the finished share, 0 to 1.

    Raises:
        ModelError: A bundled file is damaged.
    """
    files = {(model, precision): _path(model, precision) for model in MODELS for precision in PRECISIONS}
    refused = tuple(model for model in MODELS if not verify(files[model, "int8"]).passed)
    counts = (1, 2) if (os.cpu_count() or 1) > 1 else (1,)
    runs = {(*key, threads): _run(path, threads) for key, path in files.items() for threads in counts}
    times: dict[tuple[str, str, int], list[float]] = {key: [] for key in runs}
    start, number = time.perf_counter(), -1
    # The first round prepares buffers and is not counted.
    while number < 3 or time.perf_counter() - start < seconds:
        for key, run in runs.items():
            began = time.perf_counter()
            run()
            if number >= 0:
                times[key].append(1000 * (time.perf_counter() - began))
        number += 1
        progress(min(1.0, (time.perf_counter() - start) / max(seconds, 1e-9)))
    return Tuning({key: median(values) for key, values in times.items()}, refused, has_dot_products())


def _path(model: str, precision: str) -> Path:
    return (bundled_classifier if model == "classifier" else bundled_detector)(precision)


def _run(path: Path, threads: int) -> Callable[[], object]:
    """Load a model and return a call of typical work."""
    image = demo.draw(_FRAME)
    if read_kind(read_model(path)) == "detector":
        detector = CnnDetector(path, threads)
        frame = detector.frame(image)
        return lambda: detector.infer(frame)
    classifier = MaskClassifier(path, threads)
    faces = [(100.0 + 40 * face, 100.0, 180.0 + 40 * face, 200.0) for face in range(_FACES)]
    return lambda: classifier.classify(image, faces)
