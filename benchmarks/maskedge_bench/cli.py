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

from .cli_reports import check, compare, report, tables
from .cli_speed import limits, nets, speed, start


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
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the report here.")
def accuracy(scenes: Path, backgrounds: Path | None, json_path: Path | None) -> None:
    """Measure the whole chain, faces found and told apart, on labelled pictures."""
    silence_libraries()
    with require_runtime():
        from .accuracy import accuracy_table, measure_accuracy
    _check_folder(json_path)
    with click.progressbar(length=1, label="pictures", file=sys.stderr) as bar:

        def progress(total: int) -> None:
            bar.length = total
            bar.update(1)

        report = measure_accuracy(scenes, backgrounds, progress=progress)
    click.echo(accuracy_table(report))
    _write(report, json_path)


def _check_folder(path: Path | None) -> None:
    if path and not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist: create it, or choose another --json.")


def _write(report: dict[str, Any], path: Path | None) -> None:
    if path is None:
        return
    write_file(path, json.dumps(report, indent=1) + "\n")
    click.echo(f"wrote {path}")


for _command in (speed, nets, start, limits, compare, report, check, tables):
    main.add_command(_command)
