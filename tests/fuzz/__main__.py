"""`python -m fuzz`: the long run."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

COUNTS = {"configs": 10_000, "pictures": 10_000, "models": 1_000, "cascades": 1_000, "videos": 1_000, "requests": 3_000}


@click.command()
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(list(COUNTS)), help="Kind of input; may be repeated.  [default: all]"
)
@click.option("--count", type=click.IntRange(1), help="Inputs a kind.  [default: as make fuzz]")
@click.option("--first", type=click.IntRange(0), default=0, help="Number of the first input that is run.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the generators.")
@click.option("--seconds", type=float, default=10.0, show_default=True, help="Time after which an answer is late.")
@click.option(
    "--keep", type=click.Path(path_type=Path), default=Path("out/fuzz"), show_default=True, help="Folder for inputs that fail."
)
def main(kinds: tuple[str, ...], count: int | None, first: int, seed: int, seconds: float, keep: Path) -> None:
    """Run damaged and odd inputs through edge-run; exit code 1 where one ends otherwise than by a documented exit code in time."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    from .harness import Figures, generators, run_kind

    failed = False
    for kind in kinds or COUNTS:
        if kind not in generators():
            click.echo(f"{kind}: there is no generator, left out")
            continue
        shown = time.monotonic()

        def report(figures: Figures) -> None:
            nonlocal shown
            if time.monotonic() - shown > 10:
                shown = time.monotonic()
                click.echo(f"  {figures.kind} {figures.inputs}, {len(figures.failures)} failures", err=True)

        figures = run_kind(kind, seed, count or COUNTS[kind], first=first, keep=keep, seconds=seconds, report=report)
        click.echo(figures.line())
        for outcome in figures.failures[:20]:
            click.echo(f"  {outcome.name}: {outcome.problem}")
        failed |= bool(figures.failures)
    if failed:
        click.echo(f"the inputs that failed are in {keep}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
