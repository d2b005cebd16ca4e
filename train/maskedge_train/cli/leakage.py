"""`edge-train leakage`: how much a random split overstates the accuracy."""

from __future__ import annotations

import json
from pathlib import Path

import click

from maskedge.cli.common import Command, FloatRange, require_extra
from maskedge.cli.output_options import OutputFolder, check_folder, overwrite_option
from maskedge.support.files import write_file
from maskedge_train.shared.box_file import BoxFile

from .options import face_boxes_option, faces_option, load, people_option, quiet_option


@click.command(cls=Command, short_help="Compare a random split with a leak-free one.")
@faces_option
@face_boxes_option
@people_option
@click.option("--net", default="seednet", show_default=True, help="Network to train.")
@click.option("--epochs", type=click.IntRange(1), default=30, show_default=True, help="Number of epochs.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Trainings per split.")
@click.option("--learning-rate", type=FloatRange(0, min_open=True), default=1e-3, show_default=True, help="Peak learning rate.")
@click.option(
    "--out",
    type=OutputFolder(),
    default=Path("runs/leakage"),
    show_default=True,
    help="Folder for the checkpoints and leakage.json.",
)
@overwrite_option
@quiet_option
def leakage(
    faces: Path | None,
    face_boxes: BoxFile | None,
    people: str | None,
    net: str,
    epochs: int,
    seeds: int,
    learning_rate: float,
    out: Path,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Train one recipe on a random split and on a group split, and compare the test accuracies.

    The group split keeps related pictures together. The recipe is simple: light augmentation, no
    balancing, no painted occlusions.

    Exit codes: 0 done, 2 wrong usage or unusable data, 5 a file could not be written.
    """
    with require_extra("train"):
        from maskedge_train.classifier.leakage import compare_splits
        from maskedge_train.classifier.nets import build
        from maskedge_train.classifier.training import Recipe
        from maskedge_train.data.near_duplicates import people_pattern
        from maskedge_train.shared.engine import Engine
        from maskedge_train.shared.lock import lock_folder
    build(net, 2)
    click.get_current_context().with_resource(lock_folder(out))
    check_folder(out, ("leakage.json",), overwrite=overwrite)
    dataset = load(faces, face_boxes, (), ())
    train = round(0.7 * len(dataset.pictures))
    recipe = Recipe(net, train, 32, learning_rate, augmentation="light", mixup=0.3, balanced=False)
    result = compare_splits(
        dataset,
        recipe,
        Engine(epochs, patience=epochs, progress=not quiet),
        out,
        seeds=range(seeds),
        people=people_pattern(people),
        progress=lambda name, accuracy: click.echo(f"{name}: {accuracy:.4f}"),
    )
    for by in ("random", "group"):
        figures = result[by]
        mean = sum(figures["accuracy"]) / len(figures["accuracy"])
        click.echo(f"{by} split: accuracy {mean:.4f}; {figures['separated']:.1%} of the test pictures are related to other parts")
    write_file(out / "leakage.json", json.dumps(result, indent=1) + "\n")
    click.echo(f"Wrote {out / 'leakage.json'}")
