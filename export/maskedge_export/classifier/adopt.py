"""Adoption of third-party classifiers: a pixel path, their graph, and a probability output."""

from __future__ import annotations

import hashlib
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
from maskedge.types import Image
from maskedge.vision.classifier import SUM_TOLERANCE
from maskedge.vision.self_test import SelfTest
from maskedge_train.classifier.checkpoint import ClassifierSpec

from ..onnx_file import IR_VERSION, OPSET, TOLERANCE, open_cpu_session, seal_model, write_model
from .parity import probe_crops
from .self_test import self_test_crops

_OLDEST = 11
"""The oldest operator set with the current operator Resize."""
_TOLERANCE: dict[int, float] = {TensorProto.FLOAT: 1e-4, TensorProto.UINT8: 1e-4, TensorProto.FLOAT16: 5e-3}
"""Largest admitted difference of a probability, by type of the original's input."""
_BATCHES = (1, 3, 7)
_PREFIX = "adopted/"


@dataclass(frozen=True)
class Adoption:
    """Description of a third-party classifier's input and output.

    Attributes:
        labels: Labels, in output order.
        layout: `nhwc` or `nchw`; None infers it from the input's shape.
        colour: Channel order, `rgb` or `bgr`.
        low: Input value of a black pixel.
        high: Input value of a white pixel.
        mean: Mean per channel, subtracted from that value, in the order of `colour`.
        std: Standard deviation per channel, which divides the difference.
        size: Height and width of the input in pixels, if the file leaves them open.
        output: `probabilities` or `logits`. A single column belongs to the second of two labels.
        crop: How a face box becomes an input.
    """

    labels: tuple[str, ...]
    layout: str | None = None
    colour: str = "rgb"
    low: float = 0.0
    high: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    size: int | None = None
    output: str = "probabilities"
    crop: CropRule = field(default_factory=CropRule)


@dataclass(frozen=True)
class AdoptedModel:
    """The outcome of an adoption.

    Attributes:
        crops: Number of outputs compared with the original's.
        worst: Largest difference of a probability.
        written: The model and its card.
        sha256: SHA-256 of the model, hexadecimal.
    """

    crops: int
    worst: float
    written: list[Path]
    sha256: str


@dataclass(frozen=True)
class _Original:
    """Input, output and layout of the original."""

    model: onnx.ModelProto
    input: str
    output: str
    kind: int
    layout: str
    height: int
    width: int


def adopt_classifier(source: Path, output: Path, adoption: Adoption, licences: Sequence[str] = ()) -> AdoptedModel:
    """Write a third-party classifier as a model file, if its outputs equal the original's.

    Args:
        source: The third-party .onnx file, with one input for pictures and one output.
        output: The .onnx file to write. The card has the suffix .md.
        adoption: Description of the original's input and output.
        licences: Licences of the model and its data, for the card.

    Raises:
        ModelError: The file is refused or cannot be adopted. The message names the cause and a
            remedy.
        OutputError: A file cannot be written.
    """
    source_content = read_model(source)
    try:
        try_model(source_content)
    except SandboxError as error:
        raise ModelError(f"{source} is refused: {str(error).rstrip('.')}.") from error
    original = _read(source, source_content, adoption)
    size = max(original.height, original.width)
    model = _wrap(original, adoption, size)
    spec = ClassifierSpec("adopted", adoption.labels, size, adoption.crop)
    faces = self_test_crops(spec)
    crops = np.concatenate([faces, probe_crops(size)])
    worst = _compare(source, source_content, original, model, adoption, crops)
    card: dict[str, Any] = {
        "net": f"adopted from {source.name} (SHA-256 {hashlib.sha256(source_content).hexdigest()})",
        "parameters": int(sum(np.prod(tensor.dims) for tensor in original.model.graph.initializer)),
        "labels": list(adoption.labels),
        "adopted": {
            "layout": original.layout, "colour": adoption.colour, "range": [adoption.low, adoption.high],
            "mean": list(adoption.mean),
            "std": list(adoption.std), "answer": adoption.output, "input": [original.height, original.width],
        },
        "parity": {
            "crops": len(crops), "worst_difference": float(f"{worst:.2e}"), "changed": 0, "tolerance": _TOLERANCE[original.kind],
        },

        "licences": list(licences),
        "versions": {name: version(name) for name in ("maskedge", "onnx", "onnxruntime")},
    }  # fmt: skip
    precision = "fp16" if original.kind == TensorProto.FLOAT16 else "fp32"
    outputs = open_cpu_session(model.SerializeToString()).run(None, {"faces": faces})[0]
    selftest = SelfTest(faces, outputs, TOLERANCE[precision]).to_json()
    content = seal_model(model, "classifier", spec.labels, card, selftest, crop=spec.crop.to_json())
    digest = hashlib.sha256(content).hexdigest()
    entry = {
        "sha256": digest,
        "bytes": len(content),
        "net": card["net"],
        "parameters": card["parameters"],
        "labels": card["labels"],
        "parity": card["parity"]["worst_difference"],
    }
    return AdoptedModel(len(crops), worst, write_model(output, content, entry), digest)


def _read(source: Path, content: bytes, adoption: Adoption) -> _Original:
    """Parse the original and determine its input, layout and output.

    Raises:
        ModelError: The file does not have the form of an adoptable classifier.
    """
    try:
        model = onnx.load_from_string(content)
        model = _with_opset(model)
        model = onnx.compose.add_prefix(model, _PREFIX)
    except Exception as error:
        raise ModelError(
            f"{source} cannot be converted to operator set {OPSET} ({' '.join(str(error).split())[:150]}): export it with that set."
        ) from error
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in weights]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        found = f"{len(inputs)} inputs and {len(model.graph.output)} outputs"
        raise ModelError(f"{source} has {found}: an adoptable model has one input for pictures and one output of probabilities.")
    kind = inputs[0].type.tensor_type.elem_type
    dims = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim]
    if len(dims) != 4 or kind not in _TOLERANCE:
        name = TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else str(kind)
        raise ModelError(
            f"{source} takes {name} {dims}: an adoptable model takes pictures, FLOAT, FLOAT16 or UINT8 of 4 dimensions."
        )
    layout = adoption.layout or ("nhwc" if dims[3] == 3 else "nchw" if dims[1] == 3 else None)
    if layout is None or (dims[3] if layout == "nhwc" else dims[1]) not in (0, 3):
        raise ModelError(f"{source} takes {dims}, and no dimension is 3 for the colours: give --layout nhwc or nchw.")
    height, width = dims[1:3] if layout == "nhwc" else dims[2:4]  # 0 if it is open
    height, width = height or adoption.size or 0, width or adoption.size or 0
    if not height or not width:
        raise ModelError(f"{source} leaves the size of its input open ({dims}): give --size.")
    if not (min(height, width) >= 8 and max(height, width) <= 1024):
        raise ModelError(f"{source} takes pictures of {width} x {height} pixels: sides of 8 to 1024 pixels are supported.")
    return _Original(model, inputs[0].name, model.graph.output[0].name, kind, layout, height, width)


def _with_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert the operators to a version that every supported onnxruntime has."""
    own = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), OPSET)
    if not _OLDEST <= own <= OPSET:
        model = onnx.version_converter.convert_version(model, OPSET)
    model.ir_version = min(model.ir_version, IR_VERSION)
    return model


def _wrap(original: _Original, adoption: Adoption, size: int) -> onnx.ModelProto:
    """Prepend the pixel path to the graph and append the probability output."""
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
    # Shapes recorded for one batch size would contradict other batch sizes.
    del graph.value_info[:]
    return model


def _pixel_path(original: _Original, adoption: Adoption, size: int) -> tuple[list[onnx.NodeProto], dict[str, npt.NDArray[Any]]]:
    """Return nodes and constants from uint8 `[N, S, S, 3]`, BGR, to the original's input."""
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
    """Return factor and summand per channel, float32 `[3]`, in the order of `colour`."""
    mean, std = (np.broadcast_to(np.array(values, np.float64), 3) for values in (adoption.mean, adoption.std))
    scale = (adoption.high - adoption.low) / 255
    return (scale / std).astype(np.float32), ((adoption.low - mean) / std).astype(np.float32)


def _probabilities(original: _Original, adoption: Adoption) -> tuple[list[onnx.NodeProto], dict[str, npt.NDArray[Any]]]:
    """Return nodes and constants from the original's output to float32 `[N, C]` probabilities."""
    single = len(adoption.labels) == 2 and _columns(original) == 1
    columns = 1 if single else len(adoption.labels)
    constants = {"answer/shape": np.array([-1, columns], np.int64)}
    nodes = [
        helper.make_node("Cast", [original.output], ["answer/float"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["answer/float", "answer/shape"], ["answer/rows"]),
    ]
    if single:
        constants["answer/one"] = np.array(1, np.float32)
        activation = "Sigmoid" if adoption.output == "logits" else "Identity"
        nodes += [
            helper.make_node(activation, ["answer/rows"], ["answer/second"]),
            helper.make_node("Sub", ["answer/one", "answer/second"], ["answer/first"]),
            helper.make_node("Concat", ["answer/first", "answer/second"], ["probabilities"], axis=1),
        ]
    elif adoption.output == "logits":
        nodes.append(helper.make_node("Softmax", ["answer/rows"], ["probabilities"], axis=1))
    else:
        nodes.append(helper.make_node("Identity", ["answer/rows"], ["probabilities"]))
    return nodes, constants


def _columns(original: _Original) -> int | None:
    """Return the number of outputs per picture, or None if the file leaves it open."""
    dims = [dim.dim_value for dim in original.model.graph.output[0].type.tensor_type.shape.dim]
    return int(np.prod(dims[1:])) if len(dims) > 1 and all(dims[1:]) else None


def _compare(source: Path, content: bytes, original: _Original, model: onnx.ModelProto, adoption: Adoption, crops: Image) -> float:
    """Return the largest difference of a probability between adopted and original graph.

    The original gets its pictures one by one, prepared by numpy and OpenCV.

    Raises:
        ModelError: The probabilities differ, the original returns other values than probabilities,
            or its batch size is fixed.
    """
    plain = open_cpu_session(content)
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
        session = open_cpu_session(model.SerializeToString())
        batches = [
            (batch, np.concatenate([session.run(None, {"faces": crops[at : at + batch]})[0] for at in range(0, len(crops), batch)]))
            for batch in _BATCHES
        ]
    except Exception as error:
        raise ModelError(
            f"{source} takes one picture at a time ({' '.join(str(error).split())[:150]}): export it again with a free batch size."
        ) from error
    worst = 0.0
    for batch, own in batches:
        if own.shape != expected.shape:
            raise ModelError(
                f"{source} returns {list(own.shape)} for {len(crops)} pictures in batches of {batch}: "
                "export it again with a free batch size."
            )
        difference = np.abs(own - expected).max()
        worst = max(worst, float(difference) if np.isfinite(difference) else np.inf)
    if worst > _TOLERANCE[original.kind]:
        raise ModelError(
            f"{source} returns other probabilities once adopted (by up to {worst:.1e}), so nothing was written: "
            "check --layout, --colour, --range, --mean and --std."
        )
    return worst


def _prepare(crop: Image, original: _Original, adoption: Adoption, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Prepare a crop as the original's input, `[1, ...]`, with numpy and OpenCV."""
    picture: npt.NDArray[Any] = np.ascontiguousarray(crop[:, :, ::-1] if adoption.colour == "rgb" else crop, np.float32)
    if picture.shape[:2] != (original.height, original.width):
        picture = cv2.resize(picture, (original.width, original.height), interpolation=cv2.INTER_LINEAR)
    pixels = picture.astype(np.float64) / 255 * (adoption.high - adoption.low) + adoption.low
    pixels = (pixels - np.array(adoption.mean)) / np.array(adoption.std)
    if kind == np.uint8:
        pixels = np.clip(np.round(pixels), 0, 255)
    return np.asarray((pixels if original.layout == "nhwc" else pixels.transpose(2, 0, 1))[None], kind)


def _expected(source: Path, rows: npt.NDArray[np.float64], adoption: Adoption) -> npt.NDArray[np.float64]:
    """Convert the original's outputs to probabilities, float64 `[N, C]`."""
    labels = adoption.labels
    if rows.shape[1] not in {len(labels), 1 if len(labels) == 2 else len(labels)}:
        raise ModelError(
            f"{source} returns {rows.shape[1]} numbers per picture, and --labels has {len(labels)} names: give one name per number."
        )
    if rows.shape[1] == 1:
        second = 1 / (1 + np.exp(-rows)) if adoption.output == "logits" else rows
        rows = np.concatenate([1 - second, second], axis=1)
    elif adoption.output == "logits":
        powers = np.exp(rows - rows.max(axis=1, keepdims=True))
        rows = powers / powers.sum(axis=1, keepdims=True)
    wrong = not np.isfinite(rows).all() or rows.min() < -SUM_TOLERANCE or np.abs(rows.sum(axis=1) - 1).max() > SUM_TOLERANCE
    if wrong:
        raise ModelError(
            f"{source} does not return probabilities that add up to 1: if its output has no softmax, give --output-type logits."
        )
    return rows
