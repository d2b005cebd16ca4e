"""`edge-export adopt`: classifiers as Keras and PyTorch write them, of every kind, in edge-run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.self_test import verify
from maskedge_export.cli import main

LABELS = "with_mask,without_mask"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["adopt", *[str(argument) for argument in arguments]])


def foreign(
    path: Path,
    *,
    shape: Sequence[Any] = ("N", 64, 64, 3),
    kind: int = TensorProto.FLOAT,
    columns: int = 2,
    activation: str | None = "Softmax",
    opset: int = 17,
    batch: Any = "N",
) -> Path:
    """A third-party classifier: a linear layer on the mean of each channel."""
    channels_last = shape[-1] == 3
    random = np.random.default_rng(5)
    axes = [1, 2] if channels_last else [2, 3]
    reduce: dict[str, Any] = {"axes": axes} if opset < 18 else {}
    more = [] if opset < 18 else ["axes"]
    nodes = [
        helper.make_node("Cast", ["input_1"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", *more], ["mean"], keepdims=0, **reduce),
        helper.make_node("MatMul", ["mean", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
        helper.make_node(activation, ["logits"], ["dense_2"], **({"axis": 1} if activation == "Softmax" else {}))
        if activation
        else helper.make_node("Identity", ["logits"], ["dense_2"]),
    ]
    weights = {
        "weights": random.normal(size=(3, columns)).astype(np.float32),
        "bias": random.normal(size=columns).astype(np.float32),
    }
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    constants += [numpy_helper.from_array(np.array(axes, np.int64), "axes")] if opset >= 18 else []
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("input_1", kind, shape)],
        [helper.make_tensor_value_info("dense_2", TensorProto.FLOAT, (batch, columns))],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def answer(path: Path, pictures: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input_1": pictures})[0])


def test_a_keras_classifier_answers_in_edge_run_as_it_did(tmp_path: Path, invoke: Any) -> None:
    """As a script of Keras prepares pictures: RGB, from -1 to 1."""
    theirs = foreign(tmp_path / "keras.onnx", shape=("N", 224, 224, 3))
    done = run(theirs, "-o", tmp_path / "own.onnx", "--labels", LABELS, "--range=-1,1", "--licence", "MIT")
    assert done.exit_code == 0, done.output
    assert "compared with the original's" in done.output
    own = MaskClassifier(tmp_path / "own.onnx")
    assert (own.labels, own.contract.size) == (("with_mask", "without_mask"), 224)
    crop = cv2.resize(np.random.default_rng(1).integers(0, 256, (5, 5, 3), np.uint8), (224, 224))
    expected = answer(theirs, cv2.cvtColor(crop, cv2.COLOR_BGR2RGB)[None].astype(np.float32) / 127.5 - 1)
    np.testing.assert_allclose(own.classify_crops(crop[None]), expected, atol=1e-5)
    assert verify(tmp_path / "own.onnx").passed
    card = (tmp_path / "own.md").read_text()
    assert "adopted from keras.onnx" in card
    assert "parity with the original" in card
    assert "MIT" in card
    done = invoke("edge-run", "--source", "demo", "--max-frames", "2", "--no-show", "--quiet", "--model", tmp_path / "own.onnx")
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("theirs", "options"),
    [
        ({"shape": ("N", 3, 64, 64)}, ("--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")),
        ({"shape": ("N", 3, 64, 64)}, ("--colour", "bgr", "--range", "0,255", "--mean", "104,117,123")),
        ({"activation": None}, ("--output-type", "logits")),
        ({"columns": 1, "activation": "Sigmoid"}, ()),
        ({"columns": 1, "activation": None}, ("--output-type", "logits")),
        ({"shape": ("N", 48, 96, 3)}, ()),
        ({"shape": ("N", 3, "H", "W")}, ("--size", "96")),
        ({"shape": (1, 64, 64, 3), "batch": 1}, ()),
        ({"kind": TensorProto.UINT8}, ("--range", "0,255")),
        ({"kind": TensorProto.FLOAT16}, ()),
        ({"opset": 9}, ()),
        ({"opset": 18}, ()),
    ],
)
def test_inputs_and_outputs_of_every_kind(tmp_path: Path, theirs: dict[str, Any], options: tuple[str, ...]) -> None:
    done = run(foreign(tmp_path / "theirs.onnx", **theirs), "-o", tmp_path / "own.onnx", "--labels", LABELS, *options)
    assert done.exit_code == 0, done.output
    size = MaskClassifier(tmp_path / "own.onnx").contract.size
    assert MaskClassifier(tmp_path / "own.onnx").classify_crops(np.full((3, size, size, 3), 90, np.uint8)).shape == (3, 2)


def reshaped(path: Path) -> Path:
    """A graph that was made for one picture at a time."""
    model = onnx.load(foreign(path, batch=1))
    model.graph.node[-1].output[0] = "rows"
    model.graph.node.append(helper.make_node("Reshape", ["rows", "one row"], ["dense_2"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 2], np.int64), "one row"))
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("make", "options", "sentence"),
    [
        (foreign, ("--labels", "a,b,c"), "returns 2 numbers per picture, and --labels has 3 names"),
        (lambda path: foreign(path, activation=None), ("--labels", LABELS), "give --output-type logits"),
        (lambda path: foreign(path, shape=("N", 3, "H", "W")), ("--labels", LABELS), "give --size"),
        (lambda path: foreign(path, shape=("N", "C", "H", "W")), ("--labels", LABELS), "give --layout"),
        (lambda path: foreign(path, shape=("N", 3, 4000, 4000)), ("--labels", LABELS), "8 to 1024"),
        (reshaped, ("--labels", LABELS), "takes one picture at a time"),
        (lambda path: path.write_bytes(b"no model") and path, ("--labels", LABELS), "is refused"),
        (lambda path: path, ("--labels", LABELS), "there is no model file"),
    ],
)
def test_what_cannot_be_adopted_is_refused_with_what_to_try(
    tmp_path: Path, make: Any, options: tuple[str, ...], sentence: str
) -> None:
    done = run(make(tmp_path / "theirs.onnx"), "-o", tmp_path / "own.onnx", *options)
    assert done.exit_code == 4, done.output
    assert sentence in done.output
    assert not (tmp_path / "own.onnx").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--labels", "one"),
        ("--labels", "a,a"),
        ("--labels", LABELS, "--range", "0"),
        ("--labels", LABELS, "--mean", "1,2"),
        ("--labels", LABELS, "--std", "0"),
        ("--labels", LABELS, "--std", "1e-300"),
        ("--labels", LABELS, "--range", "5,5"),
        ("--labels", LABELS, "--mean", "nan"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert run(foreign(tmp_path / "theirs.onnx"), "-o", tmp_path / "own.onnx", *options).exit_code == 2


def test_the_catalogue_of_the_folder_is_updated(tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    own.write_bytes(b"earlier")
    (tmp_path / "MODELS.json").write_text(json.dumps({"own.onnx": {"sha256": "0" * 64}, "other.onnx": {}}))
    done = run(foreign(tmp_path / "theirs.onnx"), "-o", own, "--labels", LABELS, "--overwrite")
    assert done.exit_code == 0, done.output
    catalogue = json.loads((tmp_path / "MODELS.json").read_text())
    assert catalogue["own.onnx"]["bytes"] == own.stat().st_size
    assert catalogue["other.onnx"] == {}
    assert own.with_suffix(".md").is_file()
    assert verify(own).checksums == ("its own", "MODELS.json")


def test_the_original_is_never_overwritten(tmp_path: Path) -> None:
    theirs = foreign(tmp_path / "theirs.onnx")
    before = theirs.read_bytes()
    assert run(theirs, "-o", tmp_path / "." / "theirs.onnx", "--labels", LABELS).exit_code == 2
    assert theirs.read_bytes() == before


def test_edge_run_names_the_way(tmp_path: Path, invoke: Any) -> None:
    done = invoke("edge-run", "--source", "demo", "--no-show", "--model", foreign(tmp_path / "keras.onnx"))
    assert done.returncode == 4
    assert "edge-export adopt, from a classifier of another maker" in done.stderr
