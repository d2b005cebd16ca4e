"""Roofline: time per stage against the minimum for its arithmetic and memory traffic.

Method: Williams, Waterman and Patterson (2009).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from maskedge.modelfile.contract import open_session, read_model
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.detectors import FaceDetector
from maskedge.vision.detectors.cascade import CascadeDetector
from maskedge.vision.detectors.network import CnnDetector
from maskedge.vision.pipeline import MaskDetector

_SIDE = 512
"""Side of the matrices in the arithmetic test."""
_COPY = 32 * 1024 * 1024
"""Bytes in the copy test."""
_LEAST_SECONDS = 0.3


def count_work(path: Path, size: tuple[int, int] | None = None) -> tuple[int, int]:
    """Count arithmetic and memory traffic of one inference (one face or one frame).

    Args:
        path: The .onnx file.
        size: Width and height of the frame, for a detector with a variable input size.

    Returns:
        Multiply-accumulates of the convolutions and matrix products, and the bytes that they read
        (inputs and weights) and write. Operators that ONNX Runtime fuses into them (activations,
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
    operations = touched = 0
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul", "ConvTranspose"):
            continue
        names = [name for name in (*node.input, *node.output) if name in tensors]
        touched += sum(prod(tensors[name][0]) * tensors[name][1] for name in names)
        inputs, output = [tensors[name][0] for name in node.input[:2]], tensors[node.output[0]][0]
        if node.op_type == "Conv":
            # Each output is a sum over the input channels of its group and the kernel window.
            operations += prod(output) * prod(inputs[1][1:])
        elif node.op_type == "ConvTranspose":
            operations += prod(inputs[0]) * prod(inputs[1][1:])
        else:
            transposed = any(own.name == "transA" and own.i for own in node.attribute)
            operations += prod(output) * inputs[0][-2 if transposed else -1]
    return operations, touched


def measure_peak() -> dict[str, float]:
    """Measure the peak of one thread: a matrix product in ONNX Runtime, and a copy.

    Returns:
        Multiply-accumulates per second, and bytes (read and written) per second.

    Raises:
        ImportError: The package onnx is not installed.
    """
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    right = random.random((_SIDE, _SIDE), np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["left", "right"], ["product"])],
        "product",
        [helper.make_tensor_value_info("left", TensorProto.FLOAT, (_SIDE, _SIDE))],
        [helper.make_tensor_value_info("product", TensorProto.FLOAT, (_SIDE, _SIDE))],
        [numpy_helper.from_array(right, "right")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    session = open_session(model.SerializeToString(), "a product of matrices")
    left = random.random((_SIDE, _SIDE), np.float32)
    source = np.ones(_COPY, np.uint8)
    target = np.empty_like(source)
    return {
        "multiply_accumulates_per_second": _SIDE**3 / _best(lambda: session.run(None, {"left": left})),
        "bytes_per_second": 2 * _COPY / _best(lambda: np.copyto(target, source)),
    }


def _best(call: Callable[[], Any]) -> float:
    """Return the seconds of the fastest call."""
    call()
    best, end = float("inf"), time.perf_counter() + _LEAST_SECONDS
    while (start := time.perf_counter()) < end:
        call()
        best = min(best, time.perf_counter() - start)
    return best


def _typical_ms(call: Callable[[], Any]) -> float:
    times: list[float] = []
    end = time.perf_counter() + _LEAST_SECONDS
    while (start := time.perf_counter()) < end or len(times) < 5:
        call()
        times.append(1000 * (time.perf_counter() - start))
    return float(median(times))


def row(name: str, milliseconds: float, operations: int | None, touched: int, peak: Mapping[str, float]) -> dict[str, Any]:
    """Return a row: time of a stage, and the minimum for its work on this machine."""
    arithmetic = 1000 * (operations or 0) / peak["multiply_accumulates_per_second"]
    memory = 1000 * touched / peak["bytes_per_second"]
    limit = max(arithmetic, memory)
    return {
        "name": name,
        "milliseconds": round(milliseconds, 4),
        "multiply_accumulates": operations,
        "bytes": touched,
        "limit_ms": round(limit, 5),
        "bound_by": "arithmetic" if arithmetic >= memory else "memory",
        "fraction": round(limit / milliseconds, 4) if milliseconds else 0.0,
    }


def classifier_rows(models: Sequence[Path], peak: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the rows of classifiers with one face."""
    rows = []
    for path in models:
        classifier = MaskClassifier(path)
        crops = np.zeros((1, classifier.contract.size, classifier.contract.size, 3), np.uint8)
        milliseconds = _typical_ms(lambda own=classifier, faces=crops: own.classify_crops(faces))  # type: ignore[misc]
        rows.append(row(f"classify: {path.name}, one face", milliseconds, *count_work(path), peak))
    return rows


def detector_rows(
    name: str, detector: FaceDetector, size: tuple[int, int], stages: Mapping[str, Mapping[str, float]], peak: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return the rows of a detector's stages.

    The arithmetic of a cascade depends on the picture and is not counted. The limit of a cascade is
    one read of its input.

    Args:
        name: Name of the detector.
        detector: The detector.
        size: Width and height of the frames.
        stages: Stage figures of a pipeline with this detector.
        peak: Peak of the machine (`measure_peak`).
    """
    width, height = size
    operations: int | None = None
    if isinstance(detector, CascadeDetector):
        scale = min(1.0, detector.scale(width, height))
        scanned = round(width * scale * height * scale * (1 + 2 * detector.border) ** 2)
        touched = scanned
    elif isinstance(detector, CnnDetector):
        own = detector.input_size(width, height)
        scanned = 3 * prod(own)
        operations, touched = count_work(detector.path, own)
    else:
        return []
    rows = []
    if "resize" in stages:
        rows.append(row(f"resize: {name}, {width} x {height}", stages["resize"]["p50"], None, 3 * width * height + scanned, peak))
    if "detect" in stages:
        rows.append(row(f"detect: {name}, {width} x {height}", stages["detect"]["p50"], operations, touched, peak))
    return rows


def measure_roofline(models: Sequence[Path], detectors: Sequence[str]) -> dict[str, Any]:
    """Measure classifiers and detectors against the roofline of this machine.

    Args:
        models: Classifier files.
        detectors: Names of detectors.

    Returns:
        `peak` and `rows`.

    Raises:
        ImportError: The package onnx is not installed.
    """
    from maskedge.sources import demo

    peak = measure_peak()
    rows = classifier_rows(models, peak)
    image = demo.draw(150)
    for name in detectors:
        detector = MaskDetector(detector=name, threads=1)
        for _ in range(5):
            detector(image)
            detector.clock.next_frame()
        stages = {stage: {"p50": float(median(values))} for stage, values in detector.clock.history().items()}
        rows += detector_rows(name, detector.detector, (image.shape[1], image.shape[0]), stages, peak)
    return {"peak": peak, "rows": rows}
