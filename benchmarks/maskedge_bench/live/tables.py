"""Markdown tables of live runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from maskedge.support.text import counted
from maskedge_bench.markdown import UNKNOWN, Report, machine, markdown_table

from .run import MOST_DROPPED

_HEAD = (
    "processed",
    "dropped",
    "age p50 / p95 / p99 / max",
    "age p99, in frame intervals",
    "loop busy p50 / p95 / p99",
    "CPU of the loop p50 / p95 / p99",
    "age of detections p50 / p95",
    "CPU, of one core",
)


def rows_table(head: Iterable[str], rows: Iterable[tuple[Iterable[str], Report]]) -> str:
    """Return a table of live runs.

    Args:
        head: Headings of the columns that name a run.
        rows: The name of each run in these columns, and its row.
    """
    return markdown_table((*head, *_HEAD), ([*names, *_cells(row)] for names, row in rows))


def _cells(row: Report) -> list[str]:
    age, detections = row["age_ms"], row.get("detection_age_ms")
    return [
        f"{row['processed']:,} of {row['captured']:,}",
        f"{row['dropped'] / max(row['captured'], 1):.1%}",
        f"{' / '.join(f'{age[name]:.1f}' for name in ('p50', 'p95', 'p99', 'max'))} ms",
        f"{age['p99'] * row['rate'] / 1000:.2f}",
        _percentiles(row.get("loop_ms")),
        _percentiles(row.get("loop_cpu_ms")),
        UNKNOWN if detections is None else f"{detections['p50']:.0f} / {detections['p95']:.0f} ms",
        f"{row['cpu_share']:.0%}",
    ]


def _percentiles(figures: Mapping[str, float] | None) -> str:
    return UNKNOWN if figures is None else f"{' / '.join(f'{figures[name]:.1f}' for name in ('p50', 'p95', 'p99'))} ms"


def live_table(report: Report) -> str:
    """Return the runs with one camera."""
    rows = []
    for row in report["rows"]:
        width, height = row["size"]
        faces = str(row["faces"]) if row["faces"] else "none"
        rows.append(((f"`{row['detector']}`", row["mode"], faces, f"{width} x {height}", f"{row['rate']:g}"), row))
    threads = "" if report["threads"] is None else f"{counted(report['threads'], 'thread')}, "
    load = report["before"]["load"]
    busy = "" if load is None else f" Load average before the run: {load:.1f}."
    note = f"Each run: {report['run_seconds']:g} s, {threads}`--detect-every {report['detect_every']}`; {machine(report['facts'])}."
    return f"{rows_table(('detector', 'mode', 'faces', 'frame', 'frames/s'), rows)}\n\n{note}{busy}"


def streams_table(report: Report) -> str:
    """Return the runs with several cameras at a time."""
    rows = [((f"`{row['detector']}`", row["mode"], str(row["streams"])), row) for row in report["streams"]]
    if not rows:
        return ""
    scene = report["streams"][0]
    width, height = scene["size"]
    note = (
        f"Cameras of {width} x {height} pixels at {scene['rate']:g} frames/s with {counted(scene['faces'], 'face')}, in one "
        f"process. A mode ends early at a number of cameras that drop more than {100 * MOST_DROPPED:g} % of their frames."
    )
    return f"{rows_table(('detector', 'mode', 'cameras'), rows)}\n\n{note}"


def live_tables(report: Report) -> str:
    """Return all tables of a live report."""
    return "\n\n".join(table for table in (live_table(report), streams_table(report)) if table)
