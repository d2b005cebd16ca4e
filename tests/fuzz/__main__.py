"""`python -m fuzz`: a long run with many inputs of each kind."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

COUNTS = {"configs": 10_000, "pictures": 10_000, "models": 1_000, "cascades": 1_000, "videos": 1_000, "requests": 3_000}


@click.command()
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(COUNTS)), help="Kind of input; repeatable.  [default: all]")
@click.option("--count", type=click.IntRange(1), help="Inputs of each kind.  [default: 1000 to 10000, by kind]")
@click.option("--first", type=click.IntRange(0), default=0, help="Number of the first input to run.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the generators.")
@click.option("--seconds", type=float, default=10.0, show_default=True, help="Longest time for an input.")
@click.option(
    "--keep", type=click.Path(path_type=Path), default=Path("out/fuzz"), show_default=True, help="Folder for failing inputs."
)
def main(kinds: tuple[str, ...], count: int | None, first: int, seed: int, seconds: float, keep: Path) -> None:
    """Run damaged and odd inputs through edge-run.

    The exit code is 1 if edge-run crashes, is too slow, takes too much memory or ends with an
    undocumented exit code.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    from .harness import Figures, generators, run_kind

    failed = False
    for kind in kinds or COUNTS:
        if kind not in generators():
            click.echo(f"{kind}: skipped, because it has no generator")
            continue
        shown = time.monotonic()

        def report(figures: Figures) -> None:
            nonlocal shown
            if time.monotonic() - shown > 10:
                shown = time.monotonic()
                click.echo(f"  {figures.kind} {figures.inputs}, {len(figures.failures)} failures", err=True)

        figures = run_kind(kind, seed, count or COUNTS[kind], first=first, keep=keep, seconds=seconds, report=report)
        click.echo(figures.line())
        for result in figures.failures[:20]:
            click.echo(f"  {result.name}: {result.problem}")
        failed |= bool(figures.failures)
    if failed:
        click.echo(f"failing inputs: {keep}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
