"""Rewrites the first convolution of a network so that int8 kernels run it fast.

A convolution of three channels is slow in int8: the kernel copies three bytes at a time. Here four
neighbouring pixels are one position of twelve channels, which needs no copy of the picture, and the
convolution computes two columns of its output at once. The bytes of the picture are also its int8
values, so nothing is converted. The outputs are those of the original, but for rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

PIXELS = "pixel_values"
"""Name of the dequantised pixels, the input of the packed convolution."""
_PACKED = 4
"""Pixels of a position."""
_ZERO = 128
"""Byte that stands for 0. A pixel of 127.5 is 0, so the bias takes up half a byte."""
_SCALE = 2 / 255
"""Value of a step of a byte: pixels are -1 to 1."""


def pack_columns(model: onnx.ModelProto) -> bool:
    """Rewrite the pixel path and the first convolution of a model in place.

    Returns:
        False if the model does not begin as a network of this project does, or its input's width
        is not a multiple of four; it is unchanged then.
    """
    graph = model.graph
    path = _pixel_path(graph)
    width = graph.input[0].type.tensor_type.shape.dim[2].dim_value
    if path is None or width % _PACKED:
        return False
    *pixels, convolution, activation = path
    weights = {item.name: item for item in graph.initializer}
    kernel, bias = (weights[name] for name in convolution.input[1:3])
    wide, shifted = _packed_weights(numpy_helper.to_array(kernel), numpy_helper.to_array(bias))
    kernel.CopyFrom(numpy_helper.from_array(wide, kernel.name))
    bias.CopyFrom(numpy_helper.from_array(shifted, bias.name))
    outputs = len(shifted) // 2
    constants: dict[str, npt.NDArray[Any]] = {
        # A 0 keeps the size of the input, which may be open.
        "pixel_positions": np.array([0, 0, -1, 3 * _PACKED], np.int64),
        "pixel_columns": np.array([0, 0, -1, outputs], np.int64),
        "pixel_scale": np.array(_SCALE, np.float32),
        "pixel_zero": np.array(_ZERO, np.uint8),
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    del convolution.attribute[:]
    # The first position left of the picture is border, as the first row above it and the last below.
    shape: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 1, 1, 0]}
    convolution.attribute.extend(helper.make_attribute(name, value) for name, value in shape.items())
    convolution.input[0], result, activation.output[0] = PIXELS, activation.output[0], "pixel_pairs"
    before = [
        helper.make_node("Reshape", [graph.input[0].name, "pixel_positions"], ["pixel_packed"], "pixel_packed"),
        helper.make_node("Transpose", ["pixel_packed"], ["pixel_channels"], "pixel_channels", perm=[0, 3, 1, 2]),
        helper.make_node("DequantizeLinear", ["pixel_channels", "pixel_scale", "pixel_zero"], [PIXELS], PIXELS),
    ]
    behind = [
        helper.make_node("Transpose", ["pixel_pairs"], ["pixel_last"], "pixel_last", perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["pixel_last", "pixel_columns"], ["pixel_unpacked"], "pixel_unpacked"),
        helper.make_node("Transpose", ["pixel_unpacked"], [result], "pixel_result", perm=[0, 3, 1, 2]),
    ]
    inner = [node for node in graph.node if not any(node is old for old in (*pixels, convolution, activation))]
    ordered = [*before, convolution, activation, *behind, *inner]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)
    # Recorded shapes are those of the original.
    del graph.value_info[:]
    return True


def use_bytes(model: onnx.ModelProto) -> None:
    """Remove the quantisation of the packed pixels that a quantisation tool added: they are bytes."""
    graph = model.graph
    added = [node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == PIXELS]
    for quantise in added:
        (restore,) = (node for node in graph.node if quantise.output[0] in node.input)
        for node in graph.node:
            for place, name in enumerate(node.input):
                if name == restore.output[0]:
                    node.input[place] = PIXELS
        graph.node.remove(quantise)
        graph.node.remove(restore)


def _pixel_path(graph: onnx.GraphProto) -> list[onnx.NodeProto] | None:
    """Return the nodes from the input to the first activation, if they are those of `edge-export`."""
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    name, path = graph.input[0].name, []
    operands = {"Transpose": None, "Cast": None, "Div": 255, "Mul": 2, "Sub": 1, "Conv": None, "Relu": None}
    for operator, second in operands.items():
        followers = [node for node in graph.node if name in node.input and node.op_type != "Shape"]
        if len(followers) != 1 and operator != "Relu":
            return None
        node = next((own for own in followers if own.op_type == operator), None)
        if node is None or (second is not None and constants.get(node.input[1], np.zeros(0)).tolist() != second):
            return None
        path.append(node)
        name = node.output[0]
    convolution = path[-2]
    wanted: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "group": 1}
    found = {attribute.name: helper.get_attribute_value(attribute) for attribute in convolution.attribute}
    kernel = constants.get(convolution.input[1], np.zeros(0)).shape
    fits = kernel[1:] == (3, 3, 3) and all(found.get(name) == value for name, value in wanted.items())
    return path if fits and len(convolution.input) == 3 else None


def _packed_weights(
    kernel: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the weights of the packed convolution.

    Args:
        kernel: float32 `[O, 3, 3, 3]`, stride 2, border 1.
        bias: float32 `[O]`.

    Returns:
        The kernel, float32 `[2 O, 12, 3, 2]`, and the bias, float32 `[2 O]`.
    """
    outputs = len(kernel)
    wide = np.zeros((2 * outputs, 3 * _PACKED, 3, 2), np.float32)
    for column in (0, 1):
        for offset in range(3):
            # Pixel of the two positions that this column of the kernel sees.
            position, pixel = divmod(_PACKED + 2 * column - 1 + offset, _PACKED)
            wide[column * outputs : (column + 1) * outputs, 3 * pixel : 3 * pixel + 3, :, position] = kernel[:, :, :, offset]
    shifted = bias + np.float32(_SCALE / 2) * kernel.sum(axis=(1, 2, 3))
    return wide, np.asarray(np.tile(shifted, 2), np.float32)
