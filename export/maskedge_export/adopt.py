"""Makes a classifier of another maker keep the contract: its graph, with the pixel path before it and probabilities behind it."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from maskedge.errors import ModelError
from maskedge.modelfile.contract import read_model
from maskedge.modelfile.crop import CropRule
from maskedge.modelfile.sandbox import SandboxError, try_model
from maskedge.support.files import write_file
from maskedge.types import Image
from maskedge.vision.classifier import SUM_TOLERANCE, MaskClassifier
from maskedge.vision.model_card import render_card
from maskedge.vision.self_test import SelfTest
from maskedge_train.classifier.checkpoint import ClassifierSpec

from .graph import IR_VERSION, OPSET, finish
from .parity import open_plainly, probe_crops
from .selftest import TOLERANCE, selftest_crops

_OLDEST = 11
"""The oldest operator set whose Resize is today's."""
_TOLERANCE: dict[int, float] = {TensorProto.FLOAT: 1e-4, TensorProto.UINT8: 1e-4, TensorProto.FLOAT16: 5e-3}
"""Greatest difference of a probability between the original and the adopted graph, by the original's input."""
_BATCHES = (1, 3, 7)
_PREFIX = "adopted/"


@dataclass(frozen=True)
class Adoption:
    """How the original wants its pictures, and what it answers.

    Attributes:
        labels: Its labels, in output order.
        layout: `nhwc` or `nchw`; None to tell it by the input's shape.
        colour: Order of the channels: `rgb` or `bgr`.
        low: What a black pixel becomes.
        high: What a white pixel becomes.
        mean: Subtracted from each channel after that, in the order of `colour`.
        std: Divides each channel after that.
        size: Height and width of the input in pixels, where the original leaves them open.
        answer: Whether it gives `probabilities` or `logits`. A single column is the second of two labels.
        crop: How a face box becomes its input.
    """

    labels: tuple[str, ...]
    layout: str | None = None
    colour: str = "rgb"
    low: float = 0.0
    high: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    size: int | None = None
    answer: str = "probabilities"
    crop: CropRule = field(default_factory=CropRule)


@dataclass(frozen=True)
class Adopted:
    """What was written.

    Attributes:
        crops: Answers compared with the original's.
        worst: Greatest difference of a probability.
        written: The files.
        sha256: Digest of the model.
    """

    crops: int
    worst: float
    written: list[Path]
    sha256: str


@dataclass(frozen=True)
class _Original:
    """What was found of the original."""

    model: onnx.ModelProto
    input: str
    output: str
    kind: int
    layout: str
    height: int
    width: int


def adopt_classifier(source: Path, output: Path, adoption: Adoption, licences: Sequence[str] = ()) -> Adopted:
    """Write a classifier of another maker as a model file, if it answers as the original does.

    Args:
        source: Its .onnx file, with one input for pictures and one output.
        output: The .onnx file to write; its card goes beside it as .md.
        adoption: What the file does not say of itself.
        licences: Licences of the model and its data, for the card.

    Raises:
        ModelError: The file is refused, or is no classifier that can be adopted; the text says why and what to try.
        OutputError: A file cannot be written.
    """
    content = read_model(source)
    try:
        try_model(content)
    except SandboxError as error:
        raise ModelError(f"{source} is refused: {error}.") from error
    original = _read(source, content, adoption)
    size = max(original.height, original.width)
    model = _wrap(original, adoption, size)
    spec = ClassifierSpec("adopted", adoption.labels, size, adoption.crop)
    faces = selftest_crops(spec)
    crops = np.concatenate([faces, probe_crops(size)])
    worst = _compare(source, content, original, model, adoption, crops)
    card: dict[str, Any] = {
        "net": f"adopted from {source.name} (SHA-256 {hashlib.sha256(content).hexdigest()})",
        "parameters": int(sum(np.prod(tensor.dims) for tensor in original.model.graph.initializer)),
        "labels": list(adoption.labels),
        "adopted": {
            "layout": original.layout, "colour": adoption.colour, "range": [adoption.low, adoption.high],
            "mean": list(adoption.mean),
            "std": list(adoption.std), "answer": adoption.answer, "input": [original.height, original.width],
        },
        "parity": {
            "crops": len(crops), "worst_difference": float(f"{worst:.2e}"), "changed": 0, "tolerance": _TOLERANCE[original.kind],
        },

        "licences": list(licences),
        "versions": {name: version(name) for name in ("maskedge", "onnx", "onnxruntime")},
    }  # fmt: skip
    precision = "fp16" if original.kind == TensorProto.FLOAT16 else "fp32"
    answers = open_plainly(model.SerializeToString()).run(None, {"faces": faces})[0]
    made = finish(model, spec, card, SelfTest(faces, answers, TOLERANCE[precision]).to_json())
    with tempfile.TemporaryDirectory() as folder:
        # As a device will see it: what that refuses is not written.
        trial = Path(folder) / output.name
        trial.write_bytes(made)
        MaskClassifier(trial)
    write_file(output, made)
    write_file(output.with_suffix(".md"), render_card(output))
    return Adopted(len(crops), worst, [output, output.with_suffix(".md")], hashlib.sha256(made).hexdigest())


def _read(source: Path, content: bytes, adoption: Adoption) -> _Original:
    """Tell input, layout and output of the original."""
    try:
        model = onnx.load_from_string(content)
        model = _with_opset(model)
        model = onnx.compose.add_prefix(model, _PREFIX)
    except Exception as error:
        raise ModelError(
            f"{source} cannot be brought to operator set {OPSET}: {' '.join(str(error).split())[:150]}. Export it so."
        ) from error
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in weights]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        found = f"{len(inputs)} inputs and {len(model.graph.output)} outputs"
        raise ModelError(f"{source} has {found}: what can be adopted takes one picture and gives one row of probabilities.")
    kind = inputs[0].type.tensor_type.elem_type
    dims = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim]
    if len(dims) != 4 or kind not in _TOLERANCE:
        name = TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else str(kind)
        raise ModelError(
            f"{source} takes {name} {dims}: what can be adopted takes pictures, FLOAT, FLOAT16 or UINT8 of 4 dimensions."
        )
    layout = adoption.layout or ("nhwc" if dims[3] == 3 else "nchw" if dims[1] == 3 else None)
    if layout is None or (dims[3] if layout == "nhwc" else dims[1]) not in (0, 3):
        raise ModelError(f"{source} takes {dims}, in which no side stands for three colours: give --layout nhwc or nchw.")
    height, width = dims[1:3] if layout == "nhwc" else dims[2:4]  # 0 where it is open
    height, width = height or adoption.size or 0, width or adoption.size or 0
    if not height or not width:
        raise ModelError(f"{source} leaves the size of its input open ({dims}): give --size.")
    if not (min(height, width) >= 8 and max(height, width) <= 1024):
        raise ModelError(f"{source} takes pictures of {width} x {height} pixels: 8 to 1024 are taken here.")
    return _Original(model, inputs[0].name, model.graph.output[0].name, kind, layout, height, width)


def _with_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """Bring the operators to a version that every supported onnxruntime has."""
    own = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), OPSET)
    if not _OLDEST <= own <= OPSET:
        model = onnx.version_converter.convert_version(model, OPSET)
    model.ir_version = min(model.ir_version, IR_VERSION)
    return model


def _wrap(original: _Original, adoption: Adoption, size: int) -> onnx.ModelProto:
    """Put the pixel path before the graph, and what makes probabilities behind it."""
    model = onnx.ModelProto()
    model.CopyFrom(original.model)
    graph = model.graph
    before, constants = _pixel_path(original, adoption, size)
    behind, more = _probabilities(original, adoption)
    inner = list(graph.node)
    del graph.node[:]
    graph.node.extend([*before, *inner, *behind])
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in (constants | more).items())
    weights = {tensor.name for tensor in graph.initializer}
    kept = [item for item in graph.input if item.name in weights]
    del graph.input[:]
    graph.input.extend([helper.make_tensor_value_info("faces", TensorProto.UINT8, ("N", size, size, 3)), *kept])
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ("N", len(adoption.labels))))
    # Shapes that were noted for one batch size would contradict the others.
    del graph.value_info[:]
    return model


def _pixel_path(original: _Original, adoption: Adoption, size: int) -> tuple[list[onnx.NodeProto], dict[str, npt.NDArray[Any]]]:
    """Give the nodes from uint8 `[N, S, S, 3]` BGR to the original's input, and their constants."""
    constants: dict[str, npt.NDArray[Any]] = {}
    nodes: list[onnx.NodeProto] = []
    name = "faces"

    def step(operator: str, *more: str, **options: Any) -> None:
        nonlocal name
        made = f"pixels/{len(nodes)}"
        nodes.append(helper.make_node(operator, [name, *more], [made], **options))
        name = made

    step("Cast", to=TensorProto.FLOAT)
    if adoption.colour == "rgb":
        constants["pixels/reversed"] = np.array([2, 1, 0], np.int64)
        step("Gather", "pixels/reversed", axis=3)
    step("Transpose", perm=[0, 3, 1, 2])
    if (original.height, original.width) != (size, size):
        constants["pixels/scales"] = np.array([1, 1, original.height / size, original.width / size], np.float32)
        step("Resize", "", "pixels/scales", mode="linear")
    scale, shift = _normalisation(adoption)
    constants["pixels/scale"], constants["pixels/shift"] = scale.reshape(1, -1, 1, 1), shift.reshape(1, -1, 1, 1)
    step("Mul", "pixels/scale")
    step("Add", "pixels/shift")
    if original.layout == "nhwc":
        step("Transpose", perm=[0, 2, 3, 1])
    if original.kind == TensorProto.UINT8:
        constants["pixels/black"], constants["pixels/white"] = np.array(0, np.float32), np.array(255, np.float32)
        step("Round")
        step("Clip", "pixels/black", "pixels/white")
    nodes.append(helper.make_node("Cast", [name], [original.input], to=original.kind))
    return nodes, constants


def _normalisation(adoption: Adoption) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Give factor and summand a channel, float32 `[3]`, in the order of `colour`."""
    mean, std = (np.broadcast_to(np.array(values, np.float64), 3) for values in (adoption.mean, adoption.std))
    scale = (adoption.high - adoption.low) / 255
    return (scale / std).astype(np.float32), ((adoption.low - mean) / std).astype(np.float32)


def _probabilities(original: _Original, adoption: Adoption) -> tuple[list[onnx.NodeProto], dict[str, npt.NDArray[Any]]]:
    """Give the nodes from the original's output to float32 `[N, C]` probabilities, and their constants."""
    single = len(adoption.labels) == 2 and _columns(original) == 1
    columns = 1 if single else len(adoption.labels)
    constants = {"answer/shape": np.array([-1, columns], np.int64)}
    nodes = [
        helper.make_node("Cast", [original.output], ["answer/float"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["answer/float", "answer/shape"], ["answer/rows"]),
    ]
    if single:
        constants["answer/one"] = np.array(1, np.float32)
        activation = "Sigmoid" if adoption.answer == "logits" else "Identity"
        nodes += [
            helper.make_node(activation, ["answer/rows"], ["answer/second"]),
            helper.make_node("Sub", ["answer/one", "answer/second"], ["answer/first"]),
            helper.make_node("Concat", ["answer/first", "answer/second"], ["probabilities"], axis=1),
        ]
    elif adoption.answer == "logits":
        nodes.append(helper.make_node("Softmax", ["answer/rows"], ["probabilities"], axis=1))
    else:
        nodes.append(helper.make_node("Identity", ["answer/rows"], ["probabilities"]))
    return nodes, constants


def _columns(original: _Original) -> int | None:
    """Tell how many numbers the original gives a picture, None where it does not say."""
    dims = [dim.dim_value for dim in original.model.graph.output[0].type.tensor_type.shape.dim]
    return int(np.prod(dims[1:])) if len(dims) > 1 and all(dims[1:]) else None


def _compare(source: Path, content: bytes, original: _Original, model: onnx.ModelProto, adoption: Adoption, crops: Image) -> float:
    """Compare the adopted graph with the original, which gets its pictures one by one from numpy; give the greatest difference.

    Raises:
        ModelError: They differ, the original gives no probabilities, or its graph takes one picture at a time only.
    """
    plain = open_plainly(content)
    (wanted,) = [item.name for item in plain.get_inputs()]
    kind = np.dtype({TensorProto.FLOAT16: np.float16, TensorProto.UINT8: np.uint8}.get(original.kind, np.float32))  # type: ignore[call-overload]
    try:
        rows = [
            np.asarray(plain.run(None, {wanted: _prepare(crop, original, adoption, kind)})[0], np.float64).ravel() for crop in crops
        ]
    except Exception as error:
        raise ModelError(f"{source} does not run: {' '.join(str(error).split())[:200]}.") from error
    expected = _expected(source, np.stack(rows), adoption)
    try:
        session = open_plainly(model.SerializeToString())
        answers = [
            (batch, np.concatenate([session.run(None, {"faces": crops[at : at + batch]})[0] for at in range(0, len(crops), batch)]))
            for batch in _BATCHES
        ]
    except Exception as error:
        raise ModelError(
            f"{source} takes one picture at a time ({' '.join(str(error).split())[:150]}): export it again with a free batch size."
        ) from error
    worst = 0.0
    for batch, own in answers:
        if own.shape != expected.shape:
            raise ModelError(
                f"{source} answers {list(own.shape)} for {len(crops)} pictures, {batch} at a time: it needs a free batch size."
            )
        difference = np.abs(own - expected).max()
        worst = max(worst, float(difference) if np.isfinite(difference) else np.inf)
    if worst > _TOLERANCE[original.kind]:
        raise ModelError(f"{source} answers otherwise once adopted (probabilities by up to {worst:.1e}): nothing was written.")
    return worst


def _prepare(crop: Image, original: _Original, adoption: Adoption, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Make the original's input of a crop, by numpy and OpenCV instead of the graph: `[1, ...]`."""
    picture: npt.NDArray[Any] = np.ascontiguousarray(crop[:, :, ::-1] if adoption.colour == "rgb" else crop, np.float32)
    if picture.shape[:2] != (original.height, original.width):
        picture = cv2.resize(picture, (original.width, original.height), interpolation=cv2.INTER_LINEAR)
    pixels = picture.astype(np.float64) / 255 * (adoption.high - adoption.low) + adoption.low
    pixels = (pixels - np.array(adoption.mean)) / np.array(adoption.std)
    if kind == np.uint8:
        pixels = np.clip(np.round(pixels), 0, 255)
    return np.asarray((pixels if original.layout == "nhwc" else pixels.transpose(2, 0, 1))[None], kind)


def _expected(source: Path, rows: npt.NDArray[np.float64], adoption: Adoption) -> npt.NDArray[np.float64]:
    """Make probabilities of what the original answers: float64 `[N, C]`."""
    labels = adoption.labels
    if rows.shape[1] not in {len(labels), 1 if len(labels) == 2 else len(labels)}:
        raise ModelError(f"{source} gives {rows.shape[1]} numbers a picture, and --labels names {len(labels)}: name one for each.")
    if rows.shape[1] == 1:
        second = 1 / (1 + np.exp(-rows)) if adoption.answer == "logits" else rows
        rows = np.concatenate([1 - second, second], axis=1)
    elif adoption.answer == "logits":
        powers = np.exp(rows - rows.max(axis=1, keepdims=True))
        rows = powers / powers.sum(axis=1, keepdims=True)
    wrong = not np.isfinite(rows).all() or rows.min() < -SUM_TOLERANCE or np.abs(rows.sum(axis=1) - 1).max() > SUM_TOLERANCE
    if wrong:
        raise ModelError(
            f"{source} does not answer with probabilities that add up to 1: if its output has no softmax, give --answer logits."
        )
    return rows
