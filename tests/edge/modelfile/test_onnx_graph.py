"""What is refused of an ONNX file without opening it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from helpers.support import METADATA, write_detector, write_model
from maskedge import ModelError
from maskedge.modelfile.contract import MODELS
from maskedge.modelfile.onnx_graph import GraphError, read_graph
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.detectors.network import CnnDetector


def constant(name: str, value: object, kind: type = np.int64) -> TensorProto:
    return numpy_helper.from_array(np.array(value, kind), name)


def beside(tmp_path: Path, *nodes: onnx.NodeProto, constants: tuple[TensorProto, ...] = ()) -> ModelProto:
    """A good classifier with further nodes, of whose output `big` the answer depends."""
    model = onnx.load(write_model(tmp_path / "base.onnx"))
    model.graph.node[-1].output[0] = "answer"
    model.graph.node.extend(nodes)
    model.graph.node.append(helper.make_node("ReduceMean", ["big"], ["mean of big"], keepdims=0))
    model.graph.node.append(helper.make_node("Mul", ["mean of big", "nothing"], ["none"]))
    model.graph.node.append(helper.make_node("Add", ["answer", "none"], ["probabilities"]))
    model.graph.initializer.extend([*constants, constant("nothing", 0, np.float32)])
    return model


def node(operator: str, *inputs: str, output: str = "big", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, list(inputs), [output], **attributes)


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.onnx")), ids=lambda path: path.name)
def test_bundled_models_are_read_as_onnx_reads_them(path: Path) -> None:
    facts, model = read_graph(path.read_bytes()), onnx.load(path)
    assert facts.metadata == {entry.key: entry.value for entry in model.metadata_props}
    assert facts.nodes == len(model.graph.node)


HUGE: dict[str, tuple[tuple[onnx.NodeProto, ...], tuple[TensorProto, ...], str]] = {
    "constant of a shape": ((node("ConstantOfShape", "n"),), (constant("n", [10**9]),), r"1,000,000,000 .*ConstantOfShape"),
    "shape of a constant node": (
        (node("Constant", output="n", value_ints=[10**5, 10**5]), node("ConstantOfShape", "n")), (), r"10,000,000,000 numbers",
    ),
    "expanded": ((node("Expand", "one", "n"),), (constant("one", [1], np.float32), constant("n", [10**6, 10**6])), r"\(Expand\)"),
    "repeated": ((node("Tile", "one", "n"),), (constant("one", [1], np.float32), constant("n", [10**9])), r"\(Tile\)"),
    "range": (
        (node("Range", "zero", "n", "one", output="r"), node("Cast", "r", to=TensorProto.FLOAT)),
        (constant("zero", 0), constant("n", 10**9), constant("one", 1)), r"\(Range\)",
    ),
    "border": ((node("Pad", "one", "n"),), (constant("one", [1], np.float32), constant("n", [0, 10**9])), r"\(Pad\)"),
    "kernel": (
        (node("MaxPool", "image", kernel_shape=[1, 1], pads=[10**8, 0, 0, 0]),),
        (constant("image", [[[[1]]]], np.float32),),
        "pads",
    ),
    "chance": ((node("RandomNormal", shape=[10]),), (), "would be random"),
    "of another maker": ((helper.make_node("Crypto", [], ["big"], domain="evil"),), (), "not part of ONNX"),
    "of Microsoft, no arithmetic": ((helper.make_node("BeamSearch", [], ["big"], domain="com.microsoft"),), (), "not accepted"),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "constants", "clause"), HUGE.values(), ids=HUGE.keys())
def test_what_is_huge_or_has_no_bound_is_refused_unopened(
    tmp_path: Path, nodes: tuple[onnx.NodeProto, ...], constants: tuple[TensorProto, ...], clause: str
) -> None:
    with pytest.raises(GraphError, match=clause):
        read_graph(beside(tmp_path, *nodes, constants=constants).SerializeToString())


def deep(model: ModelProto) -> None:
    inner = GraphProto(name="leaf")
    for _ in range(12):
        outer = GraphProto(name="branch")
        outer.node.append(helper.make_node("If", ["c"], ["x"], then_branch=inner, else_branch=GraphProto(name="other")))
        inner = outer
    model.graph.node.extend(inner.node)


STRUCTURE: dict[str, tuple[Callable[[ModelProto], object], str]] = {
    "graphs in graphs": (deep, "deep inside one another"),
    "a loop": (lambda model: model.graph.node.add(op_type="Loop"), "loops have no bound"),
    "functions": (lambda model: model.functions.add(name="f"), "functions of its own"),
    "too many operators": (lambda model: model.graph.node.extend([model.graph.node[0]] * 20_000), "more than 10,000 operators"),
    "a claim without numbers": (lambda model: model.graph.initializer.add(dims=[10**9], data_type=1), "shape has 1,000,000,000"),
    "a negative size": (lambda model: model.graph.initializer.add(dims=[-1, -1], data_type=1), "negative size"),
    "sizes whose product is a number of megabytes": (
        lambda model: model.graph.initializer.add(dims=[2**62] * 10_000, data_type=1), "10,000 dimensions",
    ),
    "weights elsewhere": (lambda model: model.graph.initializer.add(dims=[1], data_type=1, data_location=1), "must be one file"),
    "no graph": (lambda model: model.ClearField("graph"), "no graph"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "clause"), STRUCTURE.values(), ids=STRUCTURE.keys())
def test_structure_without_bound_is_refused(tmp_path: Path, change: Callable[[ModelProto], object], clause: str) -> None:
    model = onnx.load(write_model(tmp_path / "model.onnx"))
    change(model)
    with pytest.raises(GraphError, match=clause):
        read_graph(model.SerializeToString())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08",
        b"\xff" * 20,
        b"\x3a\x05abc",
        b"\x3b\x00",
        b"\x00\x00",
        b"\x3a\x02\x0a\x7f",
        b"PK\x03\x04" * 50,
        b"\x0a\x00" * 600_000,
    ],
)
def test_bytes_that_are_no_model(content: bytes) -> None:
    with pytest.raises(GraphError):
        read_graph(content)


def test_two_graphs_are_not_merged(tmp_path: Path) -> None:
    content = write_model(tmp_path / "model.onnx").read_bytes()
    with pytest.raises(GraphError, match="two graphs"):
        read_graph(content + content)


def test_texts_that_are_no_utf8(tmp_path: Path) -> None:
    content = write_model(tmp_path / "model.onnx", metadata=METADATA | {"other": "QQQQ"}).read_bytes()
    (tmp_path / "model.onnx").write_bytes(content.replace(b"QQQQ", b"\xff\xfe\xe9\xe8"))
    with pytest.raises(ModelError, match=r"metadata entry other is not text in UTF-8"):
        MaskClassifier(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("key", "text", "clause"),
    [
        ("maskedge.card", "[" * 100_000, "nested too deep"),
        ("maskedge.labels", '{"a":' * 100_000, "nested too deep"),
        ("maskedge.crop", "[" * 100_000, "nested too deep"),
        ("maskedge.card", '{"unsure_below": NaN}', "not a number in JSON"),
        ("maskedge.card", '{"unsure_below": 1' + "0" * 400 + "}", "unsure_below"),
        ("maskedge.crop", '{"margin": 1e999, "square": true}', "margin must be"),
        ("maskedge.labels", '["with_mask", "\\ud800"]', "printable"),
        ("maskedge.labels", '["with_mask", "a\\nb"]', "printable"),
        ("maskedge.labels", '["with_mask", "' + "a" * 101 + '"]', "100 printable"),
        ("maskedge.crop", "[" + "1," * 50_000 + "1]", "expected an object"),
    ],
)
def test_metadata_of_another_kind_is_refused_in_a_short_sentence(tmp_path: Path, key: str, text: str, clause: str) -> None:
    path = write_model(tmp_path / "model.onnx", metadata=METADATA | {key: text})
    with pytest.raises(ModelError, match=clause) as refusal:
        MaskClassifier(path)
    assert len(str(refusal.value)) < 900


def test_inputs_that_no_memory_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="8 to 1024 pixels"):
        MaskClassifier(write_model(tmp_path / "model.onnx", shape=("N", 100_000, 100_000, 3)))
    with pytest.raises(ModelError, match="pixels"):
        CnnDetector(write_detector(tmp_path / "detector.onnx", size=(60_000, 60_000)))


def test_a_computed_size_ends_the_trial_and_nothing_else(tmp_path: Path) -> None:
    nodes = (
        node("Mul", "thousand", "thousand", output="n"),
        node("Mul", "n", "thousand", output="m"),
        node("ConstantOfShape", "m"),
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(beside(tmp_path, *nodes, constants=(constant("thousand", [1000]),)).SerializeToString())
    with pytest.raises(ModelError, match=r"is refused: it needs more than \d+ MB"):
        MaskClassifier(path)
    assert MaskClassifier(write_model(path)).labels == ("with_mask", "without_mask"), "the next file gets a trial of its own"


def test_endless_computing_ends_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskedge.modelfile.sandbox.SECONDS", 1.0)
    # Much computing for the memory: ONNX Runtime keeps each product of constants, and its limit must not come first.
    chain = [node("MatMul", f"x{step}", f"x{step}", output=f"x{step + 1}") for step in range(900)]
    nodes = (node("ConstantOfShape", "n", output="x0"), *chain, node("Identity", "x900"))
    path = tmp_path / "model.onnx"
    path.write_bytes(beside(tmp_path, *nodes, constants=(constant("n", [3000, 3000]),)).SerializeToString())
    with pytest.raises(ModelError, match="s of computing"):
        MaskClassifier(path)
