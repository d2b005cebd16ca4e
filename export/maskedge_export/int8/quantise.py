"""Static quantisation of classifiers and detectors to int8."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
import onnx_ir
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from ..onnx_file import tidy
from .packed_columns import pack_columns, use_bytes

_OPERATORS = ("Conv", "Gemm", "MatMul", "Add", "Relu", "MaxPool", "GlobalAveragePool", "Transpose", "Reshape")


class _Inputs(CalibrationDataReader):  # type: ignore[misc]
    """Inputs for the calibration."""

    def __init__(self, name: str, inputs: Iterable[npt.NDArray[Any]]) -> None:
        self._name, self._inputs = name, iter(inputs)

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        following = next(self._inputs, None)
        return None if following is None else {self._name: following}


def quantise(
    model: onnx.ModelProto,
    inputs: Iterable[npt.NDArray[Any]],
    operators: Collection[str] = _OPERATORS,
    floats: Collection[str] = (),
) -> onnx.ModelProto:
    """Quantise a model statically: QDQ format, weights per channel.

    Args:
        model: A float32 model of this project's contract.
        inputs: Inputs of the model, uint8. Their activations set the ranges.
        operators: Operators to quantise.
        floats: Beginnings of the names of weights whose operators stay in float32.
    """
    packed = onnx.ModelProto()
    packed.CopyFrom(model)
    pack_columns(packed)
    excluded = [
        node.name for node in packed.graph.node if len(node.input) > 1 and node.input[1].startswith(tuple(floats)) and floats
    ]
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, result = (Path(folder) / name for name in ("source.onnx", "prepared.onnx", "result.onnx"))
        onnx.save(packed, source)
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)  # silences advice that this code already follows
        try:
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                result,
                _Inputs(model.graph.input[0].name, inputs),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                # 7-bit weights: x86 processors without VNNI sum 8-bit products in 16 bits, which
                # saturate (ONNX Runtime, "Quantize ONNX models"), so results would differ.
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=list(operators),
                nodes_to_exclude=excluded,
            )
        finally:
            logging.root.setLevel(level)
        quantised = onnx.load(result)
    use_bytes(quantised)
    return tidied(quantised)


def tidied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Sort the nodes, drop unused operator sets, and check the model.

    The quantisation tools leave nodes out of order and import operator sets that no node uses.
    """
    graph = onnx_ir.serde.deserialize_model(model)
    graph.graph.sort()
    ordered = onnx_ir.serde.serialize_model(graph)
    used = {node.domain for node in ordered.graph.node}
    kept = [opset for opset in ordered.opset_import if opset.domain in used]
    ordered.ClearField("opset_import")
    ordered.opset_import.extend(kept)
    ordered.graph.ClearField("value_info")  # some entries still have the old types
    tidy(ordered)
    onnx.checker.check_model(ordered, full_check=True)
    return ordered
