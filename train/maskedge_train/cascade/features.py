"""The two kinds of features of OpenCV's cascades, computed as OpenCV does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from maskedge.types import Image

WINDOW = 24
"""Side of the window in pixels."""
BINS = 256
MIN_CONTRAST = 10
"""OpenCV's Haar cascades reject windows with at most this standard deviation of grey values."""
Rect: TypeAlias = tuple[int, int, int, int]
Codes: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Integrals:
    """Integral images of N windows.

    Attributes:
        sums: float32 `[25, 25, N]`, sums of the grey values above and to the left.
        contrast: float32 `[N]`, OpenCV's normalisation of Haar features; 0 for windows without
            contrast.
    """

    sums: npt.NDArray[np.float32]
    contrast: npt.NDArray[np.float32]

    @classmethod
    def of(cls, windows: Image) -> Integrals:
        """Compute the integral images of windows, uint8 `[N, 24, 24]` grey."""
        # The windows are the last axis, so that the same corner of all windows is contiguous.
        grey = windows.astype(np.float64)
        inner = grey[:, 1:-1, 1:-1].reshape(len(grey), -1)
        area = inner.shape[1]
        squares = area * (inner**2).sum(axis=1) - inner.sum(axis=1) ** 2
        contrast = np.sqrt(np.maximum(squares, 0))
        contrast[contrast / area <= MIN_CONTRAST] = 0
        sums = np.zeros((WINDOW + 1, WINDOW + 1, len(grey)), np.float32)
        sums[1:, 1:] = grey.cumsum(axis=1).cumsum(axis=2).transpose(1, 2, 0)
        return cls(sums, contrast.astype(np.float32))

    def box(self, rect: Rect) -> npt.NDArray[np.float32]:
        """Sum the grey values in a rectangle of each window.

        Args:
            rect: x, y, width, height in pixels.

        Returns:
            float32 `[N]`.
        """
        x, y, width, height = rect
        s = self.sums
        return np.asarray(s[y + height, x + width] - s[y, x + width] - s[y + height, x] + s[y, x], np.float32)


@dataclass(frozen=True)
class Weak:
    """A decision stump: one feature, two values.

    Attributes:
        feature: Index into the cascade's features.
        left: Value of windows that go left.
        right: Value of all other windows.
        threshold: Haar: feature values below it go left.
        subset: LBP: which of the 256 codes go left.
    """

    feature: int
    left: float
    right: float
    threshold: float = 0.0
    subset: tuple[bool, ...] = ()


class Features(Protocol):
    """A kind of features."""

    name: str
    ordered: bool

    def pool(self, random: np.random.Generator, count: int) -> list[tuple[int, ...]]:
        """Draw `count` different features."""
        ...

    def codes(self, integrals: Integrals, features: Sequence[tuple[int, ...]]) -> tuple[Codes, npt.NDArray[np.float64]]:
        """Return the bin of each window, uint8 `[F, N]`, and the bins' edges, float64 `[F, 257]`.

        The edges have no meaning for LBP.
        """
        ...

    def goes_left(self, integrals: Integrals, feature: tuple[int, ...], weak: Weak) -> npt.NDArray[np.bool_]:
        """Return True for each window that goes left: bool `[N]`."""
        ...


_PATTERNS = {
    # Cells across, cells down, and the cells with positive weight. The total weight is 0.
    0: (2, 1, ((1, 0),)),
    1: (1, 2, ((0, 1),)),
    2: (3, 1, ((1, 0),)),
    3: (1, 3, ((0, 1),)),
    4: (2, 2, ((0, 0), (1, 1))),
    5: (3, 3, ((1, 1),)),
}


class Haar:
    """Differences of rectangles, divided by the window's contrast.

    A feature is (pattern, x, y, cell width, cell height).
    """

    name = "haar"
    ordered = True

    def __init__(self) -> None:
        self._all = [
            (pattern, x, y, width, height)
            for pattern, (across, down, _) in _PATTERNS.items()
            for width in range(1, WINDOW // across + 1)
            for height in range(1, WINDOW // down + 1)
            for x in range(WINDOW - across * width + 1)
            for y in range(WINDOW - down * height + 1)
            if width * height >= 2
        ]

    def pool(self, random: np.random.Generator, count: int) -> list[tuple[int, ...]]:
        """Draw `count` different features."""
        return [self._all[row] for row in random.choice(len(self._all), count, replace=False)]

    @staticmethod
    def rects(feature: tuple[int, ...]) -> list[tuple[Rect, float]]:
        """Return the rectangles of a feature and their weights, the whole area first."""
        pattern, x, y, width, height = feature
        across, down, cells = _PATTERNS[pattern]
        weight = across * down / len(cells)
        inner = [((x + column * width, y + row * height, width, height), weight) for column, row in cells]
        return [((x, y, across * width, down * height), -1.0), *inner]

    def values(self, integrals: Integrals, feature: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Return the feature's value for each window: float32 `[N]`."""
        total = sum(np.float32(weight) * integrals.box(rect) for rect, weight in self.rects(feature))
        return np.asarray(np.where(integrals.contrast > 0, total / np.maximum(integrals.contrast, 1), 0), np.float32)

    def codes(self, integrals: Integrals, features: Sequence[tuple[int, ...]]) -> tuple[Codes, npt.NDArray[np.float64]]:
        """Sort the values of each feature into 256 bins of equal width between its extremes."""
        codes = np.empty((len(features), len(integrals.contrast)), np.uint8)
        edges = np.empty((len(features), BINS + 1))
        for row, feature in enumerate(features):
            values = self.values(integrals, feature)
            low, high = np.quantile(values[:: max(1, len(values) // 2000)], (0.002, 0.998)).tolist()
            edges[row] = np.linspace(low, max(high, low + 1e-6), BINS + 1)
            scaled = (values - low) * (BINS / (edges[row, -1] - low))
            codes[row] = np.clip(scaled, 0, BINS - 1).astype(np.uint8)
        return codes, edges

    def goes_left(self, integrals: Integrals, feature: tuple[int, ...], weak: Weak) -> npt.NDArray[np.bool_]:
        """Return True for each window that goes left: bool `[N]`."""
        return np.asarray(self.values(integrals, feature) < np.float32(weak.threshold), np.bool_)


class Lbp:
    """Local binary patterns of 3 x 3 blocks (Liao et al., 2007).

    A feature is (x, y, block width, block height).
    """

    name = "lbp"
    ordered = False
    # Clockwise from the top left, the most significant bit first.
    _AROUND = ((0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (0, 1))

    def __init__(self) -> None:
        sides = range(1, WINDOW // 3 + 1)
        self._all = [
            (x, y, width, height)
            for width in sides
            for height in sides
            for x in range(WINDOW - 3 * width + 1)
            for y in range(WINDOW - 3 * height + 1)
        ]

    def pool(self, random: np.random.Generator, count: int) -> list[tuple[int, ...]]:
        """Draw `count` different features."""
        return [self._all[row] for row in random.choice(len(self._all), min(count, len(self._all)), replace=False)]

    def code(self, integrals: Integrals, feature: tuple[int, ...]) -> Codes:
        """Return the pattern of each window: uint8 `[N]`."""
        x, y, width, height = feature
        centre = integrals.box((x + width, y + height, width, height))
        code = np.zeros(len(centre), np.uint8)
        for bit, (column, row) in zip((128, 64, 32, 16, 8, 4, 2, 1), self._AROUND, strict=True):
            code |= np.where(integrals.box((x + column * width, y + row * height, width, height)) >= centre, bit, 0).astype(
                np.uint8
            )
        return code

    def codes(self, integrals: Integrals, features: Sequence[tuple[int, ...]]) -> tuple[Codes, npt.NDArray[np.float64]]:
        """Return the patterns of each window."""
        return np.stack([self.code(integrals, feature) for feature in features]), np.zeros((len(features), BINS + 1))

    def goes_left(self, integrals: Integrals, feature: tuple[int, ...], weak: Weak) -> npt.NDArray[np.bool_]:
        """Return True for each window that goes left: bool `[N]`."""
        return np.asarray(np.array(weak.subset, np.bool_)[self.code(integrals, feature)])


KINDS: dict[str, type[Haar] | type[Lbp]] = {"haar": Haar, "lbp": Lbp}
