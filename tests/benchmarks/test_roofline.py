from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("onnx")

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from maskedge_bench.contestants.pipelines import BASELINE_MODEL
from maskedge_bench.report_schemas import validate
from maskedge_bench.speed import roofline
from maskedge_bench.speed.peak import FLOAT, INTEGER, MEMORY, PeakTest, middle, ranges
from maskedge_bench.speed.roofline import Stage, count_work, measure_stage


def test_report(invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(roofline, "_ROUNDS", 2)
    monkeypatch.setattr(roofline, "_SECONDS", 0.01)
    path = tmp_path / "roofline.json"
    done = invoke("edge-bench", "roofline", "--json", path)
    assert done.returncode == 0, done.stderr
    report = json.loads(path.read_text())
    validate(report)
    for name, (low, high) in report["peak_range"].items():
        assert 0 < low <= report["peak"][name] <= high
    for row in report["rows"]:
        low, high = row["fraction_range"]
        assert 0 <= low <= row["fraction"] <= high
    assert "limit / measured (range)" in done.stdout


def test_stage_is_compared_with_the_peak_of_its_rounds() -> None:
    peaks: list[dict[str, float]] = []
    test = PeakTest()
    # A million multiply-accumulates in a millisecond.
    row = measure_stage(Stage("own", lambda: 1.0, 1_000_000, 1), test, peaks)
    assert len(peaks) == 6
    assert row["milliseconds"] == 1.0
    assert row["bound_by"] == "arithmetic"
    assert row["fraction"] == pytest.approx(row["limit_ms"], abs=1e-3)
    assert row["limit_ms"] == pytest.approx(1e9 / middle(peaks)[FLOAT], rel=1)


def test_int8_is_compared_with_products_of_int8() -> None:
    peak = {FLOAT: 1e9, INTEGER: 4e9, MEMORY: 1e9}
    assert Stage("float", lambda: 1.0, 4_000_000, 1).limit(peak) == (4.0, "arithmetic")
    assert Stage("int8", lambda: 1.0, 4_000_000, 1, integer=True).limit(peak) == (1.0, "arithmetic")
    assert Stage("copy", lambda: 1.0, None, 1_000_000).limit(peak) == (1.0, "memory")


def test_median_and_range_of_peaks() -> None:
    peaks = [{FLOAT: value} for value in (3.0, 1.0, 2.0)]
    assert middle(peaks) == {FLOAT: 2.0}
    assert ranges(peaks) == {FLOAT: [1.0, 3.0]}


@pytest.mark.parametrize("quantised", [False, True])
def test_work_of_a_product(tmp_path: Path, quantised: bool) -> None:
    path = tmp_path / "product.onnx"
    weights = np.ones((8, 4), np.int8 if quantised else np.float32)
    nodes, name, initializers = [], "weights", [numpy_helper.from_array(weights, "weights")]
    left = "left"
    if quantised:
        initializers += [numpy_helper.from_array(np.float32(1), "scale"), numpy_helper.from_array(np.int8(0), "zero")]
        nodes = [
            helper.make_node("QuantizeLinear", ["left", "scale", "zero"], ["narrow"]),
            helper.make_node("DequantizeLinear", ["narrow", "scale", "zero"], ["wide"]),
            helper.make_node("DequantizeLinear", ["weights", "scale", "zero"], ["wide_weights"]),
        ]
        left, name = "wide", "wide_weights"
    graph = helper.make_graph(
        [*nodes, helper.make_node("MatMul", [left, name], ["product"])],
        "product",
        [helper.make_tensor_value_info("left", TensorProto.FLOAT, (2, 8))],
        [helper.make_tensor_value_info("product", TensorProto.FLOAT, (2, 4))],
        initializers,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    work = count_work(path)
    assert work.operations == 2 * 8 * 4
    assert work.integer is quantised
    assert work.touched == (2 * 8 + 8 * 4) * (1 if quantised else 4) + 2 * 4 * 4


def test_work_of_a_classifier() -> None:
    work = count_work(BASELINE_MODEL)
    assert work.operations is not None
    assert work.operations > 40_000_000
    assert not work.integer
