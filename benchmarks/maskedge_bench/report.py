"""The format of the reports: versioned, validated, with the conditions under which they were measured."""

from __future__ import annotations

import json
import re
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
from maskedge.support.files import write_file
from maskedge.system.host import host_facts, host_state

from .schema import ANY, NONE, problems

SPEED = "maskedge.speed/2"
NETS = "maskedge.nets/2"
START = "maskedge.start/1"
LIMITS = "maskedge.limits/1"
COMPARE = "maskedge.compare/1"

BUSY_LOAD = 0.3
"""Load average a core before the run from which a machine counts as busy."""
WIDE_SPREAD = 0.25
"""Range of the rounds, as a fraction of their median, from which a figure counts as unsteady."""

_NUMBER_OR_NONE = (float, NONE)
_SPREAD = {"median": float, "min": float, "max": float}
_STAGE = {"mean": float, "p50": float, "p95": float, "p99": float, "max": float}
_STATE = {"load": _NUMBER_OR_NONE, "temperature_c": _NUMBER_OR_NONE, "frequency_mhz": _NUMBER_OR_NONE, "*": ANY}
_HEAD = {
    "schema": str,
    "title": str,
    "time": str,
    "partial": bool,
    "warnings": [str],
    "facts": {"machine": str, "cores": int, "python": str, "opencv": str, "onnxruntime": str, "*": ANY},
    "before": _STATE,
    "after": _STATE,
    "commit": (str, NONE),
    "models": {"*": str},
    "seconds": float,
}
_FIGURES = {
    "frames_per_second": _SPREAD,
    "ratio_to_baseline": (_SPREAD, NONE),
    "cpu_ms": _SPREAD,
    "cpu_to_baseline": (_SPREAD, NONE),
    "faces_a_frame": float,
    "stages_ms": {"*": _STAGE},
}
_SETTINGS = {"detector": str, "model": str, "detect_every": int, "threads": int}
_PIPELINE = {"name": str, **_SETTINGS, **_FIGURES, "quantiles_ms": [float], "model_sha256": (str, NONE)}
_CELL = {**_SETTINGS, **_FIGURES, "precision": str, "size": [int, int], "faces": int, "frames": int}
_LIMIT = {
    "name": str,
    "milliseconds": float,
    "multiply_accumulates": (float, NONE),
    "bytes": float,
    "limit_ms": float,
    "bound_by": {"arithmetic", "memory"},
    "fraction": float,
}
_PEAK = {"multiply_accumulates_per_second": float, "bytes_per_second": float}
SHAPES: dict[str, dict[str, Any]] = {
    SPEED: {
        **_HEAD,
        "quick": bool,
        "source": {"name": str, "frames": int, "size": [int, int]},
        "rounds": int,
        "threads": int,
        "baseline": str,
        "pipelines": [_PIPELINE],
        "matrix": {"rounds": int, "cells": [_CELL]},
        "cost": [{"pipeline": str, "fixed_ms": float, "face_ms": float, "megapixel_ms": float, "error": float, "points": ANY}],
        "chain": [{"name": str, "frames": int, "frames_per_second": float, "stages_ms": {"*": _STAGE}}],
        "live": [
            {
                "name": str, "rate": float, "seconds": float, "captured": int, "processed": int, "dropped": int,
                "age_ms": _STAGE, "cpu_share": float,
            }
        ],
        "start": [
            {
                "name": str, "seconds_to_first_answer": _SPREAD, "load_seconds": _SPREAD, "peak_memory_mb": (_SPREAD, NONE),
            }
        ],
        "limits": ({"peak": _PEAK, "rows": [_LIMIT]}, NONE),
        "instrumentation": ({"microseconds_a_frame": float, "share_of_a_frame": float}, NONE),
        "notes": [str],
    },
    NETS: {
        **_HEAD,
        "rounds": int,
        "batch": int,
        "threads": int,
        "nets": [
            {
                "model": str, "net": (str, NONE), "engine": str, "milliseconds_a_face": _SPREAD, "ratio_to_baseline": _SPREAD,
                "eager_to_this": (_SPREAD, NONE),
            }
        ],
        "notes": [str],
    },
    START: {**_HEAD, "rounds": int, "seconds_to_first_answer": _SPREAD, "resident_megabytes": _SPREAD},
    LIMITS: {**_HEAD, "peak": _PEAK, "rows": [_LIMIT]},
    COMPARE: {
        **_HEAD,
        "rows": [
            {
                "name": str, "detector": str, "model": str, "f1": float, "milliseconds": float, "efficient": bool,
            }
        ],
        "time_is": str,
        "notes": [str],
    },
}  # fmt: skip
"""What each kind of report holds."""


OTHER_VERSIONS: Mapping[str, tuple[int, ...]] = {
    "accuracy": (1, 2), "tracking": (1,), "precisions": (1,), "training": (1,), "detector": (1,), "cascade": (1,), "leakage": (1,),
}  # fmt: skip
"""Versions that are read of the kinds of reports without a schema here."""


@dataclass
class Conditions:
    """How the machine was before a run, to be told beside how it is after it."""

    before: dict[str, Any] = field(default_factory=host_state)
    started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    def head(
        self,
        schema: str,
        what: str,
        models: Iterable[Path] = (),
        spreads: Mapping[str, Mapping[str, float]] | None = None,
        *,
        partial: bool = False,
    ) -> dict[str, Any]:
        """Give the head of a report.

        Args:
            schema: Its kind and version.
            what: Its title, to which the machine and what went wrong are added.
            models: The files that took part.
            spreads: Median, least and greatest of what was measured in rounds, by name.
            partial: It was stopped in the middle.
        """
        facts, after = host_facts(), host_state()
        marks = ["throttled"] * throttled(self.before, after) + ["partial"] * partial
        return {
            "schema": schema,
            "title": f"{what} on {facts['machine']}" + (f" ({', '.join(marks)})" if marks else ""),
            "time": self.started.isoformat(timespec="seconds"),
            "partial": partial,
            "warnings": warnings(facts["cores"], self.before, after, spreads or {}, partial=partial),
            "facts": {**facts, "maskedge": version("maskedge")},
            "before": self.before,
            "after": after,
            "commit": commit(),
            "models": {path.name: sha256(path.read_bytes()).hexdigest() for path in models},
            "seconds": round((datetime.now(timezone.utc) - self.started).total_seconds(), 1),
        }


def throttled(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Tell whether the machine slowed itself down at the start, at the end or between."""
    now = {*(before.get("throttled_now") or ()), *(after.get("throttled_now") or ())}
    new = {*(after.get("throttled_since_start") or ())} - {*(before.get("throttled_since_start") or ())}
    events = (after.get("throttle_events") or 0) - (before.get("throttle_events") or 0)
    return bool(now or new or events > 0)


def warnings(
    cores: int,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    spreads: Mapping[str, Mapping[str, float]],
    *,
    partial: bool = False,
) -> list[str]:
    """Say in a sentence each what makes the figures less than they could be."""
    found = []
    if partial:
        found.append("The run was stopped: only complete rounds are in this report.")
    if throttled(before, after):
        now = {*(before.get("throttled_now") or ()), *(after.get("throttled_now") or ())}
        words = now | {*(after.get("throttled_since_start") or ())}
        told = f" ({', '.join(sorted(words)).replace('_', ' ')})" if words else ""
        found.append(f"The machine slowed itself down{told}: cool it, or give it a better supply, and measure again.")
    if before.get("on_battery") or after.get("on_battery"):
        found.append("The machine ran on its battery, which saves power at the cost of speed: plug it in and measure again.")
    load = before.get("load")
    if load is not None and load > BUSY_LOAD * cores:
        found.append(f"The machine was busy before the run (load average {load:.2f} on {cores} cores): end what else runs on it.")
    wide = {name: part for name, own in spreads.items() if (part := _width(own)) > WIDE_SPREAD}
    if wide:
        worst = max(wide, key=lambda name: wide[name])
        others = f", and {len(wide) - 1} more vary as much" if len(wide) > 1 else ""
        found.append(
            f"The rounds of {worst} range over {wide[worst]:.0%} of their median{others}: "
            "the machine was busy or its frequency changed; trust the ratios more than the times."
        )
    return found


def _width(own: Mapping[str, float]) -> float:
    return (own["max"] - own["min"]) / own["median"] if own["median"] else 0.0


def commit() -> str | None:
    """Tell the git commit that this code is of, with `+` behind it when files differ; None where it is no checkout."""
    here = Path(__file__).parent
    # A repository that merely holds the environment that this is installed in is another one.
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
    """Give median, least and greatest of some measurements, rounded."""
    return {"median": round(median(values), digits), "min": round(min(values), digits), "max": round(max(values), digits)}


def validate(report: Any) -> None:
    """Compare a report with its schema.

    Raises:
        ValueError: It differs; the text names the first places.
    """
    schema = report.get("schema") if isinstance(report, dict) else None
    if not isinstance(schema, str) or schema not in SHAPES:
        raise ValueError(f"its schema is {schema!r}; known are {', '.join(SHAPES)}")
    faults = list(problems(report, SHAPES[schema]))
    if faults:
        raise ValueError("; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else ""))


def load_report(path: Path, *kinds: str) -> dict[str, Any]:
    """Read a report.

    Args:
        path: Its JSON file.
        kinds: The schemas that will do; all that are known when left out.

    Raises:
        UsageError: It cannot be read, is of another schema, or breaks its own.
    """
    content = read_json(path)
    check_version(path, content)
    schema = content["schema"]
    if kinds and schema not in kinds:
        raise UsageError(f"{path} is of schema {schema!r}, expected {' or '.join(kinds)}: give another file.")
    try:
        validate(content)
    except ValueError as error:
        raise UsageError(f"{path} is no report that this version reads ({error}): measure again.") from error
    return content


def check_version(path: Path, content: Mapping[str, Any]) -> str:
    """Tell the kind of a report, as in `speed`.

    Raises:
        UsageError: It is no report of this project, or of a version that is not read; the text says which.
    """
    schema = content.get("schema")
    found = re.fullmatch(r"maskedge\.([a-z]+)/([0-9]{1,9})", schema) if isinstance(schema, str) else None
    versions = {kind: list(known) for kind, known in OTHER_VERSIONS.items()}
    for known in SHAPES:
        kind, _, number = known.removeprefix("maskedge.").partition("/")
        versions.setdefault(kind, []).append(int(number))
    if found is None or found[1] not in versions:
        what = "has no schema" if schema is None else f"is of schema {str(schema)[:60]!r}"
        raise UsageError(f"{path} is no report of this project (it {what}): known are {', '.join(sorted(versions))}.")
    kind, version, newest = found[1], int(found[2]), max(versions[found[1]])
    if version > newest:
        raise UsageError(f"{path} is of the newer version {version} of maskedge.{kind}, this one reads {newest}: update maskedge.")
    if version not in versions[kind]:
        raise UsageError(f"{path} is of the older schema {schema}, this version reads maskedge.{kind}/{newest}: measure again.")
    return kind


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UsageError: It is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} cannot be read as JSON ({' '.join(str(error).split())[:120]}): give a report of edge-bench."
        ) from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds no JSON object: give a report of edge-bench.")
    return content


def write_report(report: dict[str, Any], path: Path) -> None:
    """Write a report that keeps its schema.

    Raises:
        OutputError: It cannot be written.
    """
    validate(report)
    write_file(path, json.dumps(report, indent=1) + "\n", remedy="choose another --json")
