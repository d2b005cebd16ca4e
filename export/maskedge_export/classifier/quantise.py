"""Quantisation of classifiers to int8 and fp16. Inputs and outputs keep their types."""

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

from ..onnx_file import tidy

_BATCH = 32


class _Crops(CalibrationDataReader):  # type: ignore[misc]
    """Batches of crops for the calibration."""

    def __init__(self, crops: Image) -> None:
        self._batches = iter([crops[start : start + _BATCH] for start in range(0, len(crops), _BATCH)])

    def get_next(self) -> dict[str, Image] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"faces": batch}


def to_int8(model: onnx.ModelProto, crops: Image) -> onnx.ModelProto:
    """Quantise a classifier statically: QDQ format, weights per channel.

    Args:
        model: A float32 classifier.
        crops: Crops of the training part, uint8 `[N, S, S, 3]`, BGR. Their activations set the
            ranges.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, result = (Path(folder) / name for name in ("source.onnx", "prepared.onnx", "result.onnx"))
        onnx.save(model, source)
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)  # silences advice that this code already follows
        try:
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                result,
                _Crops(crops),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                # 7-bit weights: x86 processors without VNNI sum 8-bit products in 16 bits, which
                # saturate (ONNX Runtime, "Quantize ONNX models"), so results would differ.
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
    """Convert a classifier to 16-bit weights and arithmetic.

    ONNX Runtime computes in 32 bits on devices without 16-bit arithmetic.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    # The last steps stay in 32 bits: probabilities of 11 significant bits would not add up to 1.
    return _checked(convert_float_to_float16(copy, keep_io_types=True, op_block_list=["Softmax", "Div"]))


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
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
