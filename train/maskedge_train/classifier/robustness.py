"""Robustness of a classifier: accuracy on rotated, dark, small, blurred and occluded test faces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from torch import nn

from maskedge.types import Image
from maskedge_train.data.crops import CONTEXT, PATCH, Crops
from maskedge_train.data.occlusions import OCCLUSIONS, paint_occlusion
from maskedge_train.shared.face_crop import CROP, INPUT_SIZE

from .checkpoint import ClassifierSpec
from .training import predict

_Change = Callable[[Image, np.random.Generator], Image]


def _cut(patch: Image, degrees: float = 0.0) -> Image:
    """Cut the middle of a patch to the network's input, rotated by `degrees`."""
    matrix = cv2.getRotationMatrix2D(((PATCH - 1) / 2, (PATCH - 1) / 2), degrees, INPUT_SIZE * CONTEXT / PATCH)
    matrix = matrix + np.array([[0, 0, 1], [0, 0, 1]]) * (INPUT_SIZE - PATCH) / 2
    return np.asarray(cv2.warpAffine(patch, matrix, (INPUT_SIZE, INPUT_SIZE), flags=cv2.INTER_LINEAR), np.uint8)


def _rotated(degrees: float) -> _Change:
    return lambda patch, random: _cut(patch, float(random.choice([-degrees, degrees])))


def _dark(level: float) -> _Change:
    """Darken a crop and add the noise of a small sensor."""

    def change(patch: Image, random: np.random.Generator) -> Image:
        crop = _cut(patch)
        return np.clip(crop * level + random.normal(0, 5, crop.shape), 0, 255).astype(np.uint8)

    return change


def _small(pixels: int) -> _Change:
    """Reduce a crop's resolution to that of a distant face."""

    def change(patch: Image, random: np.random.Generator) -> Image:
        small = cv2.resize(_cut(patch), (pixels, pixels), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (INPUT_SIZE, INPUT_SIZE), interpolation=cv2.INTER_LINEAR), np.uint8)

    return change


def _blurred(sigma: float) -> _Change:
    return lambda patch, random: np.asarray(cv2.GaussianBlur(_cut(patch), (0, 0), sigma), np.uint8)


def _occluded(occlusion: str) -> _Change:
    side = PATCH / CONTEXT / (1 + 2 * CROP.margin)
    return lambda patch, random: _cut(paint_occlusion(patch, (side, side), occlusion, random))


CONDITIONS: dict[str, _Change] = {
    "as they are": lambda patch, random: _cut(patch),
    **{f"rotated by {degrees} degrees": _rotated(degrees) for degrees in (15, 30, 45)},
    **{f"{level:.0%} of the light": _dark(level) for level in (0.25, 0.1)},
    **{f"crop of {pixels} pixels": _small(pixels) for pixels in (32, 24, 16)},
    "out of focus": _blurred(2.0),
}
"""Changes applied to every test face."""


def measure_robustness(net: nn.Module, spec: ClassifierSpec, crops: Crops) -> list[dict[str, Any]]:
    """Measure a network's accuracy on masked and unmasked faces under each condition.

    A prediction may be any of the network's labels. Occlusions are painted on unmasked faces only.

    Args:
        net: The network, in evaluation mode.
        spec: The spec of its checkpoint.
        crops: Test faces.

    Returns:
        For each condition its name, the `accuracy` and the number of `faces`. Empty without faces.
    """
    rows = []
    for condition, label, change in _conditions():
        chosen = np.flatnonzero(np.isin(crops.labels, label) & (crops.origins == "face"))
        if not len(chosen):
            continue
        random = np.random.default_rng(0)
        changed = np.stack([change(patch, random) for patch in crops.patches[chosen]])
        right = predict(net, changed).argmax(axis=1) == crops.targets(spec.labels)[chosen]
        rows.append({"condition": condition, "accuracy": round(float(right.mean()), 4), "faces": len(chosen)})
    return rows


def _conditions() -> Iterator[tuple[str, tuple[str, ...], _Change]]:
    for condition, change in CONDITIONS.items():
        yield condition, ("with_mask", "without_mask"), change
    for occlusion, (label, _) in OCCLUSIONS.items():
        if label == "without_mask":
            yield f"a painted {occlusion} before the mouth", ("without_mask",), _occluded(occlusion)
