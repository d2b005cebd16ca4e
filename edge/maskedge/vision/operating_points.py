"""The operating points of a classifier file: face thresholds by detector, domain and name.

`edge-bench thresholds` measures them, and `edge-export annotate` writes them into the card:

    {"haar": {"webcam": {"points": {"balanced": 0.94, ...}, "curve": [...], ...}, ...}, ...}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskedge.errors import UsageError
from maskedge.settings import DOMAINS, OPERATING_POINTS


def find_threshold(
    card: Mapping[str, Any], detector: str, operating_point: str | None, domain: str | None, path: Path
) -> float | None:
    """Return the face threshold of an operating point.

    Args:
        card: The card of the classifier file.
        detector: Name of the detector, or of its file.
        operating_point: One of `OPERATING_POINTS`; None for the first.
        domain: One of `DOMAINS`; None for the first.
        path: The classifier file, for messages.

    Returns:
        The threshold, 0 to 1. None if nothing was asked for and the file has no operating points of
        this detector: the detector's own threshold applies.

    Raises:
        UsageError: The file lacks the operating point or the domain that was asked for.
    """
    domains = card.get("operating_points", {}).get(detector, {})
    points = domains.get(domain or DOMAINS[0], {}).get("points", {})
    threshold = points.get(operating_point or OPERATING_POINTS[0])
    if threshold is not None:
        return float(threshold)
    if operating_point is None and domain is None:
        return None
    wanted = f"the operating point {operating_point!r}" if operating_point else "operating points"
    raise UsageError(
        f"{path.name} has no measurement of {wanted} for the detector {detector} and {domain or DOMAINS[0]} pictures: leave "
        "--precision and --domain out, set detect.face_threshold, or measure them (edge-bench thresholds)."
    )
