"""`edge-bench`: reproducible measurements of speed, accuracy and tracking."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from maskedge.cli.common import CommandGroup, require_runtime, silence_libraries
from maskedge.cli.output_options import OutputFile
from maskedge.version import VERSION

from .curves import attributes, thresholds
from .fleet import fleet
from .history import history
from .live import live
from .output import check_output, write_json
from .reports import check, compare, report, tables
from .speed import cold_start, json_option, nets, roofline, speed
from .tune import tune


@click.group(cls=CommandGroup)
@click.version_option(VERSION)
def main() -> None:
    """Measure the speed, accuracy and tracking of maskedge, and compare reports.

    Exit codes: 0 done, 1 a check found a difference or a measurement failed, 2 wrong usage or unusable data, 3 a video cannot be
    read, 4 a model was refused, 5 a file cannot be written.
    """


@main.command(short_help="Measure accuracy on labelled pictures.")
@click.option(
    "--scenes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="CSV of labelled boxes: image,xmin,ymin,xmax,ymax,label. Boxes are in pixels, images relative to the CSV file.",
)
@click.option(
    "--backgrounds",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of pictures without people, for the false alarms.",
)
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    metavar="NAME",
    help="Detector: name, cascade (.xml) or model (.onnx). May be repeated.  [default: all named ones]",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Classifier file (.onnx). May be repeated.  [default: the bundled one]",
)
@click.option(
    "--min-face-size", type=click.IntRange(1), metavar="PX", help="Side of the smallest face to find, in pixels of the picture."
)
@click.option("--held-out", is_flag=True, help="Measure only the pictures that the training held out.")
@click.option(
    "--unlabelled",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV in the format of --scenes with faces that it lacks (label: unlabelled). Adds an F1 that ignores these faces.",
)
@click.option(
    "--relabel-scenes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV of reviewed boxes, in the format of --scenes. It replaces labels of the same boxes; the label unlabelled excludes a "
    "face.",
)
@click.option(
    "--rotate",
    "degrees",
    type=click.IntRange(-180, 180),
    default=0,
    metavar="DEGREES",
    help="Rotate the pictures clockwise, as from a tilted camera.",
)
@json_option
@click.option(
    "--html",
    "html_path",
    type=OutputFile(),
    help="HTML page with curves and crops of errors to write. It shows people from the data: keep it private.",
)
def accuracy(
    scenes: Path,
    backgrounds: Path | None,
    detectors: tuple[str, ...],
    models: tuple[Path, ...],
    min_face_size: int | None,
    held_out: bool,
    unlabelled: Path | None,
    relabel_scenes: Path | None,
    degrees: int,
    json_path: Path | None,
    overwrite: bool,
    html_path: Path | None,
) -> None:
    """Measure detection and classification on labelled pictures."""
    silence_libraries()
    with require_runtime():
        from maskedge.vision.detectors import detector_names
        from maskedge_bench.accuracy.accuracy_page import write_accuracy_page
        from maskedge_bench.accuracy.scenes import choose_pipelines, measure_accuracy
        from maskedge_bench.accuracy.tables import accuracy_table
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
            relabel=relabel_scenes,
            degrees=degrees,
            progress=progress,
        )
    try:
        if html_path:
            write_accuracy_page(html_path, measured, galleries)
    finally:
        # A page that cannot be written must not cost the report.
        write_json(measured, json_path, accuracy_table(measured))
    if html_path:
        click.echo(f"wrote {html_path}")


def _rates(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, ...]:
    """Parse frame rates such as `2,5,12.5`."""
    try:
        rates = tuple(float(part) for part in value.split(",")) if value else ()
    except ValueError:
        rates = (0.0,)
    if not all(0.1 <= rate <= 1000 for rate in rates):
        raise click.BadParameter("give comma-separated frame rates from 0.1 to 1000, such as 2,5,12.5,25,50.")
    return rates


@main.command(short_help="Measure cost, losses and counts of tracking.")
@click.option(
    "--source",
    "uris",
    multiple=True,
    default=["demo"],
    show_default=True,
    metavar="URI",
    help="Video to track faces in. May be repeated.",
)
@click.option(
    "--detector", default="haar", show_default=True, metavar="NAME", help="Detector: name, cascade (.xml) or model (.onnx)."
)
@click.option(
    "--model", type=click.Path(path_type=Path), metavar="FILE", help="Classifier file (.onnx).  [default: the bundled one]"
)
@click.option("--detect-every", type=click.IntRange(1), metavar="N", help="Frames per detection.  [default: that of edge-run]")
@click.option(
    "--rates",
    callback=_rates,
    metavar="R,R,...",
    help="Also measure label stability at these frame rates, such as 2,5,12.5,25,50.",
)
@click.option("--frames", type=click.IntRange(1), metavar="N", help="Number of frames to read of each video.  [default: all]")
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
    """Measure cost, lost faces and people counts of tracking against detection in every frame."""
    silence_libraries()
    with require_runtime():
        from maskedge.vision.pipeline import DETECT_EVERY
        from maskedge_bench.accuracy.tables import rates_table, tracking_table
        from maskedge_bench.accuracy.tracking import measure_tracking
    check_output(json_path)
    with click.progressbar(length=1, label="frames", file=sys.stderr) as bar:

        def progress(length: int | None) -> None:
            bar.length = (length or 1) * len(uris)
            bar.update(1)

        measured = measure_tracking(
            uris, detector, detect_every or DETECT_EVERY, model=model, rates=rates, most=frames, threads=threads, progress=progress
        )
    write_json(measured, json_path, tracking_table(measured), *([rates_table([measured])] if rates else ()))


for _command in (
    *(thresholds, attributes, speed, live, history, fleet, nets, cold_start, roofline, compare, report, check, tables, tune),
):
    main.add_command(_command)
