"""`edge-bench`: figures that anyone can repeat with one command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from maskedge.cli.common import CommandGroup, require_runtime, silence_libraries
from maskedge.errors import OutputError
from maskedge.files import write_file


@click.group(cls=CommandGroup)
@click.version_option(package_name="maskedge")
def main() -> None:
    """Measure maskedge."""


@main.command()
@click.option(
    "--source",
    "uri",
    default="demo",
    show_default=True,
    metavar="URI",
    help="Frames to run on: demo, a video file, a folder of pictures.",
)
@click.option("--frames", type=click.IntRange(1), default=150, show_default=True, help="Frames to take.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Counted rounds of each pipeline, in turn.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of ONNX Runtime and OpenCV.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the report here.")
def speed(uri: str, frames: int, rounds: int, threads: int, json_path: Path | None) -> None:
    """Compare the default with the original pipeline: same frames, same run, per stage."""
    silence_libraries()
    with require_runtime():
        from .speed import conditions, load_frames, measure, table
    _check_folder(json_path)
    loaded = load_frames(uri, frames)
    with click.progressbar(length=rounds, label="rounds", file=sys.stderr) as bar:
        report = measure(loaded, rounds, threads, progress=lambda _: bar.update(1))
    click.echo(table(report))
    click.echo(f"\n{conditions(report)}")
    _write(report, json_path)


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
@click.option("--model", type=click.Path(path_type=Path), metavar="FILE", help="Classifier .onnx file.  [default: the bundled one]")
@click.option("--min-face", type=click.IntRange(1), metavar="PX", help="Smallest face to find, in pixels of the picture.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the report here.")
@click.option(
    "--html",
    "html_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a page with curves and pictures of what went wrong: it shows the people of the data, keep it to yourself.",
)
def accuracy(
    scenes: Path,
    backgrounds: Path | None,
    detectors: tuple[str, ...],
    model: Path | None,
    min_face: int | None,
    json_path: Path | None,
    html_path: Path | None,
) -> None:
    """Measure the whole chain, faces found and told apart, on labelled pictures."""
    silence_libraries()
    with require_runtime():
        from maskedge.pipeline import DETECTORS

        from .accuracy import accuracy_table, choose_pipelines, measure_accuracy
        from .accuracy_page import write_accuracy_page
    _check_folder(json_path)
    _check_folder(html_path, "--html")
    with click.progressbar(length=1, label="pictures", file=sys.stderr) as bar:

        def progress(total: int) -> None:
            bar.length = total
            bar.update(1)

        report, galleries = measure_accuracy(
            scenes, backgrounds, choose_pipelines(detectors or DETECTORS, model), min_face=min_face, progress=progress
        )
    click.echo(accuracy_table(report))
    _write(report, json_path)
    if html_path:
        write_accuracy_page(html_path, report, galleries)
        click.echo(f"wrote {html_path}")


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
@click.option("--frames", type=click.IntRange(1), metavar="N", help="Frames to take of each video.  [default: all]")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of ONNX Runtime and OpenCV.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the report here.")
def tracking(
    uris: tuple[str, ...],
    detector: str,
    model: Path | None,
    detect_every: int | None,
    frames: int | None,
    threads: int,
    json_path: Path | None,
) -> None:
    """Measure what tracks save and lose against detecting in every frame, and whom they count."""
    silence_libraries()
    with require_runtime():
        from maskedge.pipeline import DETECT_EVERY

        from .tracking import measure_tracking, tracking_table
    _check_folder(json_path)
    with click.progressbar(length=1, label="frames", file=sys.stderr) as bar:

        def progress(length: int | None) -> None:
            bar.length = (length or 1) * len(uris)
            bar.update(1)

        report = measure_tracking(
            uris, detector, detect_every or DETECT_EVERY, model=model, most=frames, threads=threads, progress=progress
        )
    click.echo(tracking_table(report))
    _write(report, json_path)


@main.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--rounds", type=click.IntRange(1), default=9, show_default=True, help="Counted rounds of each model, in turn.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Faces a call.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of ONNX Runtime.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the report here.")
def nets(models: tuple[Path, ...], rounds: int, batch: int, threads: int, json_path: Path | None) -> None:
    """Compare the time that classifier files take for a face with that of the original network."""
    with require_runtime():
        from .nets import measure_nets, nets_table
    _check_folder(json_path)
    report = measure_nets(models, rounds, batch, threads)
    click.echo(nets_table(report))
    _write(report, json_path)


@main.command()
@click.option("--rounds", type=click.IntRange(1), default=9, show_default=True, help="Counted starts.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the report here.")
def start(rounds: int, json_path: Path | None) -> None:
    """Measure the cold start of edge-run, and its memory."""
    with require_runtime():
        from .start import measure_start, start_table
    _check_folder(json_path)
    report = measure_start(rounds)
    click.echo(start_table(report))
    _write(report, json_path)


def _check_folder(path: Path | None, option: str = "--json") -> None:
    if path and not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist: create it, or choose another {option}.")


def _write(report: dict[str, Any], path: Path | None) -> None:
    if path is None:
        return
    write_file(path, json.dumps(report, indent=1) + "\n")
    click.echo(f"wrote {path}")


@main.command()
@click.option(
    "--readme",
    type=click.Path(exists=True, path_type=Path),
    default="README.md",
    show_default=True,
    help="File to update.",
)
@click.option(
    "--results",
    type=click.Path(exists=True, path_type=Path),
    default="benchmarks/results",
    show_default=True,
    help="Reports.",
)
@click.option("--check", is_flag=True, help="Change nothing; exit 1 when a table differs from the reports.")
def tables(readme: Path, results: Path, check: bool) -> None:
    """Write the README's tables from the committed reports."""
    from .tables import update

    differing = update(readme, results, check=check)
    click.echo(f"{readme}: {', '.join(differing) or 'no table'} {'differs' if check else 'updated'}")
    sys.exit(1 if check and differing else 0)
