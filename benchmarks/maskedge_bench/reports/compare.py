"""Accuracy against speed: F1 and milliseconds of every pipeline, and the Pareto frontier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maskedge.errors import UsageError
from maskedge_bench.conditions import Conditions
from maskedge_bench.json_shape import problems
from maskedge_bench.markdown import Report, markdown_table
from maskedge_bench.report_schemas import COMPARE, INCOMPLETE, SHAPES, SPEED, check_version, load_report, read_json

_ACCURACY = "maskedge.accuracy/"


def compare(accuracy_path: Path, speed_path: Path | None) -> dict[str, Any]:
    """Join an accuracy report with a speed report.

    Args:
        accuracy_path: Report of `edge-bench accuracy`.
        speed_path: Report of `edge-bench speed`. Its pipelines that detect in every frame are
            joined by detector and classifier. None uses the times of the accuracy report.

    Returns:
        The joined report.

    Raises:
        UsageError: A file is not such a report, or the two have no pipeline in common.
    """
    conditions = Conditions()
    accuracy = read_json(accuracy_path)
    check_version(accuracy_path, accuracy)
    if not str(accuracy.get("schema")).startswith(_ACCURACY):
        raise UsageError(f"{accuracy_path} has the schema {accuracy.get('schema')!r}: give a report of edge-bench accuracy.")
    notes: list[str] = []
    try:
        measured = [(row, float(row["together"]["f1"])) for row in accuracy["pipelines"]]
        own = [_row(row, f1, float(row["milliseconds_p50"])) for row, f1 in measured]
        faults = list(problems(own, SHAPES[COMPARE]["rows"], "pipelines"))
        if faults:
            raise ValueError(faults[0])
    except INCOMPLETE as error:
        raise UsageError(
            f"{accuracy_path} is not a report of edge-bench accuracy that this version reads ({type(error).__name__}: {error})."
        ) from error
    time_is = f"the median per picture of the accuracy run ({accuracy.get('scenes')})"
    if speed_path is not None:
        speed = load_report(speed_path, SPEED)
        own = _join(measured, speed["pipelines"], notes)
        width, height = speed["source"]["size"]
        time_is = f"the mean per frame of {speed['source']['name']} at {width} x {height}, with detection in every frame"
        if not own:
            raise UsageError(
                f"{accuracy_path} and {speed_path} have no configuration in common: "
                "measure both with the same detectors and models."
            )
    efficient = frontier([(row["milliseconds"], row["f1"]) for row in own])
    rows = [{**row, "efficient": index in efficient} for index, row in enumerate(own)]
    return {**conditions.head(COMPARE, "Accuracy against speed"), "rows": rows, "time_is": time_is, "notes": notes}


def _row(row: Mapping[str, Any], f1: float, milliseconds: float) -> dict[str, Any]:
    return {
        "name": row["name"],
        "detector": row["detector"],
        "model": row["model"],
        "f1": round(f1, 4),
        "milliseconds": milliseconds,
        "efficient": False,
    }


def _join(
    accuracy: Sequence[tuple[Mapping[str, Any], float]], pipelines: Sequence[Mapping[str, Any]], notes: list[str]
) -> list[dict[str, Any]]:
    times = {(row["detector"], row["model"]): row for row in pipelines if row["detect_every"] == 1}
    rows = []
    for row, f1 in accuracy:
        found = times.get((row["detector"], row["model"]))
        if found is None:
            notes.append(f"{row['name']} has no time in the speed report.")
        elif None not in (digests := (row.get("model_sha256"), found.get("model_sha256"))) and digests[0] != digests[1]:
            notes.append(f"{row['name']} has no time in the speed report, which measured another {row['model']}.")
        else:
            rows.append(_row(row, f1, found["stages_ms"]["total"]["mean"]))
    return rows


def frontier(points: Sequence[tuple[float, float]]) -> set[int]:
    """Return the indices of the Pareto-optimal points (milliseconds, F1).

    A point is optimal if no other point is better in one figure and at least as good in the other.
    """
    return {
        index
        for index, (time, f1) in enumerate(points)
        if not any((t <= time and f > f1) or (t < time and f >= f1) for t, f in points)
    }


def compare_table(report: Report) -> str:
    """Return a joined report as a table, fastest first."""
    ordered = sorted(report["rows"], key=lambda row: row["milliseconds"])
    rows = [
        [row["name"], f"{row['f1']:.3f}", f"{row['milliseconds']:.2f} ms", "yes" if row["efficient"] else "no"] for row in ordered
    ]
    return f"{markdown_table(('pipeline', 'F1', 'time', 'Pareto-optimal'), rows)}\n\nTime is {report['time_is']}."
