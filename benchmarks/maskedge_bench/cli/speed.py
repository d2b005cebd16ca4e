"""`edge-bench speed`, `nets`, `start`, `limits`: what takes how long."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from maskedge.cli.common import Command, require_extra, require_runtime, silence_libraries
from maskedge.cli.output_options import OutputFile, overwrite_option
from maskedge.errors import UsageError

from .output import check_output, finish

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--json` and `--overwrite`."""
    option = click.option("--json", "json_path", type=OutputFile(), help="Write the report here.")
    return option(overwrite_option(command))


class SizeType(click.ParamType):  # type: ignore[type-arg]  # only newer releases of click are generic
    """A size as in `640x480`."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read the size."""
        try:
            width, height = (int(side) for side in str(value).lower().split("x"))
        except ValueError:
            self.fail(f"{value!r} is no size; give it as in 640x480", param, ctx)
        if not 64 <= min(width, height) <= max(width, height) <= 7680:
            self.fail(f"{value} is out of range: sides from 64 to 7680 pixels", param, ctx)
        return width, height


@click.command(cls=Command)
@click.option("--quick", is_flag=True, help="The short version: less than a minute.")
@click.option(
    "--source", "uri", default="demo", show_default=True, metavar="URI", help="Frames: demo, a video file, a folder of pictures."
)
@click.option("--frames", type=click.IntRange(1), default=150, show_default=True, help="Frames to take.")
@click.option("--skip", type=click.IntRange(0), default=0, help="Frames to pass over first.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Counted rounds of the pipelines, in turn.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Threads of ONNX Runtime and OpenCV.")
@click.option(
    "--matrix/--no-matrix", default=True, show_default=True, help="Vary detector, classifier, frame size, faces, threads."
)
@click.option("--full", is_flag=True, help="Matrix: every combination, not one change at a time.")
@click.option("--matrix-rounds", type=click.IntRange(1), default=2, show_default=True, help="Counted rounds of the matrix.")
@click.option("--detector", "detectors", multiple=True, help="Matrix: detectors.  [default: all]")
@click.option(
    "--model",
    "models",
    type=FILE,
    multiple=True,
    help="Matrix: classifier files, of other numbers too.  [default: the bundled one]",
)
@click.option("--size", "sizes", type=SizeType(), multiple=True, help="Matrix: frame sizes.  [default: 320x240 to 1920x1080]")
@click.option("--faces", type=click.IntRange(0, 64), multiple=True, help="Matrix: faces a frame.  [default: 0 1 4 16]")
@click.option("--matrix-threads", type=click.IntRange(1, 64), multiple=True, help="Matrix: threads.  [default: 1 2]")
@click.option("--detect-every", type=click.IntRange(1, 100), multiple=True, help="Matrix: frames to a detection.  [default: 1 2 4]")
@click.option(
    "--live-seconds", type=click.FloatRange(0, 3600), default=4.0, show_default=True, help="Live run of each pipeline; 0: none."
)
@click.option(
    "--live-rate", type=click.FloatRange(1, 1000), default=30.0, show_default=True, help="Frames a second that come then."
)
@click.option("--yunet", type=FILE, help="Peer: OpenCV's YuNet, its model file.")
@click.option(
    "--peer", "adapters", type=FILE, multiple=True, help="Peer: another ONNX face detector, its adapter file (docs/benchmarks.md)."
)
@click.option(
    "--peer-python", type=FILE, help="Peer: face-mask-detector of PyPI, the Python of the environment that `make peers` builds."
)
@json_option
def speed(json_path: Path | None, overwrite: bool, quick: bool, full: bool, matrix: bool, **options: Any) -> None:
    """Compare the pipelines with the original one: same frames, same run, per stage; and what each setting costs."""
    silence_libraries()
    with require_runtime():
        from maskedge.vision.detectors import detector_names
        from maskedge_bench.speed.matrix import Axes
        from maskedge_bench.speed.measure import Plan, measure, steps
    check_output(json_path)
    unknown = set(options["detectors"]) - set(detector_names())
    if unknown:
        raise UsageError(f"there is no detector {', '.join(sorted(unknown))}; known are {', '.join(detector_names())}.")
    axes = Axes(full=full)
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


@click.command(cls=Command)
@click.argument("models", nargs=-1, required=True, type=FILE)
@click.option("--rounds", type=click.IntRange(1), default=9, show_default=True, help="Counted rounds of each model, in turn.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Faces a call.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Threads of ONNX Runtime and PyTorch.")
@json_option
def nets(models: tuple[Path, ...], rounds: int, batch: int, threads: int, json_path: Path | None, overwrite: bool) -> None:
    """Compare the time that classifier files take for a face with the original network, and with eager PyTorch."""
    with require_runtime():
        from maskedge_bench.speed.nets import measure_nets
    check_output(json_path)
    finish(measure_nets(models, rounds, batch, threads), json_path)


@click.command(cls=Command)
@click.option("--rounds", type=click.IntRange(1), default=9, show_default=True, help="Counted starts.")
@json_option
def start(rounds: int, json_path: Path | None, overwrite: bool) -> None:
    """Measure the cold start of edge-run, and its memory."""
    with require_runtime():
        from maskedge_bench.speed.cold_start import measure_start
    check_output(json_path)
    finish(measure_start(rounds), json_path)


@click.command(cls=Command)
@click.argument("models", nargs=-1, type=FILE)
@json_option
def limits(models: tuple[Path, ...], json_path: Path | None, overwrite: bool) -> None:
    """Set classifier files and detectors beside what this machine can do at its best."""
    silence_libraries()
    with require_runtime():
        from maskedge.modelfile.contract import default_model
        from maskedge.vision.detectors import detector_names
        from maskedge_bench.contestants.pipelines import BASELINE_MODEL
        from maskedge_bench.report import LIMITS, Conditions
        from maskedge_bench.speed.roofline import measure_limits
    check_output(json_path)
    conditions = Conditions()
    files = [BASELINE_MODEL, *(models or (default_model(),))]
    with require_extra("export"):
        measured = measure_limits(files, detector_names())
    finish({**conditions.head(LIMITS, "Physical limit", files), **measured}, json_path)
