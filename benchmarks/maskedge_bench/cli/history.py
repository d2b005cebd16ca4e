"""`edge-bench history`: the command that measures the history."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from maskedge.cli.common import Command, FloatRange, require_runtime, silence_libraries

from .output import check_output, finish
from .speed import json_option


@click.command(cls=Command, short_help="Measure the history: size, queries, CPU.")
@click.option("--cameras", type=click.IntRange(1, 64), default=8, show_default=True, help="Number of cameras.")
@click.option("--days", type=click.IntRange(1, 3650), default=30, show_default=True, help="Days of the file.")
@click.option("--seconds", type=FloatRange(1, 3600), default=30.0, show_default=True, help="Seconds of the live part.")
@json_option
def history(cameras: int, days: int, seconds: float, json_path: Path | None, overwrite: bool) -> None:
    """Fill a history as the cameras of a shop do, and measure it.

    The report has the size of the file, the time of the queries of the status page, and the CPU time
    of counting live frames.
    """
    silence_libraries()
    with require_runtime():
        from maskedge_bench.history.measure import SPANS, measure_history
    check_output(json_path)
    with click.progressbar(length=days + len(SPANS) + 1, label="measuring", file=sys.stderr, item_show_func=str) as bar:
        report = measure_history(cameras, days, seconds, progress=lambda text: bar.update(1, text))
    finish(report, json_path)
