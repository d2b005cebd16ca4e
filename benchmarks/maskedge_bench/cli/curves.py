"""`edge-bench thresholds` and `attributes`: the commands that score pictures once and divide them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskedge.cli.common import Command, require_runtime, silence_libraries
from maskedge.errors import UsageError
from maskedge.settings import DOMAINS
from maskedge.support.text import counted

from .output import check_output, write_json
from .speed import FILE, json_option

if TYPE_CHECKING:
    from maskedge_bench.accuracy.scored_pictures import PictureSet, Scorer

_FEW_FACES = 100
"""Faces from which the thresholds of a domain are taken without a note."""
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def _picture_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose pictures and pipelines."""
    options = (
        click.option(
            "--scenes", type=FILE, multiple=True, help="CSV of labelled boxes: image,xmin,ymin,xmax,ymax,label. May be repeated."
        ),
        click.option("--held-out", is_flag=True, help="Of --scenes and --backgrounds, measure only what the training held out."),
        click.option("--test-scenes", type=FILE, multiple=True, help="CSV of labelled boxes of which every picture is measured."),
        click.option(
            "--relabel-scenes",
            type=FILE,
            help="CSV of reviewed boxes, in the format of --scenes. It replaces labels of the same boxes; the label unlabelled "
            "excludes a face.",
        ),
        click.option(
            "--detector",
            "detectors",
            multiple=True,
            default=("haar", "cnn"),
            show_default=True,
            metavar="NAME",
            help="Detector: name, cascade (.xml) or model (.onnx). May be repeated.",
        ),
        click.option(
            "--model", type=click.Path(path_type=Path), metavar="FILE", help="Classifier file (.onnx).  [default: the bundled one]"
        ),
    )
    command = json_option(command)
    for option in reversed(options):
        command = option(command)
    return command


def _collect(
    scenes: tuple[Path, ...],
    backgrounds: tuple[Path, ...],
    held_out: bool,
    test_scenes: tuple[Path, ...],
    relabel_scenes: Path | None,
    detectors: tuple[str, ...],
    model: Path | None,
) -> tuple[PictureSet, list[Scorer]]:
    from maskedge_bench.accuracy.scored_pictures import Scorer, collect_pictures

    if not scenes and not test_scenes:
        raise click.UsageError("there are no pictures: give --scenes or --test-scenes.")
    pictures = collect_pictures(scenes, backgrounds, held_out=held_out, test_scenes=test_scenes, relabel=relabel_scenes)
    scorers = [Scorer(detector, model) for detector in detectors]
    names = [scorer.name for scorer in scorers]
    if twice := next((name for name in names if names.count(name) > 1), None):
        # Reports tell detectors apart by their names.
        raise UsageError(f"two of --detector have the name {twice}: leave one out, or copy it to a file of another name.")
    return pictures, scorers


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    with click.progressbar(length=1, label="pictures", file=sys.stderr) as bar:

        def progress(total: int) -> None:
            bar.length = total
            bar.update(1)

        yield progress


def _weights(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Parse weights such as `webcam:^ilc=3`."""
    weights: dict[str, dict[str, float]] = {}
    for value in values:
        found = re.fullmatch(rf"({'|'.join(DOMAINS)}):(.*)=([0-9]+(?:\.[0-9]+)?)", value)
        try:
            pattern = re.compile(found[2]) if found else None
        except re.error:
            pattern = None
        if found is None or pattern is None:
            raise click.BadParameter(
                f"{value[:60]!r} is not a weight: give DOMAIN:REGEX=NUMBER, such as {DOMAINS[0]}:^ilc=3; domains: "
                f"{', '.join(DOMAINS)}."
            )
        weights.setdefault(found[1], {})[found[2]] = float(found[3])
    return weights


@click.command(cls=Command, short_help="Choose face thresholds on curves.")
@_picture_options
@click.option("--backgrounds", type=_FOLDER, multiple=True, help="Folder of pictures without people. May be repeated.")
@click.option(
    "--weight",
    "weights",
    multiple=True,
    callback=_weights,
    metavar="DOMAIN:REGEX=NUMBER",
    help="Weight of the pictures whose file name matches, in the curve of a domain. May be repeated; the first match counts, and "
    "without one the weight is 0.  [default: weights for the sources of the project's data]",
)
def thresholds(
    scenes: tuple[Path, ...],
    held_out: bool,
    test_scenes: tuple[Path, ...],
    relabel_scenes: Path | None,
    detectors: tuple[str, ...],
    model: Path | None,
    json_path: Path | None,
    overwrite: bool,
    backgrounds: tuple[Path, ...],
    weights: dict[str, dict[str, float]],
) -> None:
    """Measure F1, precision, recall and false alarms over the face thresholds.

    The report holds the curve of each detector and domain, and the thresholds balanced, high and
    recall. edge-export annotate writes them into a classifier file, and edge-run --precision picks
    one by name.
    """
    silence_libraries()
    with require_runtime():
        from maskedge_bench.accuracy.tables import thresholds_table
        from maskedge_bench.accuracy.thresholds import measure_thresholds
    check_output(json_path)
    pictures, scorers = _collect(scenes, backgrounds, held_out, test_scenes, relabel_scenes, detectors, model)
    with _progress() as progress:
        report = measure_thresholds(pictures, scorers, weights or None, held_out=held_out, progress=progress)
    write_json(report, json_path, thresholds_table(report))
    few = {row["domain"]: row["faces"] for row in report["rows"] if row["faces"] < _FEW_FACES}
    for domain, faces in few.items():
        click.echo(
            f"note: the thresholds of {domain} are from {counted(faces, 'face')}, and would differ on others: give more pictures.",
            err=True,
        )


@click.command(cls=Command, short_help="Measure accuracy by attributes of the faces.")
@_picture_options
@click.option(
    "--attributes",
    "given",
    type=FILE,
    help="CSV with attributes that cannot be measured, such as glasses: image,xmin,ymin,xmax,ymax,attribute.",
)
def attributes(
    scenes: tuple[Path, ...],
    held_out: bool,
    test_scenes: tuple[Path, ...],
    relabel_scenes: Path | None,
    detectors: tuple[str, ...],
    model: Path | None,
    json_path: Path | None,
    overwrite: bool,
    given: Path | None,
) -> None:
    """Measure F1 by size, light, sharpness, compression, position, crowding, label and source.

    Groups whose F1 is well below that of all faces are marked. edge-export annotate writes them
    into the card of a classifier file.
    """
    silence_libraries()
    with require_runtime():
        from maskedge_bench.accuracy.attributes import measure_attributes
        from maskedge_bench.accuracy.tables import attributes_table
    check_output(json_path)
    pictures, scorers = _collect(scenes, (), held_out, test_scenes, relabel_scenes, detectors, model)
    with _progress() as progress:
        report = measure_attributes(pictures, scorers, given=given, progress=progress)
    write_json(report, json_path, attributes_table(report))
