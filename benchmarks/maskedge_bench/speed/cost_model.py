"""The cost model: ms per frame = fixed + faces * per face + megapixels * per megapixel."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

_LEAST_POINTS = 4


def fit_cost(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fit a non-negative linear model in faces and megapixels per detector and classifier.

    The fit minimises relative errors, because large frames would dominate absolute errors.

    Args:
        cells: Rows of a matrix.

    Returns:
        One fit per pair with at least four points. `error` is the mean relative error.
    """
    fits = []
    for detector, model in dict.fromkeys((cell["detector"], cell["model"]) for cell in cells):
        own = [cell for cell in cells if (cell["detector"], cell["model"]) == (detector, model) and cell["detect_every"] == 1]
        own = [cell for cell in own if cell["threads"] == min(cell["threads"] for cell in own)]
        points = [
            (cell["faces_a_frame"], cell["size"][0] * cell["size"][1] / 1e6, cell["stages_ms"]["total"]["mean"]) for cell in own
        ]
        if len(points) < _LEAST_POINTS:
            continue
        fixed, face, megapixel, error = _fit(points)
        fits.append(
            {
                "pipeline": f"{detector}, {model}",
                "fixed_ms": round(fixed, 3),
                "face_ms": round(face, 3),
                "megapixel_ms": round(megapixel, 3),
                "error": round(error, 4),
                "points": [
                    {"faces": faces, "megapixels": round(area, 4), "milliseconds": round(time, 3)} for faces, area, time in points
                ],
            }
        )
    return fits


def _fit(points: Sequence[tuple[float, float, float]]) -> tuple[float, float, float, float]:
    faces, area, time = np.array(points, np.float64).T
    design = np.stack([np.ones_like(faces), faces, area], axis=1) / time[:, None]
    best: tuple[float, ...] | None = None
    # Non-negative least squares in three parts: try every set of non-zero parts.
    for chosen in (part for count in (1, 2, 3) for part in combinations(range(3), count)):
        values = np.linalg.lstsq(design[:, chosen], np.ones(len(points)), rcond=None)[0]
        if (values < 0).any():
            continue
        parts = np.zeros(3)
        parts[list(chosen)] = values
        residual = design @ parts - 1
        if best is None or float(residual @ residual) < best[0]:
            best = (float(residual @ residual), *(float(value) for value in parts), float(np.abs(residual).mean()))
    assert best is not None  # noqa: S101  (a fixed cost alone is never negative)
    return best[1], best[2], best[3], best[4]
