"""`edge-train audit`: problems of a data set."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskedge.cli.common import Command, silence_libraries
from maskedge.cli.output_options import OutputFile, overwrite_option

from .options import people_option, progress_bar, quiet_option

if TYPE_CHECKING:
    from maskedge_train.data.audit import Audit

_EXAMPLES = 5


@click.command(cls=Command, short_help="Find copies, conflicts and damage in a data set.")
@click.argument("data", type=click.Path(path_type=Path))
@people_option
@click.option(
    "--augmented",
    metavar="REGEX",
    default=r"(?i)^augmented",
    show_default=True,
    help="Regular expression that finds augmented copies by their file names.",
)
@click.option("--json", "json_file", type=OutputFile(), metavar="FILE", help="Write all findings as JSON.")
@click.option("--html", "html_file", type=OutputFile(), metavar="FILE", help="Write all findings as a page with pictures.")
@overwrite_option
@quiet_option
def audit(
    data: Path, people: str | None, augmented: str, json_file: Path | None, html_file: Path | None, overwrite: bool, quiet: bool
) -> None:
    r"""Find problems in DATA, a folder with one sub-folder of pictures per label.

    Reports unreadable files, copies (identical, near-identical, mirrored, rotated), label
    conflicts, small pictures and wrong suffixes, and estimates the share of a random test part that
    has a relative in the training part. The exit code is 0 with and without findings.

    File names may identify people: for names such as 0_0_aidai_0014.jpg, give --people
    '^\d+_\d+_(?P<person>[a-z]+)_\d+'.
    """
    silence_libraries()
    from maskedge_train.data.audit import audit_data, list_data
    from maskedge_train.data.near_duplicates import people_pattern
    from maskedge_train.reports.audit_page import write_audit_page

    pattern = people_pattern(people)
    listing = list_data(data)
    with progress_bar(len(listing.files), "Reading and comparing", quiet) as progress:
        found = audit_data(listing, augmented=augmented, people=pattern, progress=progress)
    _print(found)
    if json_file:
        found.save(json_file)
        _echo(f"Wrote {json_file}")
    if html_file:
        write_audit_page(found, html_file)
        _echo(f"Wrote {html_file} ({html_file.stat().st_size / 1e6:.1f} MB)")


def _echo(line: str) -> None:
    # A terminal may not support every character of a file name.
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    click.echo(line.encode(encoding, "backslashreplace").decode(encoding))


def _print(found: Audit) -> None:
    from maskedge.support.text import counted, displayable

    counts = found.counts()
    width = max(len(displayable(label)) for label in counts)
    _echo(f"{displayable(found.listing.folder)}: {counted(len(found.pictures), 'picture')}, {counted(len(counts), 'label')}\n")
    _echo(f"{'Label':{width}}  {'Files':>7}  Readable")
    for label, (files, read) in counts.items():
        _echo(f"{displayable(label):{width}}  {files:7,}  {read:8,}")
    _echo("")
    rows = found.rows()
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        _echo(f"{name:{width}}  {value}")
    _examples("Findings", found.findings())
    _examples("Unreadable files", [f"{name}: {reason}" for name, reason in found.unreadable])
    _examples(
        "Label conflicts, unless the pictures are only similar",
        [f"{conflict.kind}: {', '.join(found.pictures[index].name for index in conflict.members)}" for conflict in found.conflicts],
    )
    _examples("Suffix and content differ", [f"{item.name}: {item.content}" for item in found.mismatches])


def _examples(title: str, lines: Iterable[str]) -> None:
    from maskedge.support.text import displayable

    every = list(lines)
    if every:
        _echo(f"\n{title}:")
    for line in every[:_EXAMPLES]:
        _echo(f"  {displayable(line)}")
    if len(every) > _EXAMPLES:
        _echo(f"  and {len(every) - _EXAMPLES:,} more (--json, --html)")
