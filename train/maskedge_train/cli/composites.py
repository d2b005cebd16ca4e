"""`edge-train composites`: the composite faces of the demo clip."""

from __future__ import annotations

from pathlib import Path

import click

from maskedge.cli.common import Command, require_extra
from maskedge.cli.output_options import OutputFile, overwrite_option


@click.command(cls=Command, short_help="Make the composite faces of the demo clip.")
@click.option(
    "--data",
    "--faces",
    "faces",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder with one sub-folder of pictures per label: with_mask, without_mask.",
)
@click.option(
    "-o",
    "--output",
    type=OutputFile(".json"),
    required=True,
    help="The .jpg file to write. A .json file of the same name is written beside it.",
)
@overwrite_option
@click.option("--per-label", type=click.IntRange(1, 16), default=3, show_default=True, help="Composite faces per label.")
def composites(faces: Path, output: Path, overwrite: bool, per_label: int) -> None:
    """Make the composite faces of the demo clip: each is the aligned average of 12 to 16 faces."""
    with require_extra("train"):
        from maskedge_train.data.composites import make_composites
    for composite in make_composites(faces, output, per_label):
        click.echo(f"{composite.label}: average of {composite.faces} faces, correlation {composite.agreement:.2f}")
    click.echo(f"Wrote {output} ({output.stat().st_size / 1000:.0f} kB)")
