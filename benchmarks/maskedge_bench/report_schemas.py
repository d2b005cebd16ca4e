"""Schemas of the reports: version check, validation, reading and writing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskedge.errors import UsageError
from maskedge.support.files import read_text, write_file

from .json_shape import ANY, NONE, problems

SPEED = "maskedge.speed/2"
NETS = "maskedge.nets/2"
COLD_START = "maskedge.start/1"
LIVE = "maskedge.live/1"
ROOFLINE = "maskedge.limits/1"
COMPARE = "maskedge.compare/1"
HISTORY = "maskedge.history/1"
FLEET = "maskedge.fleet/1"

_MOST_BYTES = 100_000_000

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
OPTIONAL_HEAD = {
    "time?": str,
    "commit?": (str, NONE),
    "warnings?": [str],
    "facts?": _HEAD["facts"],
    "*": ANY,
}
"""The shape of what a page shows of a report without a shape of its own (`OTHER_VERSIONS`)."""
INCOMPLETE = (KeyError, TypeError, ValueError, AttributeError, IndexError, StopIteration, ArithmeticError)
"""Errors of the tables if a report without a shape lacks a value or has one of another type."""
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
_ROOFLINE_ROW = {
    "name": str,
    "milliseconds": float,
    "multiply_accumulates": (float, NONE),
    "bytes": float,
    "limit_ms": float,
    "bound_by": {"arithmetic", "memory"},
    "fraction": float,
    "fraction_range?": [float, float],
}
_LIVE_FIGURES = {
    "rate": float, "seconds": float, "captured": int, "processed": int, "dropped": int, "age_ms": _STAGE, "cpu_share": float,
}  # fmt: skip
_LIVE_ROW = {
    "detector": str, "mode": {"asynchronous", "synchronous"}, "size": [int, int], "faces": int, "streams": int, **_LIVE_FIGURES,
    "detections": int, "faces_a_frame": float, "age_intervals": _STAGE, "loop_ms": _STAGE, "loop_cpu_ms": _STAGE,
    "detection_age_ms": (_STAGE, NONE),
}  # fmt: skip
_PEAK = {
    "multiply_accumulates_per_second": float, "integer_multiply_accumulates_per_second?": float, "bytes_per_second": float,
}  # fmt: skip
_PEAK_RANGE = {"*": [float, float]}
_FLEET_PART = {"cpu_share": float, "cpu_ms_a_message": float, "memory_mb": float}
_FLEET_LOAD = {
    "devices": int, "seconds": float, "events_per_s": float, "interval_s": float, "messages_per_s": float, "kills": {"*": int},
    "load_before": _NUMBER_OR_NONE, "messages": int, "events": int, "lost": int, "left": int, "doubled": int, "wrong_kinds": int,
    "people_off": int, "bytes_a_row": {"event": float, "statistics": float},
    "delay_s": {"p50": float, "p95": float, "p99": float, "max": float}, "parts": {"*": _FLEET_PART},
}  # fmt: skip
_FLEET_BACKLOG = {
    "events": int, "devices": int, "load_before": _NUMBER_OR_NONE, "seconds": float, "seconds_with_start": float, "commits": int,
    "events_per_s": int, "lost": int, "doubled": int, "cpu_ms_an_event": {"*": float},
}  # fmt: skip
_FLEET_MONTH = {
    "devices": int, "days": int, "minute_rows": int, "gigabytes": float, "fill_seconds": float, "load_before": _NUMBER_OR_NONE,
    "queries": [{"name": str, "rows": int, "kilobytes": float, "first_ms": float, "p50_ms": float, "p95_ms": float}],
}  # fmt: skip
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
        "live": [{"name": str, **_LIVE_FIGURES, "*": ANY}],
        "start": [
            {
                "name": str, "seconds_to_first_answer": _SPREAD, "load_seconds": _SPREAD, "peak_memory_mb": (_SPREAD, NONE),
            }
        ],
        "limits": ({"peak": _PEAK, "peak_range?": _PEAK_RANGE, "rows": [_ROOFLINE_ROW]}, NONE),
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
    COLD_START: {
        **_HEAD,
        "rounds": int,
        "seconds_to_first_answer": _SPREAD,
        "cpu_seconds?": _SPREAD,
        "resident_megabytes": _SPREAD,
        "version_seconds?": _SPREAD,
    },
    LIVE: {
        **_HEAD,
        "quick": bool,
        "threads": (int, NONE),
        "detect_every": int,
        "run_seconds": float,
        "rows": [_LIVE_ROW],
        "streams": [_LIVE_ROW],
    },
    ROOFLINE: {**_HEAD, "peak": _PEAK, "peak_range?": _PEAK_RANGE, "rows": [_ROOFLINE_ROW]},
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
    HISTORY: {
        **_HEAD,
        "cameras": int,
        "days": int,
        "megabytes": float,
        "megabytes_a_camera_month": float,
        "queries": [{"span": str, "bucket": str, "rows": int, "p50_ms": float, "p95_ms": float}],
        "rate": float,
        "run_seconds": float,
        "cpu_share": float,
    },
    FLEET: {
        **_HEAD,
        "load": (_FLEET_LOAD, NONE),
        "crashes": (_FLEET_LOAD, NONE),
        "backlog": (_FLEET_BACKLOG, NONE),
        "growth": ([_FLEET_LOAD], NONE),
        "month": (_FLEET_MONTH, NONE),
    },
}  # fmt: skip
"""The shape of each kind of report, by schema (`json_shape.problems`)."""


OTHER_VERSIONS: Mapping[str, tuple[int, ...]] = {
    "accuracy": (1, 2), "tracking": (1,), "precisions": (1,), "training": (1,), "detector": (1,), "cascade": (1,), "leakage": (1,),
    "thresholds": (1,), "attributes": (1,),
}  # fmt: skip
"""Versions that this release reads, by kind of report, for kinds without a shape in `SHAPES`."""


def validate(report: Any) -> None:
    """Validate a report against its schema.

    Raises:
        ValueError: The report does not match its schema. The message names the first faults.
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
        path: The JSON file.
        kinds: Admitted schemas; none admits every known one.

    Raises:
        UsageError: The file cannot be read, has another schema, or does not match its schema.
    """
    content = read_json(path)
    check_version(path, content)
    schema = content["schema"]
    if kinds and schema not in kinds:
        raise UsageError(f"{path} has the schema {schema!r}, expected {' or '.join(kinds)}: give another file.")
    try:
        validate(content)
    except ValueError as error:
        raise UsageError(f"{path} is not a report that this version reads ({error}): measure again.") from error
    return content


def check_version(path: Path, content: Mapping[str, Any]) -> str:
    """Return the kind of a report, such as `speed`.

    Raises:
        UsageError: The file is not a report of this project, or has a version that cannot be read.
    """
    schema = content.get("schema")
    found = re.fullmatch(r"maskedge\.([a-z]+)/([0-9]{1,9})", schema) if isinstance(schema, str) else None
    versions = {kind: list(known) for kind, known in OTHER_VERSIONS.items()}
    for known in SHAPES:
        kind, _, number = known.removeprefix("maskedge.").partition("/")
        versions.setdefault(kind, []).append(int(number))
    if found is None or found[1] not in versions:
        problem = "has no schema" if schema is None else f"has the schema {str(schema)[:60]!r}"
        raise UsageError(f"{path} is not a report of this project (it {problem}): known kinds are {', '.join(sorted(versions))}.")
    kind, version, newest = found[1], int(found[2]), max(versions[found[1]])
    if version > newest:
        raise UsageError(
            f"{path} has the newer version {version} of maskedge.{kind}, this release reads {newest}: update maskedge."
        )
    if version not in versions[kind]:
        raise UsageError(f"{path} has the older schema {schema}, this release reads maskedge.{kind}/{newest}: measure again.")
    return kind


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UsageError: The file cannot be read or does not hold a JSON object.
    """
    try:
        content = json.loads(read_text(path, _MOST_BYTES))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): give a report of edge-bench.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} cannot be read as JSON ({' '.join(str(error).split())[:120]}): give a report of edge-bench."
        ) from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} does not hold a JSON object: give a report of edge-bench.")
    return content


def write_report(report: dict[str, Any], path: Path) -> None:
    """Validate a report and write it as JSON.

    Raises:
        ValueError: The report does not match its schema.
        OutputError: The file cannot be written.
    """
    validate(report)
    write_file(path, json.dumps(report, indent=1) + "\n", remedy="choose another --json")
