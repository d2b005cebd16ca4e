"""`edge-export`: from a checkpoint to one file that a device can trust."""

from __future__ import annotations

from pathlib import Path

import click

from maskedge.cli.common import Command, require_extra
from maskedge.errors import MaskedgeError, OutputError


@click.command(cls=Command)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The .onnx file to write.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of pictures (with sub-folders): up to 256 of them join the parity check.",
)
@click.option(
    "--compact",
    is_flag=True,
    help="Store large weight matrices as 8-bit integers (the arithmetic stays float32): a quarter of the size for seednet.",
)
@click.version_option(package_name="maskedge")
def main(checkpoint: Path, output: Path, data: Path | None, compact: bool) -> None:
    """Export CHECKPOINT to one self-describing ONNX file.

    PyTorch and ONNX Runtime must give the same answers from the same uint8 crops; on a difference nothing is written, the
    worst crop is saved for study and the exit code is 1. Other exit codes: 0 done, 2 wrong usage, 4 the checkpoint was
    refused, 5 the file cannot be written. A MODELS.json beside the output is brought up to date.
    """
    with require_extra("export"):
        from .export import export_classifier
    if not output.parent.is_dir():
        raise OutputError(f"the folder {output.parent} does not exist: create it, or choose another --output.")
    result = export_classifier(checkpoint, output, data, compact=compact)
    if not result.parity.passed:
        raise MaskedgeError(
            f"the ONNX file answers differently from PyTorch (probabilities by up to {result.parity.worst:.1e}, "
            f"{result.parity.changed} answers changed): nothing was written; the worst crop is in {result.worst_crop}."
        )
    click.echo(
        f"parity: {result.parity.crops} answers compared, greatest difference {result.parity.worst:.1e}, none changed "
        f"({result.real_crops} pictures among the inputs)"
    )
    click.echo(f"wrote {output}: {output.stat().st_size / 1e6:.2f} MB, sha256 {result.sha256}")
