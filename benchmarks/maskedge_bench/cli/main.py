"""`edge-bench`: figures that anyone can repeat with one command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from maskedge.cli.common import CommandGroup, require_runtime, silence_libraries
from maskedge.cli.output_options import OutputFile
from maskedge.support.files import write_file

from .output import check_output
from .reports import check, compare, report, tables
from .speed import json_option, limits, nets, speed, start


@click.group(cls=CommandGroup)
@click.version_option(package_name="maskedge")
def main() -> None:
    """Measure maskedge."""


@main.command()
@click.option(
    "--scenes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="CSV of labelled boxes: image,xmin,ymin,xmax,ymax,label (pixels; images relative to the file's folder).",
)
@click.option(
    "--backgrounds",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of pictures without people, to count false alarms.",
)
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    metavar="NAME",
    help="Name, a cascade's .xml or a detector's .onnx file; give it again for more.  [default: all that have a name]",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Classifier .onnx file; give it again to compare several in the same run.  [default: the bundled one]",
)
@click.option("--min-face-size", type=click.IntRange(1), metavar="PX", help="Smallest face to find, in pixels of the picture.")
@click.option("--held-out", is_flag=True, help="Of training data, only the pictures that edge-train keeps from every net.")
@click.option(
    "--unlabelled",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV like that of --scenes, of faces which that one lacks (label: unlabelled): gives F1 with those ignored, besides.",
)
@click.option(
    "--turn",
    "degrees",
    type=click.IntRange(-180, 180),
    default=0,
    metavar="DEGREES",
    help="Turn the pictures clockwise, as a camera sees them that hangs askew.",
)
@json_option
@click.option(
    "--html",
    "html_path",
    type=OutputFile(),
    help="Write a page with curves and pictures of what went wrong: it shows the people of the data, keep it to yourself.",
)
def accuracy(
    scenes: Path,
    backgrounds: Path | None,
    detectors: tuple[str, ...],
    models: tuple[Path, ...],
    min_face_size: int | None,
    held_out: bool,
    unlabelled: Path | None,
    degrees: int,
    json_path: Path | None,
    overwrite: bool,
    html_path: Path | None,
) -> None:
    """Measure the whole chain, faces found and told apart, on labelled pictures."""
    silence_libraries()
    with require_runtime():
        from maskedge.vision.detectors import detector_names
        from maskedge_bench.accuracy.page import write_accuracy_page
        from maskedge_bench.accuracy.scenes import accuracy_table, choose_pipelines, measure_accuracy
    check_output(json_path)
    check_output(html_path)
    with click.progressbar(length=1, label="pictures", file=sys.stderr) as bar:

        def progress(total: int) -> None:
            bar.length = total
            bar.update(1)

        measured, galleries = measure_accuracy(
            scenes,
            backgrounds,
            choose_pipelines(detectors or detector_names(), models),
            min_face_size=min_face_size,
            held_out=held_out,
            unlabelled=unlabelled,
            degrees=degrees,
            progress=progress,
        )
    click.echo(accuracy_table(measured))
    _write(measured, json_path)
    if html_path:
        write_accuracy_page(html_path, measured, galleries)
        click.echo(f"wrote {html_path}")


def _rates(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, ...]:
    """Read `2,5,12.5` as frames a second."""
    try:
        rates = tuple(float(part) for part in value.split(",")) if value else ()
    except ValueError:
        rates = (0.0,)
    if not all(0.1 <= rate <= 1000 for rate in rates):
        raise click.BadParameter("give frames a second from 0.1 to 1000 with commas between, as in 2,5,12.5,25,50.")
    return rates


@main.command()
@click.option(
    "--source",
    "uris",
    multiple=True,
    default=["demo"],
    show_default=True,
    metavar="URI",
    help="Video to track faces in; give it again for more videos.",
)
@click.option(
    "--detector", default="haar", show_default=True, metavar="NAME", help="Name, a cascade's .xml or a detector's .onnx file."
)
@click.option("--model", type=click.Path(path_type=Path), metavar="FILE", help="Classifier .onnx file.  [default: the bundled one]")
@click.option("--detect-every", type=click.IntRange(1), metavar="N", help="Frames to a detection.  [default: as edge-run]")
@click.option(
    "--rates",
    callback=_rates,
    metavar="R,R,...",
    help="Show the videos at these frames a second too: how soon the shown label follows, as in 2,5,12.5,25,50.",
)
@click.option("--frames", type=click.IntRange(1), metavar="N", help="Frames to take of each video.  [default: all]")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of ONNX Runtime and OpenCV.")
@json_option
def tracking(
    uris: tuple[str, ...],
    detector: str,
    model: Path | None,
    detect_every: int | None,
    rates: tuple[float, ...],
    frames: int | None,
    threads: int,
    json_path: Path | None,
    overwrite: bool,
) -> None:
    """Measure what tracks save and lose against detecting in every frame, and whom they count."""
    silence_libraries()
    with require_runtime():
        from maskedge.vision.pipeline import DETECT_EVERY
        from maskedge_bench.accuracy.frame_rates import rates_table
        from maskedge_bench.accuracy.tracking import measure_tracking, tracking_table
    check_output(json_path)
    with click.progressbar(length=1, label="frames", file=sys.stderr) as bar:

        def progress(length: int | None) -> None:
            bar.length = (length or 1) * len(uris)
            bar.update(1)

        measured = measure_tracking(
            uris, detector, detect_every or DETECT_EVERY, model=model, rates=rates, most=frames, threads=threads, progress=progress
        )
    click.echo(tracking_table(measured))
    if rates:
        click.echo(f"\n{rates_table([measured])}")
    _write(measured, json_path)


def _write(report: dict[str, Any], path: Path | None) -> None:
    if path is None:
        return
    write_file(path, json.dumps(report, indent=1) + "\n")
    click.echo(f"wrote {path}")


for _command in (speed, nets, start, limits, compare, report, check, tables):
    main.add_command(_command)
