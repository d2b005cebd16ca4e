"""Reads an ONNX file without executing it and refuses graphs of unbounded memory or time.

This module reads protobuf's wire format (protobuf.dev, "Encoding") for the relevant fields of
onnx.proto. The device has no `onnx` package, and that package does not check hostile files either.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

MOST_FIELDS = 500_000
"""Maximum number of fields of a file. It limits the time of the reader."""
MOST_NODES = 10_000
MOST_DEPTH = 4
"""Maximum depth of nested graphs (the branches of `If`)."""
MOST_ELEMENTS = 1 << 24
"""Maximum number of elements of a tensor whose size is a constant of the file: 64 MB of float32."""
MOST_FACTOR = 1 << 12
"""Maximum factor from the size of a node's input to the size of its output."""
MOST_STEP = 1 << 12
"""Maximum size of a kernel, a stride, a dilation or a border."""
MOST_TEXT = 1000
MOST_ENTRIES = 1000
"""Maximum number of entries of the metadata."""

_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
_REFUSED = {
    **dict.fromkeys(("Loop", "Scan", "SequenceMap"), "loops have no bound"),
    **dict.fromkeys(
        ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"),
        "its outputs would be random",
    ),
}
"""Operators that no model may use, with the reason."""
_MICROSOFT = frozenset(
    (
        "BiasGelu",
        "DequantizeLinear",
        "DynamicQuantizeMatMul",
        "FastGelu",
        "FusedConv",
        "FusedGemm",
        "FusedMatMul",
        "Gelu",
        "MatMulInteger16",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "NhwcMaxPool",
        "QGemm",
        "QLinearAdd",
        "QLinearAveragePool",
        "QLinearConcat",
        "QLinearConv",
        "QLinearGlobalAveragePool",
        "QLinearLeakyRelu",
        "QLinearMul",
        "QLinearReduceMean",
        "QLinearSigmoid",
        "QLinearSoftmax",
        "QLinearWhere",
        "QuantizeLinear",
        "QuickGelu",
        "SkipLayerNormalization",
    )
)
"""Operators that quantisation and fusion tools write. Other operators of this domain generate text
or call programs."""
_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16, 17: 8, 18: 8,
    19: 8, 20: 8, 21: 4, 22: 4, 23: 4,
}  # fmt: skip
"""Bits of an element by TensorProto.DataType; strings (8) are counted separately."""
_INTEGERS = {6: "<i", 7: "<q"}


class GraphError(ValueError):
    """A file is refused. The text is a clause with the reason: `it holds ...`."""


@dataclass
class GraphFacts:
    """The metadata and size of a model.

    Attributes:
        metadata: Its `metadata_props`.
        nodes: Number of operators, including the operators of inner graphs.
    """

    metadata: dict[str, str] = field(default_factory=dict)
    nodes: int = 0


Field = tuple[int, int, "int | memoryview"]
"""Number of a field, its wire type, its value: an integer (types 0, 1, 5) or bytes (type 2)."""


def read_graph(content: bytes) -> GraphFacts:
    """Read the metadata of a model and check the bounds of its graph.

    Args:
        content: Bytes of the .onnx file.

    Raises:
        GraphError: The file is not an ONNX model, or its graph is refused.
    """
    return _Reader(content).read()


@dataclass
class _Tensor:
    """A TensorProto.

    Attributes:
        name: Its name.
        dims: Its shape.
        numbers: Its elements if they are few integers, otherwise None.
    """

    name: bytes = b""
    dims: list[int] = field(default_factory=list)
    numbers: list[int] | None = None


@dataclass
class _Attribute:
    name: str = ""
    number: int | None = None
    numbers: list[int] = field(default_factory=list)
    tensor: _Tensor | None = None


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)
        self._left = MOST_FIELDS
        self._facts = GraphFacts()

    def read(self) -> GraphFacts:
        if not self._content:
            raise GraphError("it is empty (0 bytes)")
        graph: memoryview | None = None
        for number, _, value in self._fields(self._content):
            if number == 7:
                if graph is not None:
                    raise GraphError("it holds two graphs")
                graph = _bytes(value)
            elif number == 14:
                self._metadata(_bytes(value))
            elif number == 25:
                raise GraphError("it holds functions of its own, which have no bound: export it with its functions inlined")
        if graph is None:
            raise GraphError("it is not an ONNX model: it holds no graph")
        self._graph(graph, {}, 1)
        return self._facts

    def _fields(self, data: memoryview) -> Iterator[Field]:
        """Yield the fields of a message."""
        at, end = 0, len(data)
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise GraphError(f"it holds more than {MOST_FIELDS:,} fields")
            key, at = _varint(data, at)
            number, wire = key >> 3, key & 7
            if number == 0:
                raise GraphError("it is not an ONNX model: a field has the number 0")
            if wire == 0:
                value, at = _varint(data, at)
                yield number, wire, value
                continue
            if wire in (1, 5):
                size = 8 if wire == 1 else 4
            elif wire == 2:
                size, at = _varint(data, at)
            else:
                raise GraphError(f"it is not an ONNX model: a field has the unknown wire type {wire}")
            if size > end - at:
                raise GraphError("it is not an ONNX model, or its end is missing: a field is longer than the rest")
            part = data[at : at + size]
            at += size
            yield number, wire, part if wire == 2 else int.from_bytes(part, "little")

    def _metadata(self, data: memoryview) -> None:
        key = text = ""
        for number, _, value in self._fields(data):
            if number == 1:
                key = _text(_bytes(value), "the name of an entry of its metadata", MOST_TEXT)
            elif number == 2:
                text = _text(_bytes(value), f"its metadata entry {key or '(first)'}", None)
        if len(self._facts.metadata) >= MOST_ENTRIES:
            raise GraphError(f"its metadata has more than {MOST_ENTRIES:,} entries")
        self._facts.metadata[key] = text

    def _graph(self, data: memoryview, outer: dict[bytes, list[int]], depth: int) -> None:
        """Check a graph. `outer` has the small constants of the enclosing graphs."""
        if depth > MOST_DEPTH:
            raise GraphError(f"it holds graphs more than {MOST_DEPTH} deep inside one another")
        constants, nodes = dict(outer), []
        for number, _, value in self._fields(data):
            if number == 1:
                nodes.append(_bytes(value))
            elif number == 5:
                tensor = self._tensor(_bytes(value))
                if tensor.numbers is not None:
                    constants[tensor.name] = tensor.numbers
            elif number == 15:
                self._sparse(_bytes(value))
            elif number in (11, 12):
                self._value(_bytes(value))
        self._facts.nodes += len(nodes)
        if self._facts.nodes > MOST_NODES:
            raise GraphError(f"it has more than {MOST_NODES:,} operators")
        for node in nodes:
            self._node(node, constants, depth)

    def _value(self, data: memoryview) -> None:
        for number, _, value in self._fields(data):
            if number == 1:
                _text(_bytes(value), "the name of an input or output", MOST_TEXT)

    def _node(self, data: memoryview, constants: dict[bytes, list[int]], depth: int) -> None:
        inputs: list[bytes] = []
        outputs: list[bytes] = []
        operator = domain = ""
        attributes: list[memoryview] = []
        for number, _, value in self._fields(data):
            if number == 1:
                inputs.append(_bytes(value).tobytes())
            elif number == 2:
                outputs.append(_bytes(value).tobytes())
            elif number == 4:
                operator = _text(_bytes(value), "the name of an operator", MOST_TEXT)
            elif number == 7:
                domain = _text(_bytes(value), "the domain of an operator", MOST_TEXT)
            elif number == 5:
                attributes.append(_bytes(value))
        if domain not in _DOMAINS:
            raise GraphError(f"it uses the operator {operator!r} of {domain!r}, which is not part of ONNX")
        if operator in _REFUSED:
            raise GraphError(f"it uses the operator {operator}, which is not accepted: {_REFUSED[operator]}")
        if domain == "com.microsoft" and operator not in _MICROSOFT:
            raise GraphError(f"it uses the operator {operator!r} of {domain}, which is not accepted")
        read = {attribute.name: attribute for attribute in (self._attribute(item, constants, depth) for item in attributes)}
        if operator == "Constant" and outputs:
            numbers = _constant(read)
            if numbers is not None:
                constants[outputs[0]] = numbers
        known = [constants.get(name) for name in inputs]
        _check_size(operator, known, read)

    def _attribute(self, data: memoryview, constants: dict[bytes, list[int]], depth: int) -> _Attribute:
        attribute, inner = _Attribute(), 0
        for number, wire, value in self._fields(data):
            if number == 1:
                attribute.name = _text(_bytes(value), "the name of an attribute", MOST_TEXT)
            elif number == 3:
                attribute.number = _signed(value)
            elif number == 8:
                attribute.numbers += self._integers(value, wire)
            elif number in (5, 10):
                inner += number == 5
                attribute.tensor = self._tensor(_bytes(value))
            elif number in (6, 11):
                inner += number == 6
                self._graph(_bytes(value), constants, depth + 1)
            elif number in (22, 23):
                self._sparse(_bytes(value))
        if inner > 1:
            # Protobuf readers merge the parts. The result would differ from the checked tensor.
            raise GraphError("an attribute holds two tensors or graphs, expected one")
        return attribute

    def _integers(self, value: int | memoryview, wire: int) -> list[int]:
        """Return the numbers of a repeated field of varints, packed or not."""
        if wire != 2:
            return [_signed(value)]
        data, at, numbers = _bytes(value), 0, []
        self._left -= len(data) // 4
        while at < len(data):
            number, at = _varint(data, at)
            numbers.append(_signed(number))
        return numbers

    def _sparse(self, data: memoryview) -> None:
        dims: list[int] = []
        for number, wire, value in self._fields(data):
            if number in (1, 2):
                self._tensor(_bytes(value))
            elif number == 3:
                dims += self._integers(value, wire)
        if _product(dims) > MOST_ELEMENTS:
            raise GraphError(f"it holds a sparse tensor of {_size(_product(dims))} numbers")

    def _tensor(self, data: memoryview) -> _Tensor:
        """Check that a tensor holds as many elements as its shape claims."""
        tensor, kind, raw = _Tensor(), 0, memoryview(b"")
        typed = texts = 0
        packed: list[tuple[memoryview, int]] = []
        for number, wire, value in self._fields(data):
            if number == 1:
                tensor.dims += self._integers(value, wire)
            elif number == 2:
                kind = _signed(value)
            elif number in (4, 5, 7, 10, 11):
                # An element of any type takes at least one byte.
                typed += len(value) if isinstance(value, memoryview) else 1
                if number in (5, 7):
                    packed.append((value, wire) if isinstance(value, memoryview) else (memoryview(_as_varint(value)), 2))
            elif number == 6:
                texts += 1
            elif number == 8:
                tensor.name = _bytes(value).tobytes()
            elif number == 9:
                raw = _bytes(value)
            elif number == 13 or (number == 14 and value != 0):
                raise GraphError("it keeps weights in another file, but a model must be one file")
        count = _product(tensor.dims)
        if min(tensor.dims, default=0) < 0:
            raise GraphError("it holds a tensor of a negative size")
        held = texts if kind == 8 else typed
        if len(raw):
            held = len(raw) * 8 // _BITS.get(kind, 8)
        if count > held:
            raise GraphError(f"it holds a tensor whose shape has {_size(count)} numbers and whose data has {held:,}")
        if kind in _INTEGERS and count <= 64:
            if len(raw):
                form = _INTEGERS[kind]
                tensor.numbers = [number for (number,) in struct.iter_unpack(form, raw[: count * struct.calcsize(form)])]
            else:
                tensor.numbers = [number for value, wire in packed for number in self._integers(value, wire)][:count]
        return tensor


def _check_size(operator: str, known: list[list[int] | None], attributes: dict[str, _Attribute]) -> None:
    """Refuse a node if a constant of the file makes its output huge.

    The sandbox limits sizes that are computed.
    """

    def given(index: int) -> list[int]:
        return (known[index] if index < len(known) else None) or []

    size = 0
    if operator in ("ConstantOfShape", "Expand"):
        size = _product([abs(dim) for dim in given(0 if operator == "ConstantOfShape" else 1)] or [0])
    elif operator == "Range" and all(len(given(index)) == 1 for index in range(3)):
        start, limit, step = (given(index)[0] for index in range(3))
        size = abs(limit - start) // max(abs(step), 1)
    elif operator == "OneHot" and given(1):
        size = abs(given(1)[0])
    elif operator == "Resize":
        size = _product([abs(dim) for dim in given(3)] or [0])
    elif operator == "Tile" and _product([abs(dim) for dim in given(1)] or [0]) > MOST_FACTOR:
        raise GraphError(f"it repeats a tensor {_size(_product(given(1)))} times ({operator})")
    elif operator == "Pad":
        pads = given(1) or (attributes["pads"].numbers if "pads" in attributes else [])
        if max(map(abs, pads), default=0) > MOST_STEP:
            raise GraphError(f"it adds a border of {_size(max(map(abs, pads)))} to a tensor ({operator})")
    if size > MOST_ELEMENTS:
        raise GraphError(f"it makes a tensor of {_size(size)} numbers ({operator})")
    for name in ("pads", "kernel_shape", "strides", "dilations", "output_shape", "output_padding"):
        numbers = attributes[name].numbers if name in attributes else []
        if max(map(abs, numbers), default=0) > MOST_STEP:
            raise GraphError(f"{name} of an operator {operator} is {_size(max(map(abs, numbers)))}")


def _constant(attributes: dict[str, _Attribute]) -> list[int] | None:
    if "value" in attributes and attributes["value"].tensor is not None:
        return attributes["value"].tensor.numbers
    if "value_ints" in attributes:
        return attributes["value_ints"].numbers
    number = attributes["value_int"].number if "value_int" in attributes else None
    return None if number is None else [number]


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise GraphError("it is not an ONNX model: it has a number in place of a text or a part")
    return value


def _text(data: memoryview, what: str, most: int | None) -> str:
    if most is not None and len(data) > most:
        raise GraphError(f"{what} has {len(data):,} bytes, the limit is {most:,}")
    try:
        return data.tobytes().decode("utf-8")
    except UnicodeDecodeError:
        raise GraphError(f"{what} is not text in UTF-8") from None


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Read an unsigned number. Return the number and the position after it."""
    value = shift = 0
    try:
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
            if shift > 63:
                raise GraphError("it is not an ONNX model: a number in it has no end")
    except IndexError:
        raise GraphError("it is not an ONNX model, or its end is missing: it ends within a number") from None


def _as_varint(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _signed(value: int | memoryview) -> int:
    """Convert an unsigned varint to int64."""
    if not isinstance(value, int):
        raise GraphError("it is not an ONNX model: it has a text in place of a number")
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value


def _product(dims: list[int]) -> int:
    # The product of many large sizes would itself take megabytes.
    if len(dims) > 64:
        raise GraphError(f"it holds a tensor of {len(dims):,} dimensions")
    return math.prod(dims)


def _size(count: int) -> str:
    return f"{count:,}" if abs(count) < 10**15 else f"about 1e{len(str(abs(count))) - 1}"
