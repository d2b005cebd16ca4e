"""`edge-bench speed`, `nets`, `cold-start`, `roofline`: the commands that measure time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from maskedge.cli.common import Command, FloatRange, require_extra, require_runtime, silence_libraries
from maskedge.cli.output_options import OutputFile, overwrite_option
from maskedge.errors import UsageError

from .output import check_output, finish

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
MOST_FRAMES = 10_000
"""Maximum of --frames: as many as the clock of the stages keeps (`maskedge.support.timing.HISTORY`)."""


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options `--json` and `--overwrite`."""
    option = click.option("--json", "json_path", type=OutputFile(), help="JSON file to write the report to.")
    return option(overwrite_option(command))


class SizeType(click.ParamType):  # type: ignore[type-arg]  # ParamType is generic only in newer releases of click
    """A frame size such as `640x480`."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Parse the size."""
        try:
            width, height = (int(side) for side in str(value).lower().split("x"))
        except ValueError:
            self.fail(f"{value!r} is not a size; give it as 640x480", param, ctx)
        if not 64 <= min(width, height) <= max(width, height) <= 7680:
            self.fail(f"{value} is out of range; give sides from 64 to 7680 pixels", param, ctx)
        return width, height


@click.command(cls=Command, short_help="Measure the speed of the pipelines.")
@click.option("--quick", is_flag=True, help="Run the short version, which takes under a minute on an idle PC.")
@click.option(
    "--source",
    "uri",
    default="demo",
    show_default=True,
    metavar="URI",
    help="Source of the frames: demo, a video file or a folder of pictures.",
)
@click.option("--frames", type=click.IntRange(1, MOST_FRAMES), default=150, show_default=True, help="Number of frames.")
@click.option("--skip", type=click.IntRange(0), default=0, show_default=True, help="Number of frames to skip first.")
@click.option(
    "--rounds", type=click.IntRange(1), default=3, show_default=True, help="Counted rounds of the pipelines, interleaved."
)
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Threads of ONNX Runtime and OpenCV.")
@click.option(
    "--matrix/--no-matrix",
    default=True,
    show_default=True,
    help="Measure the cost of detector, classifier, frame size, faces and threads.",
)
@click.option("--full", is_flag=True, help="Matrix: measure every combination of settings instead of one change at a time.")
@click.option("--matrix-rounds", type=click.IntRange(1), default=2, show_default=True, help="Counted rounds of the matrix.")
@click.option("--detector", "detectors", multiple=True, help="Matrix: name of a detector. May be repeated.  [default: all]")
@click.option(
    "--model",
    "models",
    type=FILE,
    multiple=True,
    help="Matrix: classifier file of any precision. May be repeated.  [default: the bundled one]",
)
@click.option(
    "--size", "sizes", type=SizeType(), multiple=True, help="Matrix: frame size. May be repeated.  [default: 320x240 to 1920x1080]"
)
@click.option(
    "--faces", type=click.IntRange(0, 64), multiple=True, help="Matrix: faces per frame. May be repeated.  [default: 0 1 4 16]"
)
@click.option(
    "--matrix-threads",
    type=click.IntRange(1, 64),
    multiple=True,
    help="Matrix: number of threads. May be repeated.  [default: 1 2]",
)
@click.option(
    "--detect-every",
    type=click.IntRange(1, 100),
    multiple=True,
    help="Matrix: frames per detection. May be repeated.  [default: 1 2 4]",
)
@click.option(
    "--live-seconds",
    type=FloatRange(0, 3600),
    default=4.0,
    show_default=True,
    help="Seconds of the live run of each pipeline; 0 omits it.",
)
@click.option("--live-rate", type=FloatRange(1, 1000), default=30.0, show_default=True, help="Frames per second of the live run.")
@click.option("--yunet", type=FILE, help="Peer: model file of OpenCV's YuNet.")
@click.option(
    "--peer",
    "adapters",
    type=FILE,
    multiple=True,
    help="Peer: adapter file of a third-party ONNX face detector (docs/benchmarks.md). May be repeated.",
)
@click.option(
    "--peer-python",
    type=FILE,
    help="Peer: Python of the environment with the package face-mask-detector, which `make peers` builds.",
)
@json_option
def speed(json_path: Path | None, overwrite: bool, quick: bool, full: bool, matrix: bool, **options: Any) -> None:
    """Measure the speed of each pipeline against the original one, and the cost of settings.

    All pipelines process the same frames in interleaved rounds. The report has frames per second,
    CPU time and latency per stage, live runs, start-up time, memory, and the roofline.
    """
    silence_libraries()
    with require_runtime():
        from maskedge.vision.detectors import detector_names
        from maskedge_bench.conditions import unique_names
        from maskedge_bench.speed.matrix import Axes
        from maskedge_bench.speed.measure import Plan, measure, steps
    check_output(json_path)
    unknown = set(options["detectors"]) - set(detector_names())
    if unknown:
        raise UsageError(f"there is no detector {', '.join(sorted(unknown))}: give one of {', '.join(detector_names())}.")
    unique_names("model", dict.fromkeys(options["models"]))
    chosen = {
        "detectors": options.pop("detectors"), "models": options.pop("models"), "sizes": options.pop("sizes"),
        "faces": options.pop("faces"), "threads": options.pop("matrix_threads"), "detect_every": options.pop("detect_every"),
    }  # fmt: skip
    axes = Axes(**{name: tuple(dict.fromkeys(values)) for name, values in chosen.items() if values}, full=full)
    plan = Plan(axes=axes if matrix else None, **options)
    if quick:
        plan = plan.shortened()
    with click.progressbar(length=steps(plan), label="measuring", file=sys.stderr, item_show_func=lambda text: text) as bar:
        report = measure(plan, progress=lambda text: bar.update(1, text))
    finish(report, json_path)


@click.command(cls=Command, short_help="Time classifier files per face.")
@click.argument("models", nargs=-1, required=True, type=FILE)
@click.option("--rounds", type=click.IntRange(1), default=9, show_default=True, help="Counted rounds of each model, interleaved.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Faces per call.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Threads of ONNX Runtime and PyTorch.")
@json_option
def nets(models: tuple[Path, ...], rounds: int, batch: int, threads: int, json_path: Path | None, overwrite: bool) -> None:
    """Time classifier files per face, relative to the original network and to eager PyTorch."""
    with require_runtime():
        from maskedge_bench.speed.nets import measure_nets
    check_output(json_path)
    finish(measure_nets(models, rounds, batch, threads), json_path)


@click.command("cold-start", cls=Command, short_help="Measure start-up time and memory of edge-run.")
@click.option("--rounds", type=click.IntRange(1), default=9, show_default=True, help="Counted starts.")
@json_option
def cold_start(rounds: int, json_path: Path | None, overwrite: bool) -> None:
    """Measure the time from the start of edge-run to its first result, and its peak memory."""
    with require_runtime():
        from maskedge_bench.start.cold_start import measure_cold_start
    check_output(json_path)
    finish(measure_cold_start(rounds), json_path)


@click.command(cls=Command, short_help="Compare stage times with the machine's limit.")
@click.argument("models", nargs=-1, type=FILE)
@json_option
def roofline(models: tuple[Path, ...], json_path: Path | None, overwrite: bool) -> None:
    """Compare the time of classifiers and detectors with the minimum that this machine allows."""
    silence_libraries()
    with require_runtime():
        from maskedge.modelfile.precision import bundled_classifier
        from maskedge.sources import demo
        from maskedge.vision.detectors import detector_names
        from maskedge_bench.conditions import Conditions, unique_names
        from maskedge_bench.contestants.pipelines import BASELINE_MODEL
        from maskedge_bench.report_schemas import ROOFLINE
        from maskedge_bench.speed.roofline import measure_roofline
    check_output(json_path)
    unique_names("model", models)
    conditions = Conditions()
    files = [BASELINE_MODEL, *(models or (bundled_classifier(),))]
    with require_extra("export"):
        import onnx  # noqa: F401  (measure_roofline reads graphs with it)
    measured = measure_roofline(files, detector_names(), demo.draw(150))
    finish({**conditions.head(ROOFLINE, "Roofline", files), **measured}, json_path)
