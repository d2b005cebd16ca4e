"""`edge-train detector`: a small one-stage network that finds faces with and without masks."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskedge.cli.common import Command, FloatRange, require_extra
from maskedge.cli.output_options import OutputFolder, overwrite_option
from maskedge.errors import UsageError
from maskedge.support.text import counted, displayable

from .options import (
    DataOptions,
    StartFile,
    build_engine,
    check_out,
    data_options,
    engine_options,
    folders_argument,
    hold_out_option,
    is_given,
    people_option,
    progress_bar,
    quiet_option,
)

if TYPE_CHECKING:
    from maskedge_train.data.dataset import DataSet, Picture

_OUTPUTS = ("detector.ckpt", "best.ckpt", "last.ckpt", "report.json")
"""Files of a training that must not be overwritten by accident."""


@click.command(cls=Command, short_help="Train the face detector network.")
@folders_argument
@data_options(locate=False)
@click.option("--epochs", type=click.IntRange(1), default=80, show_default=True, help="Number of epochs.")
@click.option(
    "--whole-share",
    type=FloatRange(0, 1),
    default=0.3,
    show_default=True,
    help="Share of the epochs, at the end, on whole pictures.",
)
@click.option("--batches", type=click.IntRange(1), default=150, show_default=True, help="Steps per epoch.")
@click.option("--batch-size", type=click.IntRange(1), default=48, show_default=True, help="Tiles per step and process.")
@click.option("--learning-rate", type=FloatRange(0, min_open=True), default=4e-3, show_default=True, help="Peak learning rate.")
@click.option("--workers", type=click.IntRange(0), default=1, show_default=True, help="Processes that draw samples.")
@engine_options
@hold_out_option
@people_option
@click.option(
    "--init",
    type=StartFile("default_detector"),
    help="Start from the weights of this checkpoint, or of an .onnx file of edge-export. It is first run on the pictures, "
    "to find unlabelled faces and false positives. bundled: the bundled network. none: fresh weights.",
)
@click.option(
    "--fine-tune/--no-fine-tune",
    default=None,
    help="Adapt the bundled network, or that of --init, to a few pictures in minutes, without making it worse on others. "
    "The default with FOLDER and at most 300 pictures with faces.",
)
@click.option("--resume", is_flag=True, help="Continue an interrupted run with the same options.")
@click.option("--out", type=OutputFolder(), help="Folder for checkpoints and report.  [default: runs/detector]")
@overwrite_option
@quiet_option
def detector(
    folders: tuple[Path, ...],
    data: DataOptions,
    workers: int,
    hold_out: re.Pattern[str] | None,
    people: str | None,
    init: Path | None,
    fine_tune: bool | None,
    resume: bool,
    out: Path | None,
    overwrite: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a face detector of 0.12 M parameters on whole pictures with labelled boxes.

    Training uses small tiles of faces, parts of faces and backgrounds first, then whole pictures. A
    tenth of the pictures is held out. FOLDER is a folder with a CSV file of boxes, with pictures
    without people, or of faces; the command prints what it found. With --init, confident detections of the earlier detector
    that have no label are ignored, and its false positives are drawn more often. Training takes two
    hours on one core, minutes on a GPU; --fine-tune takes minutes on one core, and holds out a
    fifth of the pictures to measure the network before and after. Writes detector.ckpt (averaged weights), last.ckpt (for
    --resume), best.ckpt (the epoch with the lowest validation loss), report.json and logs.

    Exit codes: 0 done, 2 wrong usage or unusable data, 4 a checkpoint was refused, 5 a file could
    not be written.
    """
    with require_extra("train"):
        from maskedge.modelfile.contract import default_detector, default_model
        from maskedge.vision.classifier import MaskClassifier
        from maskedge_train.data.near_duplicates import people_pattern
        from maskedge_train.data.split import split_held_out
        from maskedge_train.detector.checkpoint import check_start, load_start, save_weights, store_card
        from maskedge_train.detector.evaluate import measure_detector
        from maskedge_train.detector.fine_tuning import EPOCHS, FEW, RECIPE, blend, draw_empty, split_few
        from maskedge_train.detector.hard_examples import mine_hard_examples
        from maskedge_train.detector.samples import load_scenes
        from maskedge_train.detector.training import DetectorRecipe, check_faces, sample_tiles, train_detector
        from maskedge_train.shared.lock import lock_folder
    ctx = click.get_current_context()
    out = out or Path("runs/detector")
    if fine_tune and is_given(ctx, "init") and init is None:
        raise click.UsageError("--fine-tune starts from a network: leave out --init none.")
    if fine_tune and hold_out:
        raise click.UsageError("--fine-tune holds out a fifth of the pictures: leave out --hold-out.")
    if folders:
        data, found = data.complete(folders)
        people = people or found.people
        for line in found.lines:
            click.echo(line)
    ctx.with_resource(lock_folder(out))
    check_out(out, _OUTPUTS, resume=resume, overwrite=overwrite, start=init, data=data)
    if init:
        check_start(init)
    dataset = data.load(min_labels=1)  # a detector does not tell labels apart
    if fine_tune is None:
        shown = sum(bool(picture.faces) for picture in dataset.pictures if picture.source == "scenes")
        fine_tune = bool(folders) and shown <= FEW and not (is_given(ctx, "init") or hold_out)
    options |= {"fine_tune": fine_tune}
    chosen = {
        "batches": options["batches"],
        "tile_batch": options["batch_size"],
        "learning_rate": options["learning_rate"],
        "whole_share": options["whole_share"],
    }
    recipe = DetectorRecipe(**chosen)
    source: list[Picture] = []
    if fine_tune:
        init = init or default_detector()
        check_start(init)
        check_faces(dataset.pictures, fine_tune=True)
        dataset = _in_convention_of(init, dataset)
        names = {"tile_batch": "batch_size"}
        recipe = replace(RECIPE, **{name: value for name, value in chosen.items() if is_given(ctx, names.get(name, name))})
        options["epochs"] = options["epochs"] if is_given(ctx, "epochs") else EPOCHS
        click.echo(f"training: fine-tuning of {displayable(init)}, {counted(options['epochs'] * recipe.batches, 'step')}")
        learn, measured = split_few(dataset.pictures)
    else:
        learn, measured, source = split_held_out(dataset.pictures, hold_out=hold_out, people=people_pattern(people))
    check_faces(learn, fine_tune=fine_tune)
    if hold_out and not source:
        raise UsageError(f"no picture of the scenes and backgrounds has a file name that matches {hold_out.pattern!r}.")
    with progress_bar(len(dataset.pictures), "Reading pictures", quiet) as step:
        read = load_scenes(learn, step)
        held = load_scenes(measured, step)
        of_source = load_scenes(source, step)
    start = load_start(init, sample_tiles(read, options["seed"])) if init else None
    if start is not None:
        with progress_bar(len(read), "Mining hard examples", quiet) as step:
            read = mine_hard_examples(start, MaskClassifier(default_model()), read, step, few=fine_tune)
    empty = [scene for scene in read if not len(scene.boxes)]
    if fine_tune:
        empty += draw_empty()
    if not resume:
        shutil.rmtree(out / "logs", ignore_errors=True)
    engine = build_engine(options, patience=options["epochs"], quiet=quiet)
    trained = train_detector(
        ([scene for scene in read if len(scene.boxes)], empty),
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
    if start is not None and fine_tune:
        blend(start, checkpoint)
    report = measure_detector(
        checkpoint,
        held,
        out,
        history=history,
        data=dataset.to_card(),
        source=of_source,
        before=start if fine_tune else None,
    )
    store_card(checkpoint, report)
    click.echo(f"{report['parameters']:,} parameters, {counted(len(history), 'epoch')} in {report['train_seconds']:.0f} s")
    if fine_tune:
        _print_curve("Held-out pictures, before", report["before"]["curve"])
    _print_curve("Held-out pictures", report["curve"])
    if hold_out:
        _print_curve(f"Pictures of {hold_out.pattern}", report["held_out_source"]["curve"])
    click.echo(f"Wrote {checkpoint} and {out / 'report.json'}. Next: edge-export {shlex.quote(str(checkpoint))} -o detector.onnx")


def _in_convention_of(init: Path, dataset: DataSet) -> DataSet:
    """Move the boxes of a data set to the convention of the network to start from."""
    from maskedge_train.data.localise import detector_convention
    from maskedge_train.detector.checkpoint import load_start
    from maskedge_train.detector.fine_tuning import find_convention, move_dataset
    from maskedge_train.detector.samples import load_scenes
    from maskedge_train.detector.training import sample_tiles

    wanted = detector_convention(init)
    own = dataset.convention
    if own is None:
        net = load_start(init, sample_tiles(load_scenes(dataset.pictures), 0))
        own = find_convention(net, dataset.pictures, wanted)
        click.echo(f"boxes: they begin at the {own}, compared with detections (FILE=CONVENTION states it)")
    if own != wanted:
        click.echo(f"boxes: their upper edge was moved to the {wanted}, as the network draws it")
    return move_dataset(dataset, own, wanted)


def _print_curve(name: str, curve: list[dict[str, Any]]) -> None:
    click.echo(f"{name}: longest side, score threshold, masked and unmasked faces found, false positives per picture")
    for row in curve:
        found = "  ".join("-" if row[key] is None else f"{row[key]:.3f}" for key in ("masked_found", "unmasked_found"))
        click.echo(f"  {row['side']:4}  {row['score']:.2f}  {found}  {row['false_alarms']:.2f}")
