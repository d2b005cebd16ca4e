"""Peak performance of one thread: matrix products in ONNX Runtime, and a copy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np

from maskedge.modelfile.contract import open_session

_SIDE = 512
"""Side of the matrices in the arithmetic test."""
_COPY = 32 * 1024 * 1024
"""Bytes in the copy test."""
_SECONDS = 0.06
"""Duration of each test."""
FLOAT, INTEGER, MEMORY = "multiply_accumulates_per_second", "integer_multiply_accumulates_per_second", "bytes_per_second"
"""Names of the figures of a peak: products of float32 and of int8, and bytes read and written."""


class PeakTest:
    """The tests of the peak. Each `measure` takes about 0.2 s.

    Raises:
        ImportError: The package onnx is not installed.
    """

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        floats = [random.random((_SIDE, _SIDE), np.float32) for _ in range(2)]
        integers = random.integers(0, 127, (_SIDE, _SIDE), np.uint8), random.integers(-127, 127, (_SIDE, _SIDE), np.int8)
        self._calls = {
            FLOAT: (_SIDE**3, _product("MatMul", *floats)),
            INTEGER: (_SIDE**3, _product("MatMulInteger", *integers)),
        }
        source = np.ones(_COPY, np.uint8)
        target = np.empty_like(source)
        self._calls[MEMORY] = 2 * _COPY, lambda: np.copyto(target, source)

    def measure(self) -> dict[str, float]:
        """Return multiply-accumulates per second, of float32 and of int8, and bytes per second."""
        return {name: work / _best(call) for name, (work, call) in self._calls.items()}


def middle(peaks: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    return {name: float(median(peak[name] for peak in peaks)) for name in peaks[0]}


def ranges(peaks: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """Return minimum and maximum of each figure."""
    return {name: [min(peak[name] for peak in peaks), max(peak[name] for peak in peaks)] for name in peaks[0]}


def _product(operator: str, left: Any, right: Any) -> Callable[[], Any]:
    """Return a function that multiplies two matrices in ONNX Runtime. The second one is a constant, as a weight."""
    from onnx import TensorProto, helper, numpy_helper

    result = TensorProto.FLOAT if operator == "MatMul" else TensorProto.INT32
    kind = helper.np_dtype_to_tensor_dtype(left.dtype)
    graph = helper.make_graph(
        [helper.make_node(operator, ["left", "right"], ["product"])],
        "product",
        [helper.make_tensor_value_info("left", kind, left.shape)],
        [helper.make_tensor_value_info("product", result, (left.shape[0], right.shape[1]))],
        [numpy_helper.from_array(right, "right")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    session = open_session(model.SerializeToString(), "a product of matrices")
    return lambda: session.run(None, {"left": left})


def _best(call: Callable[[], Any]) -> float:
    """Return the seconds of the fastest call."""
    call()
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while (start := time.perf_counter()) < end:
        call()
        best = min(best, time.perf_counter() - start)
    return best
