"""What the commands do with a report: print it, write it, end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from maskedge.errors import OutputError


def check_output(path: Path | None) -> None:
    """Make sure that a file can be written, before anything is measured.

    Raises:
        OutputError: It cannot.
    """
    if path is None:
        return
    # Checked as the device's outputs are, without loading OpenCV for it.
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist: create it, or choose another output.")
    from maskedge.sinks.base import check_writable

    check_writable(path)


def finish(report: dict[str, Any], path: Path | None) -> None:
    """Print a report, write it, and end with exit code 130 when it was stopped in the middle.

    Raises:
        OutputError: It cannot be written.
    """
    from maskedge_bench.report import write_report
    from maskedge_bench.reports.kinds import to_markdown

    click.echo(to_markdown(report), nl=False)
    if path is not None:
        write_report(report, path)
        click.echo(f"\nwrote {path}")
    if report["partial"]:
        click.echo("stopped; what was complete is reported", err=True)
        sys.exit(130)
