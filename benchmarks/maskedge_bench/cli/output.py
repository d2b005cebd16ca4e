"""Output of the commands: check the file, print the report, write it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from maskedge.errors import OutputError
from maskedge.support.files import is_folder, write_file
from maskedge.support.text import displayable


def check_output(path: Path | None) -> None:
    """Check that a file can be written, before the measurement starts.

    Raises:
        OutputError: It cannot be written.
    """
    if path is None:
        return
    # Check the folder first. This check does not import the sinks, which load OpenCV.
    if not is_folder(path.parent):
        raise OutputError(f"the folder {displayable(path.parent)} does not exist: create it, or choose another output.")
    from maskedge.sinks.base import check_writable

    check_writable(path)


def finish(report: dict[str, Any], path: Path | None) -> None:
    """Write a report and print it. A partial report ends the process with exit code 130.

    The file comes first: standard output may be a pipe whose reader has ended.

    Raises:
        OutputError: The file or standard output cannot be written.
    """
    from maskedge_bench.report_schemas import write_report
    from maskedge_bench.reports.kinds import to_markdown

    if path is not None:
        write_report(report, path)
    click.echo(to_markdown(report), nl=False)
    if path is not None:
        click.echo(f"\nwrote {path}")
    if report["partial"]:
        click.echo("stopped; the report covers the complete rounds", err=True)
        sys.exit(130)


def write_json(report: dict[str, Any], path: Path | None, *tables: str) -> None:
    """Write a report of a kind without a shape (`report_schemas.OTHER_VERSIONS`) if a file is given, and print its tables.

    Raises:
        OutputError: The file or standard output cannot be written.
    """
    if path is not None:
        write_file(path, json.dumps(report, indent=1) + "\n", remedy="choose another --json")
    click.echo("\n\n".join(tables))
    if path is not None:
        click.echo(f"wrote {path}")
