"""`edge-train detector`: a tiny one-stage network that finds masked, unmasked and badly masked faces."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import click

from maskedge.cli.common import Command, require_extra
from maskedge.cli.output_options import overwrite_option

from .options import (
    backgrounds_option,
    build_engine,
    check_out,
    engine_options,
    face_boxes_option,
    faces_option,
    load,
    progress_bar,
    quiet_option,
    relabel_scenes_option,
    scenes_option,
)

_WRITTEN = ("detector.ckpt", "last.ckpt", "report.json")
"""What a training leaves in its folder, and nobody wants to lose."""


@click.command(cls=Command)
@scenes_option
@relabel_scenes_option
@faces_option
@face_boxes_option
@backgrounds_option
@click.option("--epochs", type=click.IntRange(1), default=80, show_default=True, help="Passes.")
@click.option(
    "--whole-share",
    type=click.FloatRange(0, 1),
    default=0.3,
    show_default=True,
    help="Share of passes, the last, on whole pictures.",
)
@click.option("--batches", type=click.IntRange(1), default=150, show_default=True, help="Steps a pass.")
@click.option("--batch-size", type=click.IntRange(1), default=48, show_default=True, help="Tiles a step and process.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=4e-3, show_default=True, help="Its peak.")
@click.option("--workers", type=click.IntRange(0), default=1, show_default=True, help="Processes that draw samples.")
@engine_options
@click.option(
    "--init",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Go on from the weights of this checkpoint, or of an .onnx file of edge-export; first it looks for faces without a label "
    "and for false alarms.",
)
@click.option("--resume", is_flag=True, help="Go on where a killed run with the same options stopped.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for checkpoints and report.  [default: runs/detector]"
)
@overwrite_option
@quiet_option
def detector(
    scenes: tuple[Path, ...],
    relabel_scenes: Path | None,
    faces: Path | None,
    face_boxes: Path | None,
    backgrounds: Path | None,
    workers: int,
    init: Path | None,
    resume: bool,
    out: Path | None,
    overwrite: bool,
    quiet: bool,
    **options: Any,
) -> None:
    r"""Train a face detector of 0.12 M parameters on whole pictures with labelled boxes.

    First on small tiles around faces, parts of faces and backgrounds, then on whole pictures; a tenth of the pictures only
    measures. With --init, what the earlier detector is sure of and nobody labelled counts as neither face nor anything else, and
    its false alarms are shown more often.
    Two hours on one core, minutes on a GPU. Writes detector.ckpt (averaged weights), last.ckpt (for --resume), report.json, logs.
    Exit codes: 0 done, 2 wrong usage or unusable data, 4 a checkpoint was refused, 5 a file could not be written.
    """
    with require_extra("train"):
        from maskedge.vision.classifier import MaskClassifier
        from maskedge_train.detector.checkpoint import check_start, enter_card, keep_weights, load_start
        from maskedge_train.detector.evaluate import measure_detector
        from maskedge_train.detector.hard_examples import look_again
        from maskedge_train.detector.samples import load_scenes
        from maskedge_train.detector.training import DetectorRecipe, draw_tiles, split, train_detector
        from maskedge_train.shared.lock import lock_folder
    out = out or Path("runs/detector")
    click.get_current_context().with_resource(lock_folder(out))
    check_out(out, _WRITTEN, resume=resume, overwrite=overwrite, start=init)
    if init:
        check_start(init)
    dataset = load(faces, face_boxes, scenes, backgrounds, relabel_scenes)
    learn, measured = split(dataset.pictures)
    with progress_bar(len(dataset.pictures), "reading pictures", quiet) as step:
        read = load_scenes(learn, step)
        held = load_scenes(measured, step)
    start = load_start(init, draw_tiles(read, options["seed"])) if init else None
    if start is not None:
        with progress_bar(len(read), "looking at them", quiet) as step:
            read = look_again(start, MaskClassifier(), read, step)
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
        data={"data": dataset.digest, **({"init": hashlib.sha256(init.read_bytes()).hexdigest()} if init else {})},
        resume=resume,
        workers=workers,
        start=start,
    )
    if trained is None:
        return  # a helper process of a distributed run
    last, history = trained
    checkpoint = out / "detector.ckpt"
    keep_weights(last, checkpoint)
    report = measure_detector(checkpoint, held, out, history=history, data=dataset.to_card())
    enter_card(checkpoint, report)
    click.echo(f"{report['parameters']:,} parameters, {len(history)} epochs in {report['train_seconds']:.0f} s")
    click.echo("on pictures that it did not see: longest side, least score, masked and unmasked found, false alarms a picture")
    for row in report["curve"]:
        found = "  ".join("-" if row[key] is None else f"{row[key]:.3f}" for key in ("masked_found", "unmasked_found"))
        click.echo(f"  {row['side']:4}  {row['score']:.2f}  {found}  {row['false_alarms']:.2f}")
    click.echo(f"wrote {checkpoint} and {out / 'report.json'}; next: edge-export {checkpoint} -o detector.onnx")
