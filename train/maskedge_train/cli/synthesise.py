"""`edge-train synthesise`: training pictures with turned and covered faces."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from maskedge.cli.common import Command, require_extra
from maskedge.cli.output_options import check_folder
from maskedge_train.shared.box_file import BoxFile

from .options import progress_bar, quiet_option, relabel_scenes_option, scenes_option


@click.command(cls=Command, short_help="Make training pictures with turned and covered faces.")
@click.argument("landmarks", metavar="LANDMARKS", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@scenes_option
@relabel_scenes_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write to.")
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
        from maskedge_train.synthesis.landmarks import read_landmarks
        from maskedge_train.synthesis.pictures import BOXES, FOLDER, make_pictures
    if not scenes:
        raise click.UsageError("give the --scenes that the landmarks belong to.")
    check_folder(out, (BOXES, FOLDER), overwrite=overwrite)
    found = read_landmarks(landmarks)
    dataset = load_dataset(scenes=scenes, relabel_scenes=relabel_scenes, min_labels=1)
    shutil.rmtree(out / FOLDER, ignore_errors=True)
    with progress_bar(len(dataset.pictures), "Making pictures", quiet) as step:
        made = make_pictures(dataset, found, out, progress=step)
    click.echo(f"Wrote {made.turned:,} pictures with turned faces and {made.covered:,} with covered faces: {made.boxes}")
