"""`edge-train runs`: a table of many trainings."""

from __future__ import annotations

from pathlib import Path

import click

from maskedge.cli.common import Command, require_extra
from maskedge.cli.output_options import OutputFile, overwrite_option
from maskedge.support.files import write_file


@click.command(cls=Command, short_help="Compare many trainings in a table.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path("runs"))
@click.option("--json", "json_file", type=OutputFile(), metavar="FILE", help="Write the table as JSON; '-' for standard output.")
@click.option("--csv", "csv_file", type=OutputFile(), metavar="FILE", help="Write the table as CSV; '-' for standard output.")
@overwrite_option
def runs(folder: Path, json_file: Path | None, csv_file: Path | None, overwrite: bool) -> None:
    """Compare all trainings in FOLDER (default: runs) and below, finished or not, the newest last.

    Accuracy and macro F1 are measured on the test part of each training. Compare them only for
    equal data. False alarms are the share of the detectors' false positives in the test part that
    the model accepts as faces.

    Exit codes: 0 done, 2 wrong usage or no training there, 5 a file could not be written.
    """
    with require_extra("train"):
        from maskedge_train.reports.runs import find_runs, to_csv, to_json, to_table
    found = find_runs(folder)
    dash = Path("-")
    if dash not in (json_file, csv_file):
        click.echo(to_table(found))
    for path, content in ((json_file, to_json(found)), (csv_file, to_csv(found))):
        if path == dash:
            click.echo(content, nl=False)
        elif path is not None:
            write_file(path, content)
