"""Probabilities that mean what they say: the temperature, and the bound below which an answer is unsure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from .metrics import probabilities

TEMPERATURES = (0.25, 8.0)
"""Least and most that a temperature may be: beyond lies a net that should be trained again, not calibrated."""
HIGHEST_BOUND = 0.99
"""Most that `unsure_threshold` asks for: above it a device would hardly ever answer."""


LEAST_FACES = 200
"""Faces of the validation part from which temperature and bound are fitted.

Fewer than 200 cannot tell an accuracy of 0.995, which the bound asks for, from a perfect one: that is one mistake in 200. It
was also measured, on a net trained by the plain command, by 60 draws of so many test faces (and twice as many crops of no
face), judged on the others. With 30 faces the temperature lay between 0.25 and 0.90 (5 to 95 % of the draws; all test crops
together: 0.63) and made the likelihood worse in every tenth draw, and the bound lay anywhere from 0 to 0.98; with 60 still in
every twentieth, 0.33 to 0.88, 0 to 0.99. With 200 no draw was worse than a temperature of 1, and the answers above the bound
(0.61 to 0.97) were right as often as 0.990 or more in 95 % of the draws.
"""


@dataclass(frozen=True)
class Calibration:
    """How the probabilities of a net were calibrated.

    Attributes:
        temperature: What its logits are divided by; 1 where there were too few faces to fit it to.
        unsure_below: Top probability below which an answer is unsure; 0 where there were too few faces.
        faces: Faces of the validation part.
    """

    temperature: float
    unsure_below: float
    faces: int

    @property
    def fitted(self) -> bool:
        """Whether there were faces enough."""
        return self.faces >= LEAST_FACES

    def __str__(self) -> str:
        """Give one sentence, for the log."""
        if self.fitted:
            return f"Temperature {self.temperature:g} and unsure below {self.unsure_below:g}, fitted to {self.faces:,} faces."
        return (
            f"Not calibrated: {self.faces} faces in the validation part, {LEAST_FACES} are needed; the temperature stays 1 and no "
            "answer is called unsure. Give more pictures."
        )

    def to_card(self) -> dict[str, Any]:
        """Give what report and card tell of it."""
        return {"faces": self.faces, "needed": LEAST_FACES, "fitted": self.fitted}


def calibrate(logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64], is_face: npt.NDArray[np.bool_]) -> Calibration:
    """Fit the temperature and the bound of the unsure, if there are faces enough.

    Args:
        logits: float32 `[N, C]`, of crops that the net was not trained on.
        targets: int64 `[N]`, the right answers.
        is_face: bool `[N]`, which of them show a face. What shows none helps to fit, but does not count as enough: it is cheap, and
            says little of how sure the net may be of a label.
    """
    faces = int(is_face.sum())
    if faces < LEAST_FACES:
        return Calibration(1.0, 0.0, faces)
    temperature = round(fit_temperature(logits, targets), 4)
    return Calibration(temperature, round(unsure_threshold(probabilities(logits, temperature), targets), 4), faces)


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
