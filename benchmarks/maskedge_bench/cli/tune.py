"""`edge-bench tune`: choose the fastest settings of the bundled models for this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from maskedge.cli.common import Command, require_runtime, silence_libraries
from maskedge.errors import UsageError
from maskedge.support.files import is_folder, read_text, write_file
from maskedge.support.text import displayable

from .output import check_output


@click.command(cls=Command, short_help="Choose the fastest precision and threads for this machine.")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="edge.toml to write the choice to. Other lines and comments stay; a missing file is created.",
)
def tune(config: Path | None) -> None:
    """Measure the bundled models in float32 and int8, with one and two threads, in under a minute.

    The choice is printed as lines of an edge.toml, or written with --config.

    Exit codes: 0 done, 2 wrong usage, 4 a bundled model is damaged, 5 the file cannot be written.
    """
    silence_libraries()
    with require_runtime():
        from maskedge.config import MOST_BYTES, load_config
        from maskedge_bench.tune.edit import Values, as_lines, with_values
        from maskedge_bench.tune.measure import MODELS, PRECISIONS, measure_tuning

    def read(path: Path) -> tuple[str, int | None]:
        """Return the text of the file and its number of threads. A file that edge-run refuses is refused."""
        if not path.exists():
            return "", None
        threads = load_config(path, {}, {}).config.limits.threads
        return read_text(path, MOST_BYTES), threads

    if config is not None:
        if not is_folder(config.parent):
            raise UsageError(f"the folder {displayable(config.parent)} does not exist: create it, or choose another --config.")
        check_output(config)
        read(config)
    with click.progressbar(length=100, label="measuring", file=sys.stderr) as bar:
        tuning = measure_tuning(progress=lambda done: bar.update(int(100 * done) - bar.pos))
    click.echo("| model | precision | threads | ms |\n| --- | --- | --- | --- |")
    for (model, precision, count), milliseconds in tuning.milliseconds.items():
        click.echo(f"| {model} | {precision} | {count} | {milliseconds:.2f} |")
    click.echo(f"\nDot products of bytes: {'yes' if tuning.dot_products else 'no'}.")
    for model in MODELS:
        gain = tuning.thread_gain(model)
        second = f"; a second thread {gain:.2f} x" if gain else ""
        click.echo(f"{model}: {PRECISIONS[1]} is {tuning.gain(model):.2f} x as fast as {PRECISIONS[0]}{second}.")
    for model in tuning.refused:
        click.echo(f"{model}: the int8 file returns other outputs on this machine, so float32 is chosen.")
    # The file is read now, because it may have been changed since the start.
    text, threads = read(config) if config is not None else ("", None)
    values: Values = {("model", "precision"): tuning.precision}
    if tuning.threads > 1 or threads is not None:
        values = {**values, ("limits", "threads"): tuning.threads}
    edited = with_values(text, values) if config is not None else None
    if config is not None and edited is not None:
        write_file(config, edited, remedy="choose another --config")
        chosen = ", ".join(f"{section}.{key} = {value}" for (section, key), value in values.items())
        click.echo(f"\nwrote {config}: {chosen}")
        return
    if config is not None:
        click.echo(f"\n{config} is written in a form that cannot be edited safely, so it was not changed.")
    click.echo(f"\nFor edge.toml:\n\n{as_lines(values)}")
