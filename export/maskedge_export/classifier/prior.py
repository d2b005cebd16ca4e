"""Prior of labels: factors on the probabilities of a classifier's face labels, inside its graph."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from maskedge.errors import UsageError
from maskedge.types import NOT_A_FACE

_NAME = "prior"
FLOATS = (f"{_NAME}.",)
"""Beginnings of the names of weights that quantisation leaves in float32."""
_LEAST = 1e-12
"""Added to sums of probabilities, so that their ratio exists."""
_MOST = 10.0
"""Largest absolute value of a prior, in units of a logit."""
_OUTPUT = "probabilities"


def check_prior(prior: Mapping[str, float], labels: Sequence[str]) -> None:
    """Check that a prior suits the labels of a classifier.

    Raises:
        UsageError: A label is unknown or `not_a_face`, or a value is 0 or too large.
    """
    known = [label for label in labels if label != NOT_A_FACE]
    for label, value in prior.items():
        if label not in known:
            raise UsageError(f"a prior needs a label of a face, not {label!r}: the model has {', '.join(known)}.")
        if not 0 < abs(value) <= _MOST:
            raise UsageError(f"the prior of {label} is {value:g}: give a number from -{_MOST:g} to {_MOST:g} other than 0.")


def apply_prior(probabilities: torch.Tensor, labels: Sequence[str], prior: Mapping[str, float]) -> torch.Tensor:
    """Add a prior to the logits of face labels, float32 `[N, C]` to float32 `[N, C]`.

    The sum of the face labels stays, so a crop is as probably a face as before.

    Args:
        probabilities: float32 `[N, C]`, one column per label.
        labels: Labels in output order.
        prior: Summand of the logit by label, natural logarithm.
    """
    faces, weighted = (torch.from_numpy(column) for column in _columns(labels, prior))
    scale = (probabilities @ faces[:, None] + _LEAST) / (probabilities @ weighted[:, None] + _LEAST)
    return probabilities * (scale * weighted + (1 - faces))


class WithPrior(nn.Module):
    """A classifier's graph with a prior.

    Args:
        graph: Maps crops to probabilities, float32 `[N, C]`, and further outputs.
        labels: Labels in output order.
        prior: Summand of the logit by label, natural logarithm.
    """

    def __init__(self, graph: nn.Module, labels: Sequence[str], prior: Mapping[str, float]) -> None:
        super().__init__()
        self.graph, self.labels, self.prior = graph, labels, prior

    def forward(self, faces: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs for a batch of crops."""
        probabilities, *more = self.graph(faces)
        return apply_prior(probabilities, self.labels, self.prior), *more


def add_prior(model: onnx.ModelProto, labels: Sequence[str], prior: Mapping[str, float]) -> None:
    """Append the operators of `apply_prior` to the graph of a classifier.

    Args:
        model: The model. It is changed.
        labels: Labels in output order.
        prior: Summand of the logit by label, natural logarithm.
    """
    graph = model.graph
    before = f"{_NAME}.{_OUTPUT}"
    last = next(node for node in graph.node if _OUTPUT in node.output)
    last.output[list(last.output).index(_OUTPUT)] = before
    for node in graph.node:
        node.input[:] = [before if name == _OUTPUT else name for name in node.input]
    faces, weighted = _columns(labels, prior)
    constants = {
        "faces": faces[:, None],
        "weighted": weighted[:, None],
        "least": np.full(1, _LEAST, np.float32),
        "row": weighted[None],
        "others": 1 - faces,
    }
    graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(value), f"{_NAME}.{name}") for name, value in constants.items()
    )
    steps = [
        ("Gemm", (before, f"{_NAME}.faces", f"{_NAME}.least"), f"{_NAME}.sum"),
        ("Gemm", (before, f"{_NAME}.weighted", f"{_NAME}.least"), f"{_NAME}.weighted_sum"),
        ("Div", (f"{_NAME}.sum", f"{_NAME}.weighted_sum"), f"{_NAME}.scale"),
        ("Gemm", (f"{_NAME}.scale", f"{_NAME}.row", f"{_NAME}.others"), f"{_NAME}.factors"),
        ("Mul", (before, f"{_NAME}.factors"), _OUTPUT),
    ]
    graph.node.extend(helper.make_node(kind, inputs, [output], name=output) for kind, inputs, output in steps)
    onnx.checker.check_model(model, full_check=True)


def _columns(labels: Sequence[str], prior: Mapping[str, float]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return 1 for each label of a face, and its factor, float32 `[C]` each."""
    faces = np.array([label != NOT_A_FACE for label in labels], np.float32)
    return faces, faces * np.array([math.exp(prior.get(label, 0.0)) for label in labels], np.float32)
