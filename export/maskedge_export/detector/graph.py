"""The graph of a detector file: a raw uint8 frame in, suppressed boxes and scores out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import nn

from maskedge_train.detector.evaluate import NMS_IOU
from maskedge_train.detector.net import EdgeFace
from maskedge_train.shared.pixels import normalise

from ..onnx_file import torch_to_onnx

LEAST_SCORE = 0.15
"""Score below which the graph drops a box. Hardly any such box is a face, and each costs time."""
MOST_BOXES = 200


class DetectorGraph(nn.Module):
    """A network with its pixel path.

    The input is uint8 `[1, H, W, 3]`, BGR. The output is the boxes, float32 `[1, A, 4]` (x1, y1,
    x2, y2 in pixels), and scores, float32 `[1, 1, A]`, of the A locations.
    """

    def __init__(self, net: EdgeFace) -> None:
        super().__init__()
        self.net = net

    def forward(self, frame: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return boxes and scores of a frame."""
        logits, boxes = self.net(normalise(frame.permute(0, 3, 1, 2).to(torch.float32) / 255))
        return boxes, torch.sigmoid(logits)[:, None]


def to_onnx(graph: DetectorGraph) -> onnx.ModelProto:
    """Convert a detector to a single-file ONNX model without metadata.

    It takes frames of any size in multiples of 32 pixels.
    """
    rows, columns = torch.export.Dim("rows", min=1, max=128), torch.export.Dim("columns", min=1, max=128)
    example = torch.zeros((1, 96, 128, 3), dtype=torch.uint8)
    model = torch_to_onnx(graph, example, "frame", ["places", "place_scores"], {1: 32 * rows, 2: 32 * columns})
    _add_suppression(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def _add_suppression(model: onnx.ModelProto) -> None:
    """Append non-maximum suppression to the graph."""
    graph, helper = model.graph, onnx.helper
    constants: dict[str, npt.NDArray[Any]] = {
        "most_boxes": np.array([MOST_BOXES], np.int64),
        "overlap": np.array([NMS_IOU], np.float32),
        "least_score": np.array([LEAST_SCORE], np.float32),
        "third": np.array([2], np.int64),
        "first": np.array([0], np.int64),
        "leading": np.array([0, 1], np.int64),
        "last": np.array([1], np.int64),
    }
    graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.node.extend(
        [
            helper.make_node("NonMaxSuppression", ["places", "place_scores", "most_boxes", "overlap", "least_score"], ["chosen"]),
            helper.make_node("Gather", ["chosen", "third"], ["column"], axis=1),
            helper.make_node("Squeeze", ["column", "last"], ["rows_kept"]),
            helper.make_node("Squeeze", ["places", "first"], ["all_boxes"]),
            helper.make_node("Squeeze", ["place_scores", "leading"], ["all_scores"]),
            helper.make_node("Gather", ["all_boxes", "rows_kept"], ["boxes"], axis=0),
            helper.make_node("Gather", ["all_scores", "rows_kept"], ["scores"], axis=0),
        ]
    )
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info("boxes", onnx.TensorProto.FLOAT, ("K", 4)),
            helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ("K",)),
        ]
    )
    for dim, name in zip(graph.input[0].type.tensor_type.shape.dim[1:3], ("H", "W"), strict=True):
        dim.dim_param = name
