"""Regression check: compares the ratios of a report with those of a baseline report.

Ratios to the original pipeline stay comparable on a busy machine; times do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskedge.errors import UsageError
from maskedge.support.text import counted
from maskedge_bench.report_schemas import NETS, SPEED, load_report
from maskedge_bench.speed.matrix import name_of


@dataclass(frozen=True)
class Change:
    """A ratio that both reports have.

    Attributes:
        name: Name of the figure.
        before: Value in the baseline report.
        now: Value in the checked report.
        better: `higher` or `lower`.
    """

    name: str
    before: float
    now: float
    better: str

    def regressed(self, tolerance: float) -> bool:
        """Return True if the ratio is worse by more than the fraction `tolerance`."""
        return self.now < self.before * (1 - tolerance) if self.better == "higher" else self.now > self.before * (1 + tolerance)

    def __str__(self) -> str:
        change = f"{self.now / self.before - 1:+.0%}, " if self.before else ""
        return f"{self.name}: {self.before:.2f} -> {self.now:.2f} x ({change}{self.better} is better)"


def compare_ratios(report_path: Path, baseline_path: Path, *, any_machine: bool = False) -> tuple[list[Change], list[str]]:
    """Compare the ratios of two reports.

    Args:
        report_path: The report to check.
        baseline_path: The baseline report.
        any_machine: Also compare reports of different machines.

    Returns:
        The common ratios, and a note on each difference of the conditions.

    Raises:
        UsageError: The reports have different schemas or machines, or no ratio in common.
    """
    report, baseline = (load_report(path, SPEED, NETS) for path in (report_path, baseline_path))
    if report["schema"] != baseline["schema"]:
        raise UsageError(
            f"{report_path} has the schema {report['schema']}, {baseline_path} {baseline['schema']}: give two reports of one kind."
        )
    ours, theirs = _machine(report), _machine(baseline)
    if ours != theirs and not any_machine:
        raise UsageError(
            f"{report_path} was measured on {ours}, {baseline_path} on {theirs}: measure a baseline on this machine, "
            "or compare anyway with --any-machine."
        )
    now, before = _ratios(report), _ratios(baseline)
    changes = [Change(name, before[name][0], value, better) for name, (value, better) in now.items() if name in before]
    if not changes:
        raise UsageError(f"{report_path} and {baseline_path} have no configuration in common: measure the same ones.")
    notes = [f"{name} is in the baseline only." for name in before if name not in now]
    frames, other = _frames(report), _frames(baseline)
    if frames != other:
        notes.append(f"The report measured {frames}, the baseline {other}: this alone may change a ratio.")
    for name, own in (("report", report), ("baseline", baseline)):
        notes += [f"Warning in the {name}: {warning}" for warning in own["warnings"]]
    return changes, notes


def _frames(report: Mapping[str, Any]) -> str:
    if report["schema"] == NETS:
        return f"{counted(report['batch'], 'face')} per call, {counted(report['threads'], 'thread')}"
    source = report["source"]
    width, height = source["size"]
    return f"{counted(source['frames'], 'frame')} of {source['name']} at {width} x {height}, {counted(report['threads'], 'thread')}"


def _machine(report: Mapping[str, Any]) -> str:
    facts = report["facts"]
    return f"{facts['machine']} ({facts['cores']} cores)"


def _ratios(report: Mapping[str, Any]) -> dict[str, tuple[float, str]]:
    if report["schema"] == NETS:
        names = {f"{row['model']} in {row['engine']}": row for row in report["nets"]}
        return {name: (row["ratio_to_baseline"]["median"], "lower") for name, row in names.items()}
    ratios = {}
    for name, row in [(row["name"], row) for row in report["pipelines"]] + [
        (name_of(cell), cell) for cell in report["matrix"]["cells"]
    ]:
        if row["ratio_to_baseline"] is not None:
            ratios[f"frames/s of {name}"] = row["ratio_to_baseline"]["median"], "higher"
            ratios[f"CPU time of {name}"] = row["cpu_to_baseline"]["median"], "lower"
    return ratios
