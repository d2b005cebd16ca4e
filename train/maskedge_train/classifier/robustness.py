"""Where a classifier ends: the same test faces turned, darkened, shrunk, blurred, and with things before the mouth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from torch import nn

from maskedge.types import Image
from maskedge_train.data.crops import CONTEXT, PATCH, Crops
from maskedge_train.data.occlusions import THINGS, paint
from maskedge_train.shared.face_crop import CROP, INPUT_SIZE

from .checkpoint import ClassifierSpec
from .training import predict

_Change = Callable[[Image, np.random.Generator], Image]


def _cut(patch: Image, degrees: float = 0.0) -> Image:
    """Cut the middle of a patch to the net's input, turned."""
    matrix = cv2.getRotationMatrix2D(((PATCH - 1) / 2, (PATCH - 1) / 2), degrees, INPUT_SIZE * CONTEXT / PATCH)
    matrix = matrix + np.array([[0, 0, 1], [0, 0, 1]]) * (INPUT_SIZE - PATCH) / 2
    return np.asarray(cv2.warpAffine(patch, matrix, (INPUT_SIZE, INPUT_SIZE), flags=cv2.INTER_LINEAR), np.uint8)


def _turned(degrees: float) -> _Change:
    return lambda patch, random: _cut(patch, float(random.choice([-degrees, degrees])))


def _dark(level: float) -> _Change:
    """Take light away and add a small sensor's noise."""

    def change(patch: Image, random: np.random.Generator) -> Image:
        crop = _cut(patch)
        return np.clip(crop * level + random.normal(0, 5, crop.shape), 0, 255).astype(np.uint8)

    return change


def _small(pixels: int) -> _Change:
    """Show the crop as a face that far away is seen."""

    def change(patch: Image, random: np.random.Generator) -> Image:
        small = cv2.resize(_cut(patch), (pixels, pixels), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (INPUT_SIZE, INPUT_SIZE), interpolation=cv2.INTER_LINEAR), np.uint8)

    return change


def _blurred(sigma: float) -> _Change:
    return lambda patch, random: np.asarray(cv2.GaussianBlur(_cut(patch), (0, 0), sigma), np.uint8)


def _held(thing: str) -> _Change:
    side = PATCH / CONTEXT / (1 + 2 * CROP.margin)
    return lambda patch, random: _cut(paint(patch, (side, side), thing, random))


CONDITIONS: dict[str, _Change] = {
    "as they are": lambda patch, random: _cut(patch),
    **{f"turned by {degrees} degrees": _turned(degrees) for degrees in (15, 30, 45)},
    **{f"{level:.0%} of the light": _dark(level) for level in (0.25, 0.1)},
    **{f"crop of {pixels} pixels": _small(pixels) for pixels in (32, 24, 16)},
    "out of focus": _blurred(2.0),
}
"""What is done to every test face."""


def measure_limits(net: nn.Module, spec: ClassifierSpec, crops: Crops) -> list[dict[str, Any]]:
    """Measure how often a net is right about masked and unmasked faces under each condition, all its labels open.

    Args:
        net: The net, in evaluation mode.
        spec: What its checkpoint tells of it.
        crops: Test faces.

    Returns:
        For each condition its name, the `accuracy` and the number of `faces`; things before the mouth are painted on the unmasked
        faces only. Empty where there are no such faces.
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
    for thing, (label, _) in THINGS.items():
        if label == "without_mask":
            yield f"a painted {thing} before the mouth", ("without_mask",), _held(thing)
