"""`edge-bench live`: the command that measures live sources."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from maskedge.cli.common import Command, FloatRange, require_runtime, silence_libraries
from maskedge.errors import UsageError

from .output import check_output, finish
from .speed import SizeType, json_option


def _numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Parse numbers of cameras such as `1,2,4`."""
    if value is None:
        return None
    try:
        numbers = sorted({int(part) for part in value.split(",")}) if value != "0" else []
    except ValueError:
        numbers = [0]
    if not all(1 <= number <= 64 for number in numbers):
        raise click.BadParameter("give comma-separated numbers of cameras from 1 to 64, such as 1,2,4,8, or 0 for none.")
    return tuple(numbers)


@click.command(cls=Command, short_help="Measure live sources: age of results, drops, CPU.")
@click.option("--quick", is_flag=True, help="Run the short version, which takes under a minute on an idle PC.")
@click.option("--full", is_flag=True, help="Measure every combination of faces, sizes and rates instead of one change at a time.")
@click.option("--detector", "detectors", multiple=True, help="Name of a detector. May be repeated.  [default: haar cnn]")
@click.option(
    "--mode",
    "modes",
    type=click.Choice(["asynchronous", "synchronous"]),
    multiple=True,
    help="Frames do not wait for a detection, or every detection belongs to its frame. May be repeated.  [default: both]",
)
@click.option("--size", "sizes", type=SizeType(), multiple=True, help="Frame size. May be repeated.  [default: 640x480 1280x720]")
@click.option(
    "--faces",
    type=click.IntRange(0, 64),
    multiple=True,
    help="Number of moving faces; 0 is an empty room. May be repeated.  [default: 0 1 4 16]",
)
@click.option(
    "--rate",
    "rates",
    type=FloatRange(1, 1000),
    multiple=True,
    help="Frames per second of the source. May be repeated.  [default: 15 30 60]",
)
@click.option(
    "--streams",
    callback=_numbers,
    metavar="N,N,...",
    help="Numbers of cameras at a time, up to the first one that drops over 1 % of the frames; 0 for none.  [default: 1,2,4,8]",
)
@click.option("--seconds", type=FloatRange(0.5, 3600), default=8.0, show_default=True, help="Seconds of each run.")
@click.option("--threads", type=click.IntRange(1, 64), help="Threads of ONNX Runtime and OpenCV.  [default: those of edge-run]")
@json_option
def live(json_path: Path | None, overwrite: bool, quick: bool, **options: Any) -> None:
    """Measure live sources with real threads.

    Composed frames arrive at a fixed rate, as from a camera. The report has the age of each frame at
    its result, the time that the loop is busy, dropped frames, and CPU time, with one camera and with
    several cameras in one process.
    """
    silence_libraries()
    with require_runtime():
        from maskedge.vision.detectors import detector_names
        from maskedge_bench.live.run import LivePlan, measure
    check_output(json_path)
    unknown = set(options["detectors"]) - set(detector_names())
    if unknown:
        raise UsageError(f"there is no detector {', '.join(sorted(unknown))}: give one of {', '.join(detector_names())}.")
    given: dict[str, Any] = {
        name: tuple(dict.fromkeys(value)) if isinstance(value, tuple) else value
        for name, value in options.items()
        if value not in (None, ()) or (name == "streams" and value is not None)
    }
    plan = LivePlan(**given)
    if quick:
        plan = plan.shortened()
    with click.progressbar(length=plan.steps, label="measuring", file=sys.stderr, item_show_func=lambda text: text) as bar:
        report = measure(plan, progress=lambda text: bar.update(1, text))
    finish(report, json_path)
