"""`edge-train detector`: a small one-stage network that finds faces with and without masks."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import click

from maskedge.cli.common import Command, require_extra
from maskedge.cli.output_options import overwrite_option
from maskedge.errors import UsageError

from .options import (
    DataOptions,
    build_engine,
    check_out,
    data_options,
    engine_options,
    hold_out_option,
    people_option,
    progress_bar,
    quiet_option,
)

_OUTPUTS = ("detector.ckpt", "last.ckpt", "report.json")
"""Files of a training that must not be overwritten by accident."""


@click.command(cls=Command, short_help="Train the face detector network.")
@data_options(locate=False)
@click.option("--epochs", type=click.IntRange(1), default=80, show_default=True, help="Number of epochs.")
@click.option(
    "--whole-share",
    type=click.FloatRange(0, 1),
    default=0.3,
    show_default=True,
    help="Share of the epochs, at the end, on whole pictures.",
)
@click.option("--batches", type=click.IntRange(1), default=150, show_default=True, help="Steps per epoch.")
@click.option("--batch-size", type=click.IntRange(1), default=48, show_default=True, help="Tiles per step and process.")
@click.option(
    "--learning-rate", type=click.FloatRange(0, min_open=True), default=4e-3, show_default=True, help="Peak learning rate."
)
@click.option("--workers", type=click.IntRange(0), default=1, show_default=True, help="Processes that draw samples.")
@engine_options
@hold_out_option
@people_option
@click.option(
    "--init",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Start from the weights of this checkpoint, or of an .onnx file of edge-export. It is first run on the pictures, "
    "to find unlabelled faces and false positives.",
)
@click.option("--resume", is_flag=True, help="Continue an interrupted run with the same options.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for checkpoints and report.  [default: runs/detector]"
)
@overwrite_option
@quiet_option
def detector(
    data: DataOptions,
    workers: int,
    hold_out: re.Pattern[str] | None,
    people: str | None,
    init: Path | None,
    resume: bool,
    out: Path | None,
    overwrite: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a face detector of 0.12 M parameters on whole pictures with labelled boxes.

    Training uses small tiles of faces, parts of faces and backgrounds first, then whole pictures. A
    tenth of the pictures is held out. With --init, confident detections of the earlier detector
    that have no label are ignored, and its false positives are drawn more often. Training takes two
    hours on one core, minutes on a GPU. Writes detector.ckpt (averaged weights), last.ckpt (for
    --resume), report.json and logs.

    Exit codes: 0 done, 2 wrong usage or unusable data, 4 a checkpoint was refused, 5 a file could
    not be written.
    """
    with require_extra("train"):
        from maskedge.modelfile.contract import default_model
        from maskedge.vision.classifier import MaskClassifier
        from maskedge_train.data.near_duplicates import people_pattern
        from maskedge_train.data.split import split_held_out
        from maskedge_train.detector.checkpoint import check_start, load_start, save_weights, store_card
        from maskedge_train.detector.evaluate import measure_detector
        from maskedge_train.detector.hard_examples import mine_hard_examples
        from maskedge_train.detector.samples import load_scenes
        from maskedge_train.detector.training import DetectorRecipe, sample_tiles, train_detector
        from maskedge_train.shared.lock import lock_folder
    out = out or Path("runs/detector")
    click.get_current_context().with_resource(lock_folder(out))
    check_out(out, _OUTPUTS, resume=resume, overwrite=overwrite, start=init)
    if init:
        check_start(init)
    dataset = data.load()
    learn, measured, source = split_held_out(dataset.pictures, hold_out=hold_out, people=people_pattern(people))
    if hold_out and not source:
        raise UsageError(f"no picture of the scenes and backgrounds has a file name that matches {hold_out.pattern!r}.")
    with progress_bar(len(dataset.pictures), "Reading pictures", quiet) as step:
        read = load_scenes(learn, step)
        held = load_scenes(measured, step)
        of_source = load_scenes(source, step)
    start = load_start(init, sample_tiles(read, options["seed"])) if init else None
    if start is not None:
        with progress_bar(len(read), "Mining hard examples", quiet) as step:
            read = mine_hard_examples(start, MaskClassifier(default_model()), read, step)
    recipe = DetectorRecipe(
        batches=options["batches"],
        tile_batch=options["batch_size"],
        learning_rate=options["learning_rate"],
        whole_share=options["whole_share"],
    )
    engine = build_engine(options, patience=options["epochs"], quiet=quiet)
    trained = train_detector(
        ([scene for scene in read if len(scene.boxes)], [scene for scene in read if not len(scene.boxes)]),
        held,
        recipe,
        engine,
        out,
        data={
            "data": dataset.digest,
            **({"hold_out": hold_out.pattern} if hold_out else {}),
            **({"people": people} if people else {}),
            **({"init": hashlib.sha256(init.read_bytes()).hexdigest()} if init else {}),
        },
        resume=resume,
        workers=workers,
        start=start,
    )
    if trained is None:
        return  # a helper process of a distributed run
    last, history = trained
    checkpoint = out / "detector.ckpt"
    save_weights(last, checkpoint)
    report = measure_detector(checkpoint, held, out, history=history, data=dataset.to_card(), source=of_source)
    store_card(checkpoint, report)
    click.echo(f"{report['parameters']:,} parameters, {len(history)} epochs in {report['train_seconds']:.0f} s")
    _print_curve("Held-out pictures", report["curve"])
    if hold_out:
        _print_curve(f"Pictures of {hold_out.pattern}", report["held_out_source"]["curve"])
    click.echo(f"Wrote {checkpoint} and {out / 'report.json'}. Next: edge-export {checkpoint} -o detector.onnx")


def _print_curve(name: str, curve: list[dict[str, Any]]) -> None:
    click.echo(f"{name}: longest side, score threshold, masked and unmasked faces found, false positives per picture")
    for row in curve:
        found = "  ".join("-" if row[key] is None else f"{row[key]:.3f}" for key in ("masked_found", "unmasked_found"))
        click.echo(f"  {row['side']:4}  {row['score']:.2f}  {found}  {row['false_alarms']:.2f}")
