"""`edge-train preview`: a picture of training crops."""

from __future__ import annotations

from pathlib import Path

import click

from maskedge.cli.common import Command, require_extra
from maskedge.cli.output_options import OutputFile, overwrite_option

from .options import (
    SEED,
    DataOptions,
    data_options,
    progress_bar,
    quiet_option,
)


@click.command(cls=Command, short_help="Show training crops before and after augmentation.")
@data_options(locate=True)
@click.option(
    "-o",
    "--output",
    type=OutputFile(suffix=(".png", ".jpg", ".jpeg")),
    required=True,
    help="The .png or .jpg file to write.",
)
@overwrite_option
@click.option(
    "--augment",
    type=click.Choice(["camera", "light"]),
    default="camera",
    show_default=True,
    help="Augmentation, see edge-train classifier.",
)
@click.option("--columns", type=click.IntRange(1, 64), default=16, show_default=True, help="Crops per row.")
@click.option("--pictures", type=click.IntRange(1), default=300, show_default=True, help="Maximum number of pictures to use.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of choice and augmentation.")
@quiet_option
def preview(
    data: DataOptions,
    output: Path,
    overwrite: bool,
    augment: str,
    columns: int,
    pictures: int,
    seed: int,
    quiet: bool,
) -> None:
    """Write a grid of training crops, before and after augmentation.

    Each kind of crop has a row of crops as the device cuts them, and a row of augmented crops.

    Exit codes: 0 done, 2 wrong usage or unusable data, 5 the picture could not be written.
    """
    with require_extra("train"):
        from maskedge_train.reports.preview import draw_preview
    dataset = data.load(quiet=quiet)
    with progress_bar(min(pictures, len(dataset.pictures)), "Cutting faces", quiet) as step:
        rows = draw_preview(dataset, output, augment, columns=columns, pictures=pictures, seed=seed, progress=step)
    click.echo(f"Wrote {output}: {', '.join(rows)}")
