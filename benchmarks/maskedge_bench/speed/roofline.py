"""Roofline: time per stage against the minimum for its arithmetic and memory traffic.

Method: Williams, Waterman and Patterson (2009).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from maskedge.modelfile.contract import read_model
from maskedge.support.timing import StageClock
from maskedge.types import Image
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.detectors import FaceDetector, load_detector
from maskedge.vision.detectors.cascade import CascadeDetector
from maskedge.vision.detectors.network import CnnDetector
from maskedge_bench.conditions import short_names

from .peak import FLOAT, INTEGER, MEMORY, PeakTest, middle, ranges

_ROUNDS = 5
_SECONDS = 0.1
"""Duration of a round of a stage."""


@dataclass(frozen=True)
class Work:
    """Arithmetic and memory traffic of one inference.

    Attributes:
        operations: Multiply-accumulates; None if they depend on the picture.
        touched: Bytes read and written.
        integer: True if most of the multiply-accumulates are int8.
    """

    operations: int | None
    touched: int
    integer: bool


def count_work(path: Path, size: tuple[int, int] | None = None) -> Work:
    """Count arithmetic and memory traffic of one inference (one face or one frame).

    Args:
        path: The .onnx file.
        size: Width and height of the frame, for a detector with a variable input size.

    Returns:
        The convolutions and matrix products, with the bytes that they read (inputs and weights) and
        write. One whose weights come from DequantizeLinear runs as int8. Operators that ONNX Runtime fuses into them (activations,
        sums, normalisation) add no memory traffic and are not counted.

    Raises:
        ImportError: The package onnx is not installed.
        ModelError: The file is refused.
    """
    import onnx
    from onnx import shape_inference

    model = onnx.load_from_string(read_model(path))
    # Batch size 1: set the open dimension and infer the shapes again.
    for value in (*model.graph.input, *model.graph.output):
        for dimension in value.type.tensor_type.shape.dim[:1]:
            if dimension.dim_param:
                dimension.dim_value = 1
    if size is not None:
        for dimension, side in zip(model.graph.input[0].type.tensor_type.shape.dim[1:3], reversed(size), strict=True):
            dimension.dim_value = side
    del model.graph.value_info[:]
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    tensors: dict[str, tuple[tuple[int, ...], int]] = {}
    for value in (*graph.input, *graph.output, *graph.value_info):
        tensor = value.type.tensor_type
        width = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
        tensors[value.name] = (tuple(max(dimension.dim_value, 1) for dimension in tensor.shape.dim), width)
    for item in graph.initializer:
        tensors[item.name] = (tuple(item.dims), onnx.helper.tensor_dtype_to_np_dtype(item.data_type).itemsize)
    # ONNX Runtime fuses a product with the nodes around it that convert from and to int8.
    narrow = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    narrow |= {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    operations = touched = integer = 0
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul", "ConvTranspose"):
            continue
        names = [name for name in (*node.input, *node.output) if name in tensors]
        touched += sum(prod(tensors[name][0]) * (1 if name in narrow else tensors[name][1]) for name in names)
        inputs, output = [tensors[name][0] for name in node.input[:2]], tensors[node.output[0]][0]
        if node.op_type == "Conv":
            # Each output is a sum over the input channels of its group and the kernel window.
            own = prod(output) * prod(inputs[1][1:])
        elif node.op_type == "ConvTranspose":
            own = prod(inputs[0]) * prod(inputs[1][1:])
        else:
            transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
            own = prod(output) * inputs[0][-2 if transposed else -1]
        operations += own
        integer += own if narrow.issuperset(node.input[:2]) else 0
    return Work(operations, touched, 2 * integer > operations)


@dataclass(frozen=True)
class Stage:
    """A stage to compare with the peak.

    Attributes:
        name: Name of the row.
        run: Runs the stage once and returns its milliseconds.
        operations: Multiply-accumulates; None if they depend on the picture.
        touched: Bytes read and written.
        integer: True if most of the arithmetic is int8.
    """

    name: str
    run: Callable[[], float]
    operations: int | None
    touched: int
    integer: bool = False

    def limit(self, peak: Mapping[str, float]) -> tuple[float, str]:
        """Return the least milliseconds for its work at a peak, and what bounds it."""
        arithmetic = 1000 * (self.operations or 0) / peak[INTEGER if self.integer else FLOAT]
        memory = 1000 * self.touched / peak[MEMORY]
        return max(arithmetic, memory), "arithmetic" if arithmetic >= memory else "memory"


def measure_stage(stage: Stage, test: PeakTest, peaks: list[dict[str, float]]) -> dict[str, Any]:
    """Measure a stage, and the peak before and after each round of it.

    A shared or throttling machine changes its speed within minutes. A time is therefore compared with
    the peak of the same second.

    Args:
        stage: The stage.
        test: The test of the peak.
        peaks: Receives every measured peak.

    Returns:
        The row: medians over the rounds, and the range of the fraction.
    """
    stage.run()
    own = [test.measure()]
    times, limits, fractions = [], [], []
    for _ in range(_ROUNDS):
        milliseconds = _fastest_ms(stage.run)
        own.append(test.measure())
        limit, _ = stage.limit(middle(own[-2:]))
        times.append(milliseconds)
        limits.append(limit)
        fractions.append(limit / milliseconds if milliseconds else 0.0)
    peaks += own
    return {
        "name": stage.name,
        "milliseconds": round(median(times), 4),
        "multiply_accumulates": stage.operations,
        "bytes": stage.touched,
        "limit_ms": round(median(limits), 5),
        "bound_by": stage.limit(middle(own))[1],
        "fraction": round(median(fractions), 4),
        "fraction_range": [round(min(fractions), 4), round(max(fractions), 4)],
    }


def _fastest_ms(run: Callable[[], float]) -> float:
    """Return the fastest call of a round. The peak too is that of the fastest call."""
    times: list[float] = []
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end or len(times) < 3:
        times.append(run())
    return min(times)


def classifier_stage(path: Path, name: str | None = None) -> Stage:
    """Return a classifier with one face, named by its file unless told otherwise."""
    classifier = MaskClassifier(path)
    crops = np.zeros((1, classifier.contract.size, classifier.contract.size, 3), np.uint8)

    def run() -> float:
        start = time.perf_counter()
        classifier.classify_crops(crops)
        return (time.perf_counter() - start) * 1000

    work = count_work(path)
    return Stage(f"classify: {name or path.name}, one face", run, work.operations, work.touched, work.integer)


def detector_stages(name: str, detector: FaceDetector, image: Image) -> list[Stage]:
    """Return the stages of a detector.

    The arithmetic of a cascade depends on the picture and is not counted. The limit of a cascade is
    one read of its input.

    Args:
        name: Name of the detector.
        detector: The detector.
        image: uint8 `[H, W, 3]`, BGR.
    """
    height, width = image.shape[:2]
    if isinstance(detector, CascadeDetector):
        scale = min(1.0, detector.scale(width, height))
        scanned = round(width * scale * height * scale * (1 + 2 * detector.border) ** 2)
        work = Work(None, scanned, integer=False)
    elif isinstance(detector, CnnDetector):
        own = detector.input_size(width, height)
        scanned = 3 * prod(own)
        work = count_work(detector.path, own)
    else:
        return []

    def run(stage: str) -> float:
        clock = StageClock()
        with clock("detect"):
            detector.detect(image)
        return clock.last.get(stage, 0.0)

    return [
        Stage(f"resize: {name}, {width} x {height}", partial(run, "resize"), None, 3 * width * height + scanned),
        Stage(f"detect: {name}, {width} x {height}", partial(run, "detect"), work.operations, work.touched, work.integer),
    ]


def measure_roofline(models: Sequence[Path], detectors: Sequence[str], image: Image) -> dict[str, Any]:
    """Measure classifiers and detectors, in one thread, against the roofline of this machine.

    Args:
        models: Classifier files.
        detectors: Names of detectors.
        image: Picture for the detectors, uint8 `[H, W, 3]`, BGR.

    Returns:
        `peak`, `peak_range` and `rows`.

    Raises:
        ImportError: The package onnx is not installed.
    """
    test = PeakTest()
    cv2.setNumThreads(1)
    stages = [classifier_stage(path, name) for path, name in zip(models, short_names(models), strict=True)]
    for name in detectors:
        stages += detector_stages(name, load_detector(name, threads=1), image)
    peaks: list[dict[str, float]] = []
    rows = [measure_stage(stage, test, peaks) for stage in stages]
    return {"peak": middle(peaks), "peak_range": ranges(peaks), "rows": rows}
