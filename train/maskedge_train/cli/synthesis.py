"""`edge-train synthesise` and `edge-train composites`: pictures made from other pictures."""

from __future__ import annotations

from pathlib import Path

import click

from maskedge.cli.common import Command, require_extra
from maskedge.cli.output_options import OutputFile, OutputFolder, check_folder, overwrite_option
from maskedge.support.outputs import Named, check_apart
from maskedge.support.text import counted
from maskedge_train.shared.box_file import BoxFile

from .options import progress_bar, quiet_option, relabel_scenes_option, scenes_option


@click.command(cls=Command, short_help="Make training pictures with turned and covered faces.")
@click.argument("landmarks", metavar="LANDMARKS", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@scenes_option
@relabel_scenes_option
@click.option("--out", type=OutputFolder(), required=True, help="Folder to write to.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier set in --out.")
@quiet_option
def synthesise(
    landmarks: Path, scenes: tuple[BoxFile, ...], relabel_scenes: BoxFile | None, out: Path, overwrite: bool, quiet: bool
) -> None:
    """Make pictures with faces turned aside, bent down, or covered above the mouth.

    LANDMARKS is an .npz file with the landmarks of the labelled faces of --scenes, made with
    train/recipes/face_landmarks.py. Faces without landmarks stay as they are. Held-out pictures are left
    out. Writes boxes.csv, for --scenes of a training, and the folder made.

    Exit codes: 0 done, 2 wrong usage or unusable data, 5 a picture could not be written.
    """
    with require_extra("train"):
        from maskedge_train.data.dataset import load_dataset
        from maskedge_train.shared.lock import lock_folder
        from maskedge_train.synthesis.landmarks import read_landmarks
        from maskedge_train.synthesis.pictures import BOXES, FOLDER, make_pictures
    if not scenes:
        raise click.UsageError("give the --scenes that the landmarks belong to.")
    read = [Named("a file of --scenes", file.path) for file in scenes] + [Named("the file of landmarks", landmarks)]
    read += [Named("the file of --relabel-scenes", relabel_scenes.path)] if relabel_scenes else []
    check_apart([Named("--out", out / BOXES)], read)
    click.get_current_context().with_resource(lock_folder(out))
    check_folder(out, (BOXES, FOLDER), overwrite=overwrite)
    found = read_landmarks(landmarks)
    dataset = load_dataset(scenes=scenes, relabel_scenes=relabel_scenes, min_labels=1)
    with progress_bar(len(dataset.pictures), "Making pictures", quiet) as step:
        made = make_pictures(dataset, found, out, progress=step)
    click.echo(
        f"Wrote {counted(made.turned_pictures, 'picture')} with turned faces and {made.covered_pictures:,} with "
        f"covered faces: {made.boxes}"
    )


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
    type=OutputFile(".json", suffix=(".jpg", ".jpeg")),
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
