"""Invalid probabilities and boxes are refused when a model is loaded and while it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from helpers.support import write_detector, write_model
from maskedge import ModelError
from maskedge.runtime.loop import run
from maskedge.sources import open_source
from maskedge.support.text import read_json, to_json
from maskedge.types import Box, Image
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.detectors.network import CnnDetector
from maskedge.vision.pipeline import MaskDetector


def extended_classifier(path: Path, *nodes: onnx.NodeProto, **constants: Any) -> Path:
    """Write a valid classifier whose output passes through more nodes to `probabilities`."""
    model = onnx.load(write_model(path))
    model.graph.node[-1].output[0] = "answer"
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items())
    path.write_bytes(model.SerializeToString())
    return path


def node(operator: str, *inputs: str, output: str = "probabilities", **options: Any) -> onnx.NodeProto:
    return helper.make_node(operator, list(inputs), [output], **options)


@pytest.mark.parametrize(
    ("nodes", "constants", "what"),
    [
        ((node("Mul", "answer", "x"),), {"x": np.nan}, r"\(nan, nan\)"),
        ((node("Add", "answer", "x"),), {"x": np.inf}, r"\(inf, inf\)"),
        ((node("Sigmoid", "answer"),), {}, "which are not probabilities"),
        ((node("Mul", "answer", "x"),), {"x": 1.05}, "which are not probabilities"),
        ((node("Add", "answer", "x"),), {"x": [[0.7, -0.7]]}, r"-0\."),
        ((node("Identity", "logits"),), {}, "lacks a softmax"),
    ],
)
def test_invalid_probabilities_are_refused_at_load(
    tmp_path: Path, nodes: tuple[onnx.NodeProto, ...], constants: dict[str, Any], what: str
) -> None:
    with pytest.raises(ModelError, match=what):
        MaskClassifier(extended_classifier(tmp_path / "model.onnx", *nodes, **constants))


def test_rounded_probabilities_are_accepted_and_clipped(tmp_path: Path) -> None:
    path = extended_classifier(tmp_path / "model.onnx", node("Add", "answer", "x"), x=[[0.004, 0.004]])
    probabilities = MaskClassifier(path).classify_crops(np.full((5, 32, 32, 3), 255, np.uint8))
    assert probabilities.max() <= 1
    assert probabilities.min() >= 0


def nan_at(path: Path, grey: int) -> Path:
    """Write a classifier whose output is NaN (0 / 0) for one shade of grey."""
    nodes = (
        node("Sub", "mean", "grey", output="away"),
        node("Div", "zero", "away", output="none"),
        node("Unsqueeze", "none", "last", output="column of none"),
        node("Add", "answer", "column of none"),
    )
    return extended_classifier(path, *nodes, grey=float(grey), zero=0.0)


class Everywhere:
    """A detector with one face in the middle of each picture."""

    def detect(self, image: Image) -> list[Box]:
        return [(10.0, 10.0, 50.0, 50.0)]


def test_the_first_invalid_output_ends_a_run_with_the_models_exit_code(tmp_path: Path) -> None:
    model = nan_at(tmp_path / "model.onnx", 77)
    detector = MaskDetector(model, Everywhere())
    assert len(detector(np.full((60, 60, 3), 78, np.uint8))) == 1
    with pytest.raises(ModelError, match=r"returns \(nan, nan\)"):
        detector(np.full((60, 60, 3), 77, np.uint8))
    # The first picture has another shade; the second triggers NaN.
    import cv2

    for name, grey in (("a", 78), ("b", 77)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((60, 60, 3), grey, np.uint8))
    outcome = run(open_source(str(tmp_path / "?.png")), detector, [])
    assert isinstance(outcome.failure, ModelError)
    assert outcome.failure.exit_code == 4
    assert outcome.summary.frames == 1


def test_invalid_face_positions_are_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", place=(0.1, 0.1, np.nan, 0.9))
    with pytest.raises(ModelError, match="places that are not boxes"):
        MaskClassifier(path)


def test_many_crops_go_in_batches_that_fit(tmp_path: Path) -> None:
    classifier = MaskClassifier(write_model(tmp_path / "model.onnx", shape=("N", 512, 512, 3)))
    crops = np.zeros((9, 512, 512, 3), np.uint8)
    crops[:] = np.arange(0, 90, 10, np.uint8)[:, None, None, None]
    probabilities = classifier.classify_crops(crops)
    assert probabilities.shape == (9, 2)
    np.testing.assert_allclose(probabilities, np.concatenate([classifier.classify_crops(crop[None]) for crop in crops]), atol=1e-6)
    assert classifier.classify_crops(crops[:0]).shape == (0, 2)


def extended_detector(path: Path, operator: str, value: float, which: str) -> Path:
    """Write a valid detector whose boxes or scores pass through one more node."""
    model = onnx.load(write_detector(path))
    for item in model.graph.node:
        for place, name in enumerate(item.output):
            if name == which:
                item.output[place] = "before"
        for place, name in enumerate(item.input):
            if name == which:
                item.input[place] = "before"
    model.graph.node.append(helper.make_node(operator, ["before", "x"], [which]))
    model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), "x"))
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("which", "value"), [("boxes", np.nan), ("boxes", np.inf), ("scores", np.nan), ("scores", 1e6), ("scores", -1e6)]
)
def test_invalid_boxes_and_scores_are_refused(tmp_path: Path, which: str, value: float) -> None:
    with pytest.raises(ModelError, match="boxes or scores that are not valid"):
        CnnDetector(extended_detector(tmp_path / "detector.onnx", "Mul", value, which))


def test_unexpected_shapes_of_a_detector_are_refused(tmp_path: Path) -> None:
    model = onnx.load(write_detector(tmp_path / "detector.onnx"))
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(helper.make_node("Slice", ["before", "one", "end"], ["scores"]))
    for name, value in (("one", [1]), ("end", [2**31])):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), f"{name} of slice"))
    model.graph.node[-1].input[1:] = ["one of slice", "end of slice"]
    (tmp_path / "detector.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"expected \[K, 4\] and \[K\]"):
        CnnDetector(tmp_path / "detector.onnx")


def test_only_the_best_boxes_are_kept(tmp_path: Path) -> None:
    detector = CnnDetector(write_detector(tmp_path / "detector.onnx", size=(128, 128)))
    found = detector.detect(np.full((128, 128, 3), 255, np.uint8))
    assert found.scores is not None
    assert len(found.boxes) == len(found.scores) == 4096
    assert found.scores[0] == pytest.approx(0.99 + 510 * 1e-5)


def test_json_holds_no_nan_or_infinity() -> None:
    odd = {"a": [1.5, float("nan"), {"b": (float("inf"), -float("inf"), "NaN")}], "c": True, "d": None}
    assert json.loads(to_json(odd), parse_constant=pytest.fail) == {
        "a": [1.5, None, {"b": [None, None, "NaN"]}],
        "c": True,
        "d": None,
    }
    for text in ("NaN", "[Infinity]", "[" * 100_000, "{", '{"a": -Infinity}'):
        with pytest.raises(ValueError, match=r".+"):
            read_json(text)
