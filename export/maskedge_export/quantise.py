"""Smaller numbers: 8-bit integers, calibrated on training crops, and 16-bit floats. Input and output stay as they are."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import onnx
import onnx_ir
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from maskedge.types import Image

from .graph import tidy

_BATCH = 32


class _Crops(CalibrationDataReader):  # type: ignore[misc]
    """Hands crops out in batches."""

    def __init__(self, crops: Image) -> None:
        self._batches = iter([crops[start : start + _BATCH] for start in range(0, len(crops), _BATCH)])

    def get_next(self) -> dict[str, Image] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"faces": batch}


def to_int8(model: onnx.ModelProto, crops: Image) -> onnx.ModelProto:
    """Quantise a classifier: static, quantise-dequantise pairs, weights per channel.

    Args:
        model: A float32 classifier of the contract.
        crops: uint8 `[N, S, S, 3]`, BGR, what it was trained on: their activations set the ranges.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, result = (Path(folder) / name for name in ("source.onnx", "prepared.onnx", "result.onnx"))
        onnx.save(model, source)
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)  # it advises to do what is done here
        try:
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                result,
                _Crops(crops),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                # Weights of 7 bits: x86 processors without VNNI add products of full ones in 16 bits, which saturate, and answer
                # otherwise than those with it (ONNX Runtime's page on quantisation).
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["Conv", "Gemm", "MatMul", "Add", "Relu", "MaxPool", "GlobalAveragePool"],
            )
        finally:
            logging.root.setLevel(level)
        quantised = onnx.load(result)
    return _checked(quantised)


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give a classifier with 16-bit weights and arithmetic; ONNX Runtime computes in 32 bits where a device has no 16."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    # The last steps stay exact: probabilities of 11 bits would not add up to 1.
    return _checked(convert_float_to_float16(copy, keep_io_types=True, op_block_list=["Softmax", "Div"]))


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put the nodes in order, which the tools do not keep, and drop the operator sets that they name and do not use."""
    graph = onnx_ir.serde.deserialize_model(model)
    graph.graph.sort()
    ordered = onnx_ir.serde.serialize_model(graph)
    used = {node.domain for node in ordered.graph.node}
    kept = [opset for opset in ordered.opset_import if opset.domain in used]
    ordered.ClearField("opset_import")
    ordered.opset_import.extend(kept)
    ordered.graph.ClearField("value_info")  # some still tell the types of before
    tidy(ordered)
    onnx.checker.check_model(ordered, full_check=True)
    return ordered
