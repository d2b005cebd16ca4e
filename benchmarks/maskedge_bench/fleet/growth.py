"""Cost of each part over the number of devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .load import LoadPlan, Progress, measure_load

_EVENTS_A_DEVICE = 0.2
"""Events a second of a device: 200 of 1,000 devices."""
_MOST_EVENTS = 400.0
_MOST_STATISTICS = 170.0
"""Bounds for the machine, which runs the devices as well: messages a second of the largest fleet."""


def measure_growth(counts: Sequence[int], seconds: float, keep: Path | None, progress: Progress) -> list[dict[str, Any]]:
    """Measure a load for each number of devices.

    Up to 1,000 devices, each sends statistics every 10 s. More devices send them less often, because
    the machine runs them as well. Costs are therefore given per message.

    Args:
        counts: Numbers of devices.
        seconds: Seconds of each load.
        keep: Folder in which files and logs are kept; None for a temporary one.
        progress: Called with the name of each step.
    """
    return [measure_load(replace(plan_of(count), seconds=seconds), keep, progress) for count in counts]


def plan_of(count: int) -> LoadPlan:
    """Return the load of a number of devices."""
    return LoadPlan(
        count,
        events_per_s=min(_EVENTS_A_DEVICE * count, _MOST_EVENTS),
        interval=max(10.0, round(count / _MOST_STATISTICS, 1)),
    )
