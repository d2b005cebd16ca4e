"""Damaged, odd and hostile model files; the same seed yields the same files.

A name begins with the kind of model that the file was made from.
"""

from __future__ import annotations

import contextlib
import random
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper, numpy_helper

from helpers.support import METADATA, write_detector, write_model
from maskedge.modelfile.contract import default_detector, default_model

_SIZES = (0, -1, 1, 2, 3, 63, 64, 1000, 65536, 10**6, 2**31 - 1, 2**31, 10**9, 2**62, -(2**63))
_FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e30, 3.4e38, float("inf"), float("-inf"), float("nan"))
_TEXTS = (
    "", "[", "[" * 100_000, '{"a":' * 100_000, "{}", "[]", "null", "1", "1" * 5000, "NaN", '["with_mask"]', '["a", "a"]',
    '["", "b"]', '["\\ud800", "b"]',
    '["a\\nb", "\\u0000"]', '["with_mask", "without_mask", "not_a_face"]', '{"margin": 1e999, "square": true}',
    '{"margin": NaN, "square": true}',
    '{"margin": 2, "square": false}', '{"margin": 1' + "0" * 400 + ', "square": true}', '{"unsure_below": 1e400}',
    '{"unsure_below": "x"}', '{"operating_points": {"haar": {"webcam": {"points": {"high": "x"}}}}}', '{"operating_points": 1e400}',
    "9", "detector", "classifier", "\x00", "é", "x" * 1_000_000,
)  # fmt: skip
_OPERATORS = (
    "Add", "Sub", "Mul", "Div", "MatMul", "Relu", "Softmax", "Exp", "Log", "Sqrt", "Identity", "Reshape", "Transpose", "Cast",
    "Concat", "Loop", "If", "Scan",
    "ConstantOfShape", "Expand", "Tile", "Range", "Pad", "Resize", "NonZero", "TopK", "Gather", "Einsum", "Conv", "ConvTranspose",
    "MaxPool", "RandomNormal",
    "Nothing", "", "Where", "CumSum", "Unique", "NonMaxSuppression", "GridSample", "LSTM", "StringNormalizer", "OneHot", "EyeLike",
    "DFT",
)  # fmt: skip


def cases(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of `count` model files."""
    source = random.Random(seed)  # noqa: S311  (no secret)
    bases = _bases()
    for number in range(count):
        name, content = bases[source.choice(("classifier", "classifier", "detector", "classifier-bundled", "detector-bundled"))]
        if source.random() < 0.25:
            made = _damage(source, content)
        else:
            model = ModelProto.FromString(content)
            for _ in range(source.choice((1, 1, 2, 4))):
                # A change may contradict an earlier one.
                with contextlib.suppress(ValueError, IndexError, TypeError, OverflowError, onnx.checker.ValidationError):
                    _CHANGES[source.randrange(len(_CHANGES))](source, model)
            made = model.SerializeToString()
            if source.random() < 0.1:
                made = _damage(source, made)
        yield f"{name}-{number:05}.onnx", made


def _bases() -> dict[str, tuple[str, bytes]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.onnx"
        made = {
            "classifier": ("classifier", write_model(path, place=(0.1, 0.1, 0.9, 0.9)).read_bytes()),
            "detector": ("detector", write_detector(path, size=(64, 48)).read_bytes()),
        }
    for name, bundled in (("classifier", default_model()), ("detector", default_detector())):
        model = onnx.load(bundled)
        # Leave out the checksum, because every change would be refused, and the long self-test.
        kept = [entry for entry in model.metadata_props if entry.key not in ("maskedge.sha256", "maskedge.selftest")]
        del model.metadata_props[:]
        model.metadata_props.extend(kept)
        made[f"{name}-bundled"] = (name, model.SerializeToString())
    return made


def _damage(source: random.Random, content: bytes) -> bytes:
    """Return the content with some bytes changed."""
    damaged = bytearray(content)
    for _ in range(source.choice((1, 1, 3, 20))):
        # The structure is near the ends of a file and between the weights. A small file is mostly
        # structure.
        at = source.choice(
            (
                source.randrange(len(damaged)),
                source.randrange(min(len(damaged), 400)),
                max(0, len(damaged) - source.randrange(1, 3000)),
            )
        )
        at = min(at, len(damaged) - 1)
        match source.randrange(6):
            case 0:
                damaged[at] ^= 1 << source.randrange(8)
            case 1:
                damaged[at] = source.choice((0, 0x7F, 0x80, 0xFF))
            case 2:
                del damaged[at : at + source.choice((1, 7, 200))]
            case 3:
                damaged[at:at] = source.choice(
                    (b"\xff" * 9 + b"\x01", b"\x80" * 11, b"\x0b", b"\x3a\xff\xff\xff\xff\x0f", source.randbytes(8))
                )
            case 4:
                del damaged[at:]
            case _:
                damaged[at:at] = damaged[at : at + source.choice((10, 300))]
        damaged = damaged or bytearray(b"\x08")
    return bytes(damaged)


def _metadata(source: random.Random, model: ModelProto) -> None:
    key = source.choice(sorted({*METADATA, "maskedge.selftest", "maskedge.sha256", "other"}))
    entry = next((entry for entry in model.metadata_props if entry.key == key), None) or model.metadata_props.add(key=key)
    entry.value = source.choice(_TEXTS)
    if source.random() < 0.1:
        model.metadata_props.remove(entry)


def _weights(source: random.Random, model: ModelProto) -> None:
    """Change one number of a tensor, or all."""
    tensor = _tensor(source, model)
    if tensor is None:
        return
    values = numpy_helper.to_array(tensor).copy()
    kinds = source.choice((_FLOATS, _SIZES))
    with np.errstate(all="ignore"):
        value = np.array(source.choice(kinds)).astype(values.dtype)
        if values.size and source.random() < 0.5:
            values.reshape(-1)[source.randrange(values.size)] = value
        else:
            values[...] = value
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(values, name))


def _dims(source: random.Random, model: ModelProto) -> None:
    tensor = _tensor(source, model)
    if tensor is None:
        return
    match source.randrange(4):
        case 0 if tensor.dims:
            tensor.dims[source.randrange(len(tensor.dims))] = source.choice(_SIZES)
        case 1:
            tensor.dims.extend([source.choice(_SIZES)] * source.choice((1, 3, 200)))
        case 2:
            tensor.data_type = source.randrange(-1, 26)
        case _:
            tensor.raw_data = tensor.raw_data[: source.choice((0, 1, 3, len(tensor.raw_data) // 2))]


def _tensor(source: random.Random, model: ModelProto) -> TensorProto | None:
    return source.choice(model.graph.initializer) if model.graph.initializer else None


def _attributes(source: random.Random, model: ModelProto) -> None:
    attributes = [attribute for node in model.graph.node for attribute in node.attribute]
    if not attributes:
        return
    attribute = source.choice(attributes)
    match source.randrange(4):
        case 0:
            attribute.i = source.choice(_SIZES)
        case 1 if attribute.ints:
            attribute.ints[source.randrange(len(attribute.ints))] = source.choice(_SIZES)
        case 2:
            attribute.type = source.choice(list(AttributeProto.AttributeType.values()))
        case _:
            attribute.ints.extend([source.choice(_SIZES)] * source.choice((1, 8, 1000)))


def _operators(source: random.Random, model: ModelProto) -> None:
    """Change operators, domains, inputs and outputs."""
    if not model.graph.node:
        return
    node = source.choice(model.graph.node)
    match source.randrange(6):
        case 0:
            node.op_type = source.choice(_OPERATORS)
        case 1:
            node.domain = source.choice(("ai.onnx.ml", "com.microsoft", "evil", "ai.onnx.preview.training", "x" * 5000))
        case 2 if node.input:
            node.input[source.randrange(len(node.input))] = source.choice(_names(model))
        case 3 if node.output:
            node.output[source.randrange(len(node.output))] = source.choice(_names(model))
        case 4:
            model.graph.node.remove(node)
        case _:
            model.graph.node.extend([node] * source.choice((1, 1, 50, 20_000)))


def _names(model: ModelProto) -> list[str]:
    names = {name for node in model.graph.node for name in (*node.input, *node.output)} | {"", "nobody"}
    return sorted(names | {tensor.name for tensor in model.graph.initializer})


def _huge(source: random.Random, model: ModelProto) -> None:
    """Add a tensor of any size that the output depends on."""
    size = source.choice((10**4, 10**7, 10**8, 10**9, 10**12, 2**62))
    graph, unique = model.graph, f"huge{source.randrange(10**9)}"
    shape = [size] if source.random() < 0.5 else [int(size**0.5), int(size**0.5)]
    constant = {f"{unique}.{name}": value for name, value in {
        "shape": np.array(shape, np.int64), "one": np.array([1], np.float32), "n": np.array(size, np.int64),
        "zero": np.array(0, np.int64),
        "step": np.array(1, np.int64), "root": np.array([int(size**0.5)], np.int64), "ones": np.ones((1, 1, 8, 8), np.float32),
        "scales": np.array([1, 1, size**0.5, size**0.5], np.float32), "sizes": np.array([1, 1, *shape][:4], np.int64),
        "pads": np.array([0, 0, 0, 0, 0, 0, shape[0], shape[-1]], np.int64), "floats": np.array(size, np.float32),
    }.items()}  # fmt: skip
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constant.items())
    name = {
        key: f"{unique}.{key}" for key in ("shape", "one", "n", "zero", "step", "root", "ones", "scales", "sizes", "pads", "floats")
    }
    out = f"{unique}.out"
    ways = (
        [helper.make_node("ConstantOfShape", [name["shape"]], [out])],
        [helper.make_node("Expand", [name["one"], name["shape"]], [out])],
        [helper.make_node("Tile", [name["one"], name["root"]], [out])],
        [
            helper.make_node("Range", [name["zero"], name["n"], name["step"]], [f"{out}i"]),
            helper.make_node("Cast", [f"{out}i"], [out], to=TensorProto.FLOAT),
        ],
        [
            helper.make_node("Mul", [name["root"], name["root"]], [f"{out}s"]),
            helper.make_node("ConstantOfShape", [f"{out}s"], [out]),
        ],
        [helper.make_node("Resize", [name["ones"], "", name["scales"]], [out])],
        [helper.make_node("Resize", [name["ones"], "", "", name["sizes"]], [out])],
        [helper.make_node("Pad", [name["ones"], name["pads"]], [out])],
        [helper.make_node("RandomNormal", [], [out], shape=shape)],
        [
            helper.make_node("ConstantOfShape", [name["root"]], [f"{out}v"]),
            helper.make_node("Unsqueeze", [f"{out}v", name["step"] + "x"], [f"{out}c"]),
            helper.make_node("MatMul", [f"{out}c", f"{out}v"], [out]),
        ],
        [helper.make_node("Constant", [], [f"{out}s"], value_ints=shape), helper.make_node("ConstantOfShape", [f"{out}s"], [out])],
        _growing(out, name["root"], "Concat", source.choice((3, 12, 40))),
        _growing(out, name["root"], "MatMul", source.choice((3, 500))),
    )  # fmt: skip
    graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), name["step"] + "x"))
    nodes = source.choice(ways)
    output = source.choice(graph.output).name
    for node in graph.node:
        for place, made in enumerate(node.output):
            if made == output:
                node.output[place] = f"{unique}.before"
    mean = [
        helper.make_node("ReduceMean", [out], [f"{unique}.mean"], keepdims=0),
        helper.make_node("Mul", [f"{unique}.mean", f"{unique}.nothing"], [f"{unique}.none"]),
        helper.make_node("Add", [f"{unique}.before", f"{unique}.none"], [output]),
    ]
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), f"{unique}.nothing"))
    graph.node.extend([*nodes, *mean])


def _growing(out: str, size: str, operator: str, length: int) -> list[onnx.NodeProto]:
    """Return nodes that each double the size of the one before, or square its values."""
    nodes = [helper.make_node("Concat", [size, size], [f"{out}s"], axis=0)]
    nodes.append(helper.make_node("ConstantOfShape", [f"{out}s" if operator == "MatMul" else size], [f"{out}0"]))
    options = {"axis": 0} if operator == "Concat" else {}
    for step in range(length):
        name = out if step == length - 1 else f"{out}{step + 1}"
        nodes.append(helper.make_node(operator, [f"{out}{step}", f"{out}{step}"], [name], **options))
    return nodes


def _header(source: random.Random, model: ModelProto) -> None:
    match source.randrange(7):
        case 0:
            model.ir_version = source.choice((0, 1, 3, 11, 99, 2**40))
        case 1:
            model.opset_import.add(domain=source.choice(("", "ai.onnx.ml", "x")), version=source.choice((0, 1, 7, 30, 2**40)))
        case 2:
            del model.opset_import[:]
        case 3:
            model.functions.add(name="f", domain="local")
        case 4:
            model.ClearField("graph")
        case 5:
            del model.graph.output[-1:]
        case _:
            model.graph.input.extend(list(model.graph.input))


def _shapes(source: random.Random, model: ModelProto) -> None:
    """Change shapes, types and names of inputs and outputs."""
    entries = [*model.graph.input, *model.graph.output]
    if not entries:
        return
    entry = source.choice(entries)
    dims = entry.type.tensor_type.shape.dim
    match source.randrange(5):
        case 0 if dims:
            source.choice(dims).dim_value = source.choice(_SIZES)
        case 1 if dims:
            source.choice(dims).dim_param = source.choice(("N", "", "x" * 3000))
        case 2:
            entry.type.tensor_type.elem_type = source.randrange(25)
        case 3:
            entry.name = source.choice(("faces", "frame", "", "x" * 5000))
        case _:
            dims.add().dim_value = source.choice(_SIZES)


def _inner(source: random.Random, model: ModelProto) -> None:
    """Add nested graphs."""
    inner = GraphProto(name="leaf")
    inner.node.add(op_type="Constant", output=["x"]).attribute.append(helper.make_attribute("value_int", 1))
    inner.output.append(helper.make_tensor_value_info("x", TensorProto.INT64, []))
    for _ in range(source.choice((1, 3, 10, 20))):
        outer = GraphProto(name="branch")
        node = outer.node.add(op_type=source.choice(("If", "If", "Loop")), input=["condition"], output=["x"])
        for name in ("then_branch", "else_branch"):
            node.attribute.append(helper.make_attribute(name, inner if name == "then_branch" else GraphProto(name="e")))
        outer.output.append(helper.make_tensor_value_info("x", TensorProto.INT64, []))
        inner = outer
    model.graph.node.extend(inner.node)


def _outside(source: random.Random, model: ModelProto) -> None:
    tensor = _tensor(source, model)
    if tensor is None:
        return
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=source.choice(("weights.bin", "/etc/hostname", "../../x", "/dev/zero")))


def _raw(source: random.Random, model: ModelProto) -> None:
    """Append random bytes to metadata."""
    for entry in model.metadata_props:
        if source.random() < 0.2:
            entry.value += struct.pack("<d", source.random()).decode("latin-1")


_CHANGES: tuple[Callable[[random.Random, ModelProto], None], ...] = (
    _metadata, _metadata, _weights, _weights, _dims, _attributes, _operators, _operators, _huge, _huge, _header, _shapes, _inner,
    _outside, _raw,
)  # fmt: skip
