"""Markdown table of the history."""

from __future__ import annotations

from maskedge.support.text import counted
from maskedge_bench.markdown import Report, machine, markdown_table


def history_table(report: Report) -> str:
    """Return the time of the queries, and a sentence with the size of the file and the CPU time."""
    head = ("chart", "bucket", "rows", "query p50", "query p95")
    rows = [
        [query["span"], query["bucket"], f"{query['rows']:,}", f"{query['p50_ms']:.1f} ms", f"{query['p95_ms']:.1f} ms"]
        for query in report["queries"]
    ]
    note = (
        f"{counted(report['cameras'], 'camera')}, {counted(report['days'], 'day')}: {report['megabytes']:.1f} MB, "
        f"{report['megabytes_a_camera_month']:.2f} MB for a camera and month. Counting {report['rate']:g} frames/s of each camera "
        f"takes {report['cpu_share']:.2%} of one core. {machine(report['facts'])}."
    )
    return f"{markdown_table(head, rows)}\n\n{note}"
