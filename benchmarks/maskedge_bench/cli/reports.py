"""`edge-bench compare`, `report`, `check`, `tables`: the commands that use reports."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from maskedge.cli.common import Command, FloatRange, require_runtime
from maskedge.cli.output_options import OutputFile, overwrite_option

from .output import check_output, finish
from .speed import FILE, json_option


@click.command(cls=Command, short_help="Join accuracy and speed; mark the best pipelines.")
@click.option("--accuracy", type=FILE, required=True, help="Report of edge-bench accuracy.")
@click.option("--speed", type=FILE, help="Report of edge-bench speed.  [default: use the times in the accuracy report]")
@json_option
def compare(accuracy: Path, speed: Path | None, json_path: Path | None, overwrite: bool) -> None:
    """Join F1 and milliseconds of each pipeline, and mark the Pareto-optimal ones.

    A pipeline is Pareto-optimal if no other pipeline is better in one figure and at least as good
    in the other figure.
    """
    with require_runtime():
        from maskedge_bench.reports.compare import compare as join
    check_output(json_path)
    finish(join(accuracy, speed), json_path)


@click.command(cls=Command, short_help="Show reports as Markdown or as a page.")
@click.argument("reports", nargs=-1, required=True, type=FILE)
@click.option("-o", "--html", "html", type=OutputFile(), help="HTML page with charts to write.")
@click.option("--markdown", type=OutputFile(), help="Markdown file to write.  [default: standard output]")
@overwrite_option
def report(reports: tuple[Path, ...], html: Path | None, markdown: Path | None, overwrite: bool) -> None:
    """Show reports as Markdown or as an HTML page.

    Two or more speed reports are compared side by side.
    """
    from maskedge.support.files import write_file

    with require_runtime():
        from maskedge_bench.reports.kinds import load_any, to_markdown

    check_output(html)
    check_output(markdown)
    loaded = [load_any(path) for path in reports]
    text = "\n".join(to_markdown(one) for one in loaded)
    if markdown is not None:
        write_file(markdown, text)
    if html is not None:
        from maskedge_bench.reports.report_page import write_report_page

        write_report_page(html, loaded)
    written = [str(path) for path in (markdown, html) if path is not None]
    click.echo(f"wrote {', '.join(written)}" if written else text)


@click.command(cls=Command, short_help="Compare a report with a baseline report.")
@click.argument("report", type=FILE)
@click.option("--baseline", type=FILE, required=True, help="Baseline report, from the same machine.")
@click.option(
    "--tolerance",
    type=FloatRange(0, 1),
    default=0.15,
    show_default=True,
    help="Admitted worsening of a ratio, as a fraction.",
)
@click.option("--any-machine", is_flag=True, help="Also compare reports of different machines.")
def check(report: Path, baseline: Path, tolerance: float, any_machine: bool) -> None:
    """Compare the ratios of REPORT with those of a baseline report.

    Exit codes: 0 no ratio is worse beyond the tolerance, 1 a ratio is worse, 2 wrong usage.
    """
    from maskedge_bench.reports.check import compare_ratios

    changes, notes = compare_ratios(report, baseline, any_machine=any_machine)
    worse = [change for change in changes if change.regressed(tolerance)]
    for note in notes:
        click.echo(note)
    for change in worse:
        click.echo(f"worse: {change}")
    click.echo(f"{len(worse)} of {len(changes)} ratios are worse than in {baseline} by more than {tolerance:.0%}")
    sys.exit(1 if worse else 0)


@click.command(cls=Command, short_help="Write the tables of the documents.")
@click.option(
    "--page",
    "pages",
    type=FILE,
    multiple=True,
    default=("README.md", "docs/results.md", "docs/fleet-scale.md"),
    show_default=True,
    help="Markdown file to update. May be repeated.",
)
@click.option(
    "--results",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default="benchmarks/results",
    show_default=True,
    help="Reports.",
)
@click.option("--check", is_flag=True, help="Change nothing; exit 1 when a table differs from the reports.")
def tables(pages: tuple[Path, ...], results: Path, check: bool) -> None:
    """Write the tables of README.md, docs/results.md and docs/fleet-scale.md from the committed reports."""
    from maskedge_bench.reports.tables import update

    differs = False
    for page in pages:
        done = update(page, results, check=check)
        for sentence in done.skipped:
            click.echo(f"left as it is: {sentence}", err=True)
        click.echo(f"{page}: {', '.join(done.differing) or 'no table'} {'differs' if check else 'updated'}")
        differs = differs or bool(done.differing)
    sys.exit(1 if check and differs else 0)
