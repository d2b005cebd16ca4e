"""Calibrated probabilities: the temperature, and the confidence threshold of unsure answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from maskedge.support.text import counted

from .metrics import probabilities

TEMPERATURES = (0.25, 8.0)
"""Lowest and highest temperature. A network that needs a temperature outside of them must be
trained again.
"""
MAX_THRESHOLD = 0.99
"""Upper limit of `unsure_threshold`. Above it, nearly every result would count as unsure."""


MIN_FACES = 200
"""Minimum number of validation faces for fitting temperature and threshold.

The threshold requires an accuracy of 0.995, which is one error in 200 faces. Fewer faces cannot
distinguish this accuracy from a perfect score. The number was also measured with a network of the
default recipe. It was calibrated on 60 random subsets of the test faces (and twice as many crops
without a face), and each calibration was judged on the other crops. With 30 faces the temperature
varied from 0.25 to 0.90 (5 to 95 % of the subsets; all test crops together gave 0.63), the
likelihood became worse in one subset of ten, and the threshold varied from 0 to 0.98. With 60 faces
the likelihood became worse in one subset of twenty, the temperature varied from 0.33 to 0.88, and
the threshold from 0 to 0.99. With 200 faces no subset was worse than a temperature of 1, and the
answers above the threshold (0.61 to 0.97) had an accuracy of 0.990 or more in 95 % of the subsets.
"""


@dataclass(frozen=True)
class Calibration:
    """Result of the calibration of a network.

    Attributes:
        temperature: Divisor of the logits; not fitted if there were too few faces.
        unsure_below: Top probability below which an answer is unsure; 0 if there were too few
            faces.
        faces: Number of validation faces.
        kept: True if the temperature is the lowest allowed, because the fitted one is lower.
    """

    temperature: float
    unsure_below: float
    faces: int
    kept: bool = False

    @property
    def fitted(self) -> bool:
        """True if there were enough faces."""
        return self.faces >= MIN_FACES

    def __str__(self) -> str:
        """Return one sentence for the log."""
        if self.fitted and self.kept:
            return (
                f"Temperature {self.temperature:g}, the lowest allowed here, and unsure below {self.unsure_below:g}, fitted to "
                f"{counted(self.faces, 'face')}."
            )
        if self.fitted:
            return (
                f"Temperature {self.temperature:g} and unsure below {self.unsure_below:g}, fitted to {counted(self.faces, 'face')}."
            )
        return (
            f"Not calibrated: {counted(self.faces, 'face')} in the validation part, {MIN_FACES} are needed; the temperature stays "
            f"{self.temperature:g} and no result is marked unsure. Give more pictures."
        )

    def to_card(self) -> dict[str, Any]:
        """Return the facts for report and model card."""
        return {"faces": self.faces, "needed": MIN_FACES, "fitted": self.fitted}


def calibrate(
    logits: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
    is_face: npt.NDArray[np.bool_],
    least: float | None = None,
) -> Calibration:
    """Fit temperature and unsure threshold, if there are enough faces.

    Args:
        logits: float32 `[N, C]`, of crops outside the training part.
        targets: int64 `[N]`, the true classes.
        is_face: bool `[N]`, True for crops that show a face. Crops without a face take part in the
            fit but do not count towards `MIN_FACES`, because they are easy to get and carry little
            information about the confidence of a label.
        least: Lowest temperature, and the result if there are too few faces: the highest one of the
            networks that were averaged. None: any temperature, and 1 if there are too few faces.
    """
    faces = int(is_face.sum())
    if faces < MIN_FACES:
        return Calibration(least or 1.0, 0.0, faces, kept=least is not None)
    best = fit_temperature(logits, targets)
    temperature = round(max(best, least or 0), 4)
    threshold = round(unsure_threshold(probabilities(logits, temperature), targets), 4)
    return Calibration(temperature, threshold, faces, kept=temperature > round(best, 4))


def fit_temperature(logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]) -> float:
    """Find the temperature with the highest likelihood of the true classes.

    Minimises the negative log-likelihood over a single divisor of all logits (Guo et al., "On
    calibration of modern neural networks", 2017), with LBFGS on its logarithm. If every answer is
    right, the likelihood has no maximum, because a lower temperature is always better. Each target
    is then smoothed by 1 / (N + 2) (Platt, "Probabilistic outputs for support vector machines",
    1999).

    Args:
        logits: float32 `[N, C]`, of pictures outside the training part.
        targets: int64 `[N]`, the true classes.

    Returns:
        The temperature, 0.25 to 8; 1 for no data.
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


def unsure_threshold(
    probabilities: npt.NDArray[np.float32], targets: npt.NDArray[np.int64], target_accuracy: float = 0.995
) -> float:
    """Find the lowest confidence threshold with a given accuracy above it.

    Args:
        probabilities: float32 `[N, C]`, after the temperature, of pictures outside the training
            part.
        targets: int64 `[N]`, the true classes.
        target_accuracy: Accuracy, 0 to 1, that predictions at or above the threshold must reach.

    Returns:
        The threshold in steps of 0.001. 0 if all predictions together reach the accuracy, or there
        are none; 0.99 if no threshold up to there reaches it.
    """
    top = probabilities.max(axis=1)
    order = np.argsort(top)
    right = (probabilities.argmax(axis=1) == targets)[order]
    if not len(right) or right.mean() >= target_accuracy:
        return 0.0
    # In float32, like the later comparison with the threshold.
    bounds = (np.arange(round(MAX_THRESHOLD * 1000) + 1) / 1000).astype(np.float32)
    below = np.searchsorted(top[order], bounds, side="left")
    kept = len(right) - below
    right_kept = right.sum() - np.concatenate([[0], right.cumsum()])[below]
    # A threshold without answers above it has no accuracy.
    enough = (kept > 0) & (right_kept / np.maximum(kept, 1) >= target_accuracy)
    return int(enough.argmax()) / 1000 if enough.any() else MAX_THRESHOLD
