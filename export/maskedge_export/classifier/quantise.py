"""Conversion of classifiers to int8 and fp16. Inputs and outputs keep their types."""

from __future__ import annotations

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from maskedge.types import Image

from ..int8.quantise import quantise, tidied
from .prior import FLOATS

_BATCH = 32


def to_int8(model: onnx.ModelProto, crops: Image) -> onnx.ModelProto:
    """Quantise a classifier statically.

    Args:
        model: A float32 classifier.
        crops: Crops of the training part, uint8 `[N, S, S, 3]`, BGR. Their activations set the
            ranges.
    """
    return quantise(model, (crops[start : start + _BATCH] for start in range(0, len(crops), _BATCH)), floats=FLOATS)


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert a classifier to 16-bit weights and arithmetic.

    ONNX Runtime computes in 32 bits on devices without 16-bit arithmetic.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    # The last steps stay in 32 bits: probabilities of 11 significant bits would not add up to 1.
    return tidied(convert_float_to_float16(copy, keep_io_types=True, op_block_list=["Softmax", "Div"]))
