"""`edge-train cascade`: a face cascade for OpenCV, trained on faces with and without masks."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import Any

import click

from maskedge.cli.common import Command, require_extra, silence_libraries
from maskedge.cli.output_options import OutputFolder, overwrite_option
from maskedge.support.text import counted

from .options import (
    SEED,
    DataOptions,
    check_out,
    data_options,
    quiet_option,
)

_OUTPUTS = ("cascade.xml", "stages.json", "report.json")
"""Files of a training that must not be overwritten by accident."""


@click.command(cls=Command, short_help="Train a face cascade for edge-run --cascade.")
@data_options(locate=False)
@click.option(
    "--features",
    type=click.Choice(["haar", "lbp"]),
    default="haar",
    show_default=True,
    help="haar: differences of rectangles. lbp: local binary patterns, which are fewer and faster to train.",
)
@click.option(
    "--stages",
    type=click.IntRange(1),
    default=18,
    show_default=True,
    help="Maximum number of stages. Fewer stages find more faces, and more false positives.",
)
@click.option("--positives", type=click.IntRange(100), default=12000, show_default=True, help="Number of face samples.")
@click.option("--negatives", type=click.IntRange(500), default=9000, show_default=True, help="Windows without a face per stage.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of all random draws.")
@click.option("--resume", is_flag=True, help="Continue after the last finished stage of an earlier run with the same options.")
@click.option(
    "--out",
    type=OutputFolder(),
    help="Folder for cascade.xml and report.json.  [default: runs/cascade]",
)
@overwrite_option
@quiet_option
def cascade(
    data: DataOptions,
    resume: bool,
    out: Path | None,
    overwrite: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a cascade that finds masked and unmasked faces: cascade.xml, for edge-run --cascade.

    Each stage learns from false positives of the stages before it, taken from pictures without
    people and from beside the labelled faces. Some pictures with people are held out to measure the
    result. Training takes minutes to half an hour on one core.

    Exit codes: 0 done, 2 wrong usage or unusable data, 5 a file could not be written.
    """
    silence_libraries()
    with require_extra("train"):
        from maskedge_train.cascade.training import CascadeRecipe, train_cascade
        from maskedge_train.shared.lock import lock_folder
    out = out or Path("runs/cascade")
    click.get_current_context().with_resource(lock_folder(out))
    check_out(out, _OUTPUTS, resume=resume, overwrite=overwrite, data=data)
    dataset = data.load()
    line = _Line(quiet)
    report = train_cascade(dataset.pictures, CascadeRecipe(**options), out, resume=resume, progress=line)
    line.end()
    click.echo(f"{counted(len(report['stages']), 'stage')}, {counted(report['features'], 'feature')}, {report['seconds']:.0f} s")
    click.echo("Held-out pictures: stages, longest side of the scan, masked and unmasked faces found, detections per picture")
    for row in report["held_out"]:
        found = "  ".join("-" if row[key] is None else f"{row[key]:.3f}" for key in ("masked_found", "unmasked_found"))
        click.echo(f"  {row['stages']:3}  {row['side']:4}  {found}  {row['candidates']:.1f}")
    command = ["edge-run", "--camera", "0", "--cascade", str(out / "cascade.xml")]
    click.echo(f"Wrote {out / 'cascade.xml'} and {out / 'report.json'}. Next: {shlex.join(command)}")


class _Line:
    """Progress on one line, which is rewritten on a terminal."""

    def __init__(self, quiet: bool) -> None:
        self._shown = sys.stderr.isatty() and not quiet
        self._next = 0.0

    def __call__(self, text: str) -> None:
        """Show `text`, at most ten times per second."""
        if self._shown and time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.1
            click.echo(f"\r\033[K{text}", nl=False, err=True)

    def end(self) -> None:
        """Clear the line."""
        if self._shown:
            click.echo("\r\033[K", nl=False, err=True)
