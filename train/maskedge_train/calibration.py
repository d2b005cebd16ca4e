"""Probabilities that mean what they say: the temperature, and the bound below which an answer is unsure."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

TEMPERATURES = (0.25, 8.0)
"""Least and most that a temperature may be: beyond lies a net that should be trained again, not calibrated."""
HIGHEST_BOUND = 0.99
"""Most that `unsure_threshold` asks for: above it a device would hardly ever answer."""


def fit_temperature(logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]) -> float:
    """Find the temperature that makes the right answers likeliest.

    Minimises the negative log-likelihood over one number, by which all logits are divided (Guo et al., "On calibration of modern
    neural networks", 2017), with LBFGS on its logarithm. Where every answer is right there is no minimum (a lower temperature is
    always better), so each target is softened by 1 / (N + 2) (Platt, "Probabilistic outputs for support vector machines", 1999).

    Args:
        logits: float32 `[N, C]`, of pictures that the net was not trained on.
        targets: int64 `[N]`, the right answers.

    Returns:
        The temperature, 0.25 to 8; 1 where there is nothing to fit it to.
    """
    if not len(targets):
        return 1.0
    scores, truth = torch.from_numpy(logits).double(), torch.from_numpy(targets)
    softening = 1 / (len(targets) + 2) if (logits.argmax(axis=1) == targets).all() else 0.0
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_temperature], max_iter=100, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = functional.cross_entropy(scores / log_temperature.exp(), truth, label_smoothing=softening)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    found = log_temperature.item()
    if not math.isfinite(found):
        return 1.0
    lowest, highest = (math.log(bound) for bound in TEMPERATURES)
    return math.exp(min(max(found, lowest), highest))


def unsure_threshold(probabilities: npt.NDArray[np.float32], targets: npt.NDArray[np.int64], wanted: float = 0.995) -> float:
    """Find the lowest top probability from which on answers can be relied upon.

    Args:
        probabilities: float32 `[N, C]`, after the temperature, of pictures that the net was not trained on.
        targets: int64 `[N]`, the right answers.
        wanted: Accuracy, 0 to 1, that the answers at or above the bound must have on this data.

    Returns:
        The bound in steps of 0.001: 0 where all answers together are right often enough (or there are none), and 0.99 where no
        bound up to there leaves answers that are.
    """
    top = probabilities.max(axis=1)
    order = np.argsort(top)
    right = (probabilities.argmax(axis=1) == targets)[order]
    if not len(right) or right.mean() >= wanted:
        return 0.0
    # As float32, so that the comparison is the one that is made with the bound later.
    bounds = (np.arange(round(HIGHEST_BOUND * 1000) + 1) / 1000).astype(np.float32)
    below = np.searchsorted(top[order], bounds, side="left")
    kept = len(right) - below
    right_kept = right.sum() - np.concatenate([[0], right.cumsum()])[below]
    # A bound that leaves no answer proves nothing.
    enough = (kept > 0) & (right_kept / np.maximum(kept, 1) >= wanted)
    return int(enough.argmax()) / 1000 if enough.any() else HIGHEST_BOUND
