"""Conditions of a measurement, for the head of every report: machine, load, throttling, commit."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from maskedge.errors import UsageError
from maskedge.support.text import displayable
from maskedge.system.host import host_facts, host_state

BUSY_LOAD = 0.3
"""Load average per core, before the run, from which the machine counts as busy."""
WIDE_SPREAD = 0.25
"""Range of the rounds, as a fraction of their median, from which a figure counts as unsteady."""


@dataclass
class Conditions:
    """State of the machine before a run; `head` adds the state after it."""

    before: dict[str, Any] = field(default_factory=host_state)
    started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    def head(
        self,
        schema: str,
        title: str,
        models: Iterable[Path] = (),
        spreads: Mapping[str, Mapping[str, float]] | None = None,
        *,
        partial: bool = False,
    ) -> dict[str, Any]:
        """Return the head of a report.

        Args:
            schema: Kind and version of the report.
            title: Title of the report. Machine, throttling and an early stop are added to it.
            models: Model files that took part.
            spreads: Median, minimum and maximum of each figure that was measured in rounds, by
                name.
            partial: True if the user stopped the run early.
        """
        facts, after, files = host_facts(), host_state(), list(models)
        marks = ["throttled"] * throttled(self.before, after) + ["partial"] * partial
        return {
            "schema": schema,
            "title": f"{title} on {facts['machine']}" + (f" ({', '.join(marks)})" if marks else ""),
            "time": self.started.isoformat(timespec="seconds"),
            "partial": partial,
            "warnings": warnings(facts["cores"], self.before, after, spreads or {}, partial=partial),
            "facts": {**facts, "maskedge": version("maskedge")},
            "before": self.before,
            "after": after,
            "commit": commit(),
            "models": {name: sha256(path.read_bytes()).hexdigest() for name, path in zip(short_names(files), files, strict=True)},
            "seconds": round((datetime.now(timezone.utc) - self.started).total_seconds(), 1),
        }


def short_names(paths: Iterable[Path]) -> list[str]:
    """Return the shortest end of each path that no other path has, such as `mine/edgenet.onnx`."""
    # A link keeps its own name, because that is the name its user compares.
    whole = [Path(os.path.abspath(path)).parts for path in paths]  # noqa: PTH100

    def unique_end(own: tuple[str, ...]) -> str:
        ends = (own[-length:] for length in range(1, len(own) + 1))
        return "/".join(next(end for end in ends if all(other == own or other[-len(end) :] != end for other in whole)))

    return [unique_end(parts) for parts in whole]


def unique_names(kind: str, paths: Iterable[Path]) -> list[str]:
    """Return `short_names`, which a report tells its rows apart by.

    Args:
        kind: What the paths are, such as `model`, for the message.
        paths: The files. A file in two spellings counts as given twice.

    Raises:
        UsageError: A path is given twice.
    """
    names = short_names(paths)
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"the {kind} {displayable(twice)} is given twice: give each once.")
    return names


def throttled(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Return True if the machine throttled its clock before, during or at the end of a run."""
    events = (after.get("throttle_events") or 0) - (before.get("throttle_events") or 0)
    return bool(_reasons(before, after) or events > 0)


def _reasons(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """Return why the machine throttled its clock during a run, without the reasons of earlier times."""
    now = {*(before.get("throttled_now") or ()), *(after.get("throttled_now") or ())}
    new = {*(after.get("throttled_since_start") or ())} - {*(before.get("throttled_since_start") or ())}
    return now | new


def warnings(
    cores: int,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    spreads: Mapping[str, Mapping[str, float]],
    *,
    partial: bool = False,
) -> list[str]:
    """Return a sentence for each condition that makes the figures less reliable."""
    found = []
    if partial:
        found.append("The run was stopped: this report has complete rounds only.")
    if throttled(before, after):
        reasons = _reasons(before, after)
        listed = f" ({', '.join(sorted(reasons)).replace('_', ' ')})" if reasons else ""
        found.append(f"The machine throttled its clock{listed}: improve cooling or power supply, and measure again.")
    if before.get("on_battery") or after.get("on_battery"):
        found.append("The machine ran on battery, which lowers its speed: plug it in and measure again.")
    load = before.get("load")
    if load is not None and load > BUSY_LOAD * cores:
        found.append(f"The machine was busy before the run (load average {load:.2f} on {cores} cores): stop other programs.")
    wide = {name: part for name, own in spreads.items() if (part := _width(own)) > WIDE_SPREAD}
    if wide:
        worst = max(wide, key=lambda name: wide[name])
        others = f" ({len(wide) - 1} more figures vary as much)" if len(wide) > 1 else ""
        found.append(
            f"The rounds of {worst} range over {wide[worst]:.0%} of their median{others}: "
            "the machine was busy or changed its clock frequency. Rely on ratios rather than times."
        )
    return found


def _width(own: Mapping[str, float]) -> float:
    return (own["max"] - own["min"]) / own["median"] if own["median"] else 0.0


def commit() -> str | None:
    """Return the git commit of this code, or None outside a checkout.

    A `+` at the end marks uncommitted changes.
    """
    here = Path(__file__).parent
    # Ignore a repository that only contains the environment in which this package is installed.
    if _git(here, "rev-parse", "--show-prefix") != f"{here.parent.name}/{here.name}/":
        return None
    return _git(here, "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+") or None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Return the rounded median, minimum and maximum of measurements."""
    return {"median": round(median(values), digits), "min": round(min(values), digits), "max": round(max(values), digits)}
