"""`edge-train localise`: the face box of each picture in a data set."""

from __future__ import annotations

from pathlib import Path

import click

from maskedge.cli.common import Command, silence_libraries
from maskedge.cli.output_options import OutputFile, overwrite_option
from maskedge.support.text import counted

from .options import progress_bar, quiet_option


@click.command(cls=Command, short_help="Find the face of each picture and write its box.")
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "--output", type=OutputFile(), required=True, help="The CSV file to write.")
@overwrite_option
@click.option(
    "--model",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Classifier file.  [default: the bundled one]",
)
@click.option(
    "--detector-model",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Detector network file.  [default: the bundled one]",
)
@quiet_option
def localise(data: Path, output: Path, overwrite: bool, model: Path | None, detector_model: Path | None, quiet: bool) -> None:
    """Find the most confident face of each picture in DATA, a folder with one sub-folder per label.

    Use the CSV file as --face-boxes of edge-train classifier, which uses a picture without an entry
    as a whole.

    Exit codes: 0 done, 2 wrong usage or unusable data, 4 the model was refused, 5 the file could
    not be written.
    """
    silence_libraries()
    from maskedge.support.pictures import list_pictures
    from maskedge_train.data.dataset import FACE_LABELS
    from maskedge_train.data.localise import detector_convention
    from maskedge_train.data.localise import localise as find
    from maskedge_train.shared.box_convention import write_stated_boxes

    count = sum(len(list_pictures(data / label)) for label in FACE_LABELS if (data / label).is_dir())
    with progress_bar(count, "Locating faces", quiet) as step:
        found, missed = find(data, model, detector_model, step)
    write_stated_boxes(output, found, detector_convention(detector_model))
    click.echo(f"Found a face in {len(found):,} of {counted(len(found) + len(missed), 'picture')}. Wrote {output}")
