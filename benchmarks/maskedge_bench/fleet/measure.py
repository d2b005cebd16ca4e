"""The report of the fleet: its parts can be measured one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from maskedge.errors import UsageError
from maskedge.system.host import host_facts
from maskedge_bench.conditions import Conditions
from maskedge_bench.report_schemas import FLEET

from .backlog import measure_backlog
from .growth import measure_growth
from .load import LoadPlan, Progress, measure_load
from .month import measure_month

PARTS = ("load", "crashes", "backlog", "growth", "month")
"""Parts of the report."""


@dataclass(frozen=True)
class FleetPlan:
    """Sizes of the measurements.

    Attributes:
        load: Load without crashes.
        kills: How often each of broker, database and ingest is killed during the second load.
        backlog: Number of events that wait.
        growth: Numbers of devices of the loads of `growth`.
        growth_s: Seconds of each of them.
        days: Days of counts of the month, for `load.devices` devices.
        keep: Folder in which files and logs are kept; None for a temporary one.
    """

    load: LoadPlan = field(default_factory=LoadPlan)
    kills: int = 5
    backlog: int = 200_000
    growth: Sequence[int] = (100, 1000, 10_000)
    growth_s: float = 60.0
    days: int = 30
    keep: Path | None = None

    def shortened(self) -> FleetPlan:
        """Return a version that takes about ten minutes."""
        return replace(
            self,
            load=replace(self.load, seconds=min(self.load.seconds, 60.0)),
            kills=min(self.kills, 2),
            backlog=min(self.backlog, 50_000),
            growth=[count for count in self.growth if count <= 1000] or self.growth,
            growth_s=min(self.growth_s, 20.0),
            days=min(self.days, 3),
        )


def measure_fleet(
    plan: FleetPlan,
    parts: Sequence[str] = PARTS,
    earlier: Mapping[str, Any] | None = None,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """Measure parts of the report.

    Args:
        plan: Sizes of the measurements.
        parts: Some of `PARTS`.
        earlier: A report whose other parts are kept.
        progress: Called with the name of each step.

    Returns:
        The report. A part that was never measured is None. After a KeyboardInterrupt it has the
        complete parts.

    Raises:
        UsageError: A program is missing, or `earlier` was measured on another machine.
        KeyboardInterrupt: The user stopped the measurement before a part was complete.
        OutputError: A part of the fleet failed.
    """
    if earlier is not None and (own := host_facts()["machine"]) != (other := earlier["facts"]["machine"]):
        # A report names one machine.
        raise UsageError(f"the earlier report was measured on {other}, this is {own}: leave --update out, and measure every part.")
    conditions = Conditions()
    measures: dict[str, Callable[[], Any]] = {
        "load": lambda: measure_load(plan.load, plan.keep, progress),
        "crashes": lambda: measure_load(
            replace(plan.load, kills=plan.kills, seconds=min(plan.load.seconds, 60.0)), plan.keep, progress
        ),
        "backlog": lambda: measure_backlog(plan.backlog, plan.load.devices, plan.keep, progress),
        "growth": lambda: measure_growth(plan.growth, plan.growth_s, plan.keep, progress),
        "month": lambda: measure_month(plan.load.devices, plan.days, plan.keep, progress),
    }
    measured = {name: (earlier or {}).get(name) for name in PARTS}
    complete, partial = 0, False
    try:
        for name in PARTS:
            if name in parts:
                measured[name] = measures[name]()
                complete += 1
    except KeyboardInterrupt:
        if not complete:
            raise
        partial = True
    return {**conditions.head(FLEET, "Fleet", partial=partial), **measured}
