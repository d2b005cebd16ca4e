"""`edge-train classifier`: from pictures to a calibrated checkpoint and its report."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from maskedge.cli.common import Command, FloatRange, require_extra
from maskedge.cli.output_options import OutputFolder, overwrite_option
from maskedge.support.outputs import Named, check_apart, same_file
from maskedge.support.text import counted, displayable
from maskedge_train.shared.box_file import BoxFile

from .options import (
    FACE_BOXES,
    SEED,
    DataOptions,
    StartFile,
    box_file,
    build_engine,
    check_out,
    data_options,
    engine_options,
    folders_argument,
    hold_out_option,
    is_given,
    oversample_option,
    people_option,
    progress_bar,
    quiet_option,
    read_corrections,
    relabel_option,
    write_face_boxes,
)

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_folder = click.Path(exists=True, file_okay=False, path_type=Path)

_OUTPUTS = ("best.ckpt", "last.ckpt", "report.json", "report.html")
"""Files of a training that must not be overwritten by accident."""


_WARM = {"epochs": 4, "learning_rate": 1e-3, "trained_share": 0.5}
"""Recipe of a training that starts from the bundled model, unless the options say otherwise."""
_WARM_NET = "edgenet"
_LEAST_TESTED = 0.05
"""Share of test pictures below which a training from known weights suggests another start."""


@click.command(cls=Command, short_help="Train the mask classifier.")
@folders_argument
@data_options(locate=True)
@click.option(
    "--negatives",
    type=click.Choice(["auto", "given", "none"]),
    default="auto",
    show_default=True,
    help="Examples of the label not_a_face. auto: the surroundings of the faces in all pictures, and generated pictures. "
    "given: --scenes and --backgrounds only. none: no examples, for a model without this label.",
)
@click.option(
    "--generated",
    "drawn",
    type=click.IntRange(0, 100_000),
    default=480,
    show_default=True,
    help="Number of generated pictures without people, with --negatives auto.",
)
@click.option("--test-scenes", type=box_file, multiple=True, help="CSV file of labelled boxes for the test only.")
@click.option("--test-backgrounds", type=_folder, help="Folder of pictures without people for the test only.")
@hold_out_option
@people_option
@click.option(
    "--net",
    default="edgenet",
    show_default=True,
    help="Network: edgenet (small), edgenet-l (larger), seednet (the project's first), or as teachers, too slow for devices, "
    "efficientnet-lite0 and efficientnet-lite2.",
)
@click.option(
    "--epochs",
    type=click.IntRange(0),
    default=30,
    show_default=True,
    help="Maximum number of epochs; 4 with FOLDER. 0 trains nothing: the result is --init, averaged with --average.",
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Stop after this many epochs without a lower validation loss.",
)
@click.option(
    "--samples", type=click.IntRange(2), default=12000, show_default=True, help="Crops per epoch, balanced over the labels."
)
@click.option("--batch-size", type=click.IntRange(2), default=64, show_default=True, help="Crops per step.")
@click.option(
    "--learning-rate",
    type=FloatRange(0, min_open=True),
    default=3e-3,
    show_default=True,
    help="Peak learning rate; 0.001 with FOLDER.",
)
@click.option(
    "--augment",
    type=click.Choice(["camera", "light"]),
    default="camera",
    show_default=True,
    help="camera: variation as from detectors and small cameras. light: small rotations and shifts only.",
)
@click.option(
    "--paint/--no-paint", default=True, show_default=True, help="Paint masks, hands, scarves, cups and phones on unmasked faces."
)
@click.option(
    "--mixup",
    type=FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Blend crops in pairs, in a proportion from Beta(MIXUP, MIXUP), against overfitting. 0 disables it.",
)
@click.option(
    "--distrust",
    metavar="LABEL=REGEX",
    multiple=True,
    help="Exclude the faces of a label in pictures whose file name matches, such as 'incorrect_mask=^web_'. May be repeated.",
)
@oversample_option
@relabel_option
@click.option("--split", "split_file", type=_file, help="Split to use: a split.json of an earlier run on the same data.")
@click.option("--split-seed", type=SEED, default=0, show_default=True, help="Seed of the split into train, val and test.")
@click.option("--leakage", type=_file, help="leakage.json of edge-train leakage, to show in the report.")
@engine_options
@click.option(
    "--init",
    type=StartFile("default_model"),
    help="Start from the weights of this checkpoint, or of this .onnx file of edge-export, to adapt a model to your own pictures. "
    "bundled: the bundled model, the default with FOLDER. none: fresh weights. edgenet-l can also start from an edgenet, and "
    "efficientnet-lite0 and efficientnet-lite2 from a .pth file of ImageNet weights.",
)
@click.option(
    "--trained-share",
    type=FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Share of the trained weights in the result; the rest are those of --init, which forgets less of what that model knows. "
    "0.5 with FOLDER.",
)
@click.option(
    "--average",
    metavar="FILE=SHARE",
    multiple=True,
    help="Average the weights after the last epoch with those of this checkpoint or .onnx file of the same net, which has this "
    "share of the result. May be repeated. Trainings that began alike are often better on average than each of them.",
)
@click.option(
    "--teacher",
    type=_file,
    multiple=True,
    help="Learn the probabilities that this checkpoint of edge-train classifier gives to the crops, of any net with the same "
    "labels. May be repeated: the mean of all is learned. Every second step blends crops in pairs.",
)
@click.option(
    "--teacher-share",
    type=FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Share of the probabilities of --teacher in the targets; the rest are the labels.",
)
@click.option("--resume", is_flag=True, help="Continue an interrupted run with the same options.")
@click.option("--out", type=OutputFolder(), help="Folder for checkpoints and report.  [default: runs/NET]")
@click.option(
    "--cache",
    type=OutputFolder(),
    help="Folder that stores the crops for later runs (about 1 GB per data set).",
)
@overwrite_option
@quiet_option
def classifier(
    folders: tuple[Path, ...],
    data: DataOptions,
    negatives: str,
    drawn: int,
    test_scenes: tuple[BoxFile, ...],
    test_backgrounds: Path | None,
    hold_out: re.Pattern[str] | None,
    people: str | None,
    split_file: Path | None,
    split_seed: int,
    leakage: Path | None,
    paint: bool,
    relabel: Path | None,
    init: Path | None,
    teacher: tuple[Path, ...],
    resume: bool,
    out: Path | None,
    overwrite: bool,
    cache: Path | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a mask classifier on faces, scenes and backgrounds, and measure it on a test part.

    Each FOLDER is a data set of faces (sub-folders with_mask and without_mask), a folder with a CSV
    file of boxes, or a folder of pictures without people, named such as backgrounds. The command
    prints what it found and how it will train. The options below replace each of these choices.

    Copies, near-duplicates, rotated copies and the pictures of one person (--people) stay in one
    part of the split. The labels are those of the data (with_mask and without_mask, optionally
    incorrect_mask) and not_a_face, which lets a device reject false detections. Pictures without
    people (--backgrounds) improve this label but are not required.

    Pictures that the bundled model was trained on, and pictures that resemble them, are not in the
    test part of a training that starts from it.

    Writes best.ckpt (calibrated), last.ckpt (for --resume), split.json, seen.npy (hashes of the
    pictures that were learned), face_boxes.csv (the located faces of --data, for --face-boxes of a
    later run), report.json, report.html with charts, and TensorBoard logs.

    Exit codes: 0 done, 2 wrong usage or unusable data, 4 a checkpoint was refused, 5 a file could
    not be written.
    """
    with require_extra("train"):
        import numpy as np

        from maskedge.modelfile.contract import default_model
        from maskedge.types import NOT_A_FACE
        from maskedge.vision.standalone import rejects_non_faces, standalone_notice
        from maskedge_train.classifier.checkpoint import check_teacher_labels, load_teachers
        from maskedge_train.classifier.evaluate import reliable_rows, store_results
        from maskedge_train.classifier.nets import build
        from maskedge_train.classifier.training import Recipe, check_label_counts, train_classifier
        from maskedge_train.classifier.warm_start import SEEN, check_start, find_seen_hashes, save_seen_hashes
        from maskedge_train.data import generated
        from maskedge_train.data.crops import UNUSED, cached_crops
        from maskedge_train.data.dataset import LABELS, labels_to_learn
        from maskedge_train.data.near_duplicates import people_pattern
        from maskedge_train.data.split import PARTS, Split, split_dataset
        from maskedge_train.reports.report import report_checkpoint
        from maskedge_train.shared.layers import count_parameters
        from maskedge_train.shared.lock import lock_folder
        from maskedge_train.teachers.imagenet import is_imagenet
    ctx = click.get_current_context()
    if folders:
        data, found = data.complete(folders)
        people = people or found.people
        if not is_given(ctx, "init") and options["net"] == _WARM_NET and find_spec("onnx"):
            init = default_model()
            options |= {name: value for name, value in _WARM.items() if not is_given(ctx, name)}
        for line in (*found.lines, *_plan(data, negatives, drawn, init, teacher, options)):
            click.echo(line)
    if split_file and hold_out:
        raise click.UsageError("--split already says which pictures are for the test: leave out --hold-out.")
    if options["trained_share"] < 1 and not init:
        raise click.UsageError("--trained-share needs --init: the model that gives the other weights.")
    average = _shares(options["average"])
    if average and options["trained_share"] < 1:
        raise click.UsageError("--average and --trained-share exclude each other: give --init to --average, too.")
    if not options["epochs"] and not (init and average):
        raise click.UsageError("--epochs 0 needs --init and --average: what to average.")
    if not options["epochs"] and resume:
        raise click.UsageError("--epochs 0 has no training to --resume: leave --resume out, and give --overwrite to average again.")
    if data.whole_pictures and data.face_boxes:
        raise click.UsageError("--whole-pictures and --face-boxes exclude each other: use the boxes, or the whole pictures.")
    if teacher and options["mixup"]:
        raise click.UsageError("--mixup and --teacher exclude each other: with --teacher, every second step blends crops already.")
    if teacher and not options["epochs"]:
        raise click.UsageError("--epochs 0 learns nothing from --teacher: leave it out, or give more epochs.")
    if is_given(ctx, "teacher_share") and not teacher:
        raise click.UsageError("--teacher-share needs --teacher: the networks whose share it is.")
    step = options["batch_size"] * options["devices"] * options["num_nodes"]
    if options["samples"] < step:
        raise click.UsageError(
            f"an epoch has {options['samples']} crops, and a step takes {step}: give more --samples, or a smaller --batch-size."
        )
    net = options["net"]
    parameters = count_parameters(build(net, 2))  # report an unknown name before the data is read
    out = out or Path("runs") / net
    pattern = people_pattern(people)
    comparison = _read_json(leakage) if leakage else None
    ctx.with_resource(lock_folder(out))
    boxes = [*data.scenes, *test_scenes, *([data.relabel_scenes] if data.relabel_scenes else [])]
    check_apart([Named("--out", out / FACE_BOXES)], [Named("a file of labelled scenes", file.path) for file in boxes])
    others = {"--teacher": teacher, "--average": [path for path, _ in average]}
    check_out(out, _OUTPUTS, resume=resume, overwrite=overwrite, start=init, others=others, data=data)
    teachers, taught = load_teachers(teacher) if teacher else (None, ())
    if init and is_imagenet(init):
        check_start(init, net, LABELS)  # any labels do: report an unsuitable file before the data is read
    # A resumed run uses the face boxes of the first run.
    kept = out / FACE_BOXES if resume else None
    dataset = data.load(kept=kept, quiet=quiet)
    labels = labels_to_learn(dataset, negatives)
    right = read_corrections(relabel, dataset)
    for path in teacher:
        check_teacher_labels(path, taught, labels)
    begun: dict[str, Any] = {"teachers": [hashlib.sha256(path.read_bytes()).hexdigest() for path in teacher]}
    if init:
        check_start(init, net, labels)
        begun["init"] = hashlib.sha256(init.read_bytes()).hexdigest()
    for path, _ in average:
        check_start(path, net, labels, partial=False)
    seen, origins = None, []
    # ImageNet has none of the pictures that trainings use.
    begins = [init] if init and not is_imagenet(init) else []
    for path in [*begins, *(path for path, _ in average), *teacher]:
        known = find_seen_hashes(path)
        if known is None:
            click.echo(
                f"note: the pictures that {displayable(path)} was trained on are unknown: the test part may contain some.", err=True
            )
        else:
            seen = known if seen is None else np.union1d(seen, known)
            origins.append(displayable(path))
    split = (
        Split.load(split_file) if split_file else split_dataset(dataset, split_seed, people=pattern, hold_out=hold_out, seen=seen)
    )
    parts = split.part_of(dataset)
    tested = sum(PARTS[part] == "test" for part in parts.tolist())
    if seen is not None and tested < _LEAST_TESTED * len(dataset.pictures):
        click.echo(
            f"note: the test has {counted(tested, 'picture')}, because most of the others were used to train "
            f"{', '.join(origins)}: a training without these files (--init none) tests on more.",
            err=True,
        )
    sizes = ", ".join(f"{part} {count}" for part, count in split.sizes().items())
    click.echo(
        f"{counted(len(dataset.pictures), 'picture')} ({sizes}); {split.grouped:,} of them in "
        f"{counted(split.groups, 'group')} of related pictures."
    )
    drawn = drawn if negatives == "auto" else 0
    with progress_bar(len(dataset.pictures) + len(generated.picture_names(drawn)), "Cutting faces", quiet) as step:
        crops = cached_crops(
            *(cache, dataset, split.digest, parts),
            negatives=NOT_A_FACE in labels,
            painted=paint,
            negatives_from_faces=negatives == "auto",
            generated_backgrounds=drawn,
            progress=step,
        )
    crops = crops.with_labels(labels)
    for label, pattern_of_names in _distrusted(options["distrust"], labels):
        crops = crops.without(label, pattern_of_names)
    own = {source: crops.where("test", source) for source in ("faces", "scenes")}
    sets = {f"{source} test": crops.take(rows) for source, rows in own.items() if len(rows)}
    sets = {name: test.take(reliable_rows(test)) for name, test in sets.items()}
    if right:
        if unknown := {label for label in right.values() if label not in labels}:
            count = sum(label in unknown for label in right.values())
            click.echo(
                f"note: {counted(count, 'picture')} of --relabel cannot be used, because the data lacks the corrected label: "
                f"{', '.join(sorted(unknown))}.",
                err=True,
            )
        crops = crops.relabelled(right, labels)
    check_label_counts(crops, labels)
    recipe = Recipe(
        net=net,
        samples=options["samples"],
        batch_size=options["batch_size"],
        learning_rate=options["learning_rate"],
        augmentation=options["augment"],
        mixup=options["mixup"],
        balanced=options["augment"] == "camera",
        oversample=options["oversample"],
        trained_share=options["trained_share"],
        average=tuple((str(path), share) for path, share in average),
        teacher_share=options["teacher_share"],
    )
    engine = build_engine(options, patience=options["patience"], quiet=quiet)
    digests = {
        "data": dataset.digest,
        "split": split.digest,
        "painted": paint,
        "negatives": [negatives, generated.digest(drawn)],
        "distrust": list(options["distrust"]),
        "relabelled": right,
        **begun,
    }

    def store_data_facts() -> None:
        # A refused training leaves these files as they are: they belong to the checkpoint of an earlier one.
        if not resume:
            shutil.rmtree(out / "logs", ignore_errors=True)
        split.save(out / "split.json")
        learned = [
            picture.hashes[0] for picture, part in zip(dataset.pictures, parts.tolist(), strict=True) if PARTS[part] != "test"
        ]
        save_seen_hashes(out / SEEN, np.array([*learned, *(seen if seen is not None else ())], np.uint64))
        given = data.face_boxes is not None and same_file(data.face_boxes.path, out / FACE_BOXES)  # an input is never replaced
        if not given and not (kept and kept.is_file()):
            write_face_boxes(dataset, out / FACE_BOXES)

    trained = train_classifier(
        *(crops, labels, recipe, engine, out),
        data=digests,
        resume=resume,
        start=init,
        teachers=teachers,
        on_start=store_data_facts,
    )
    if trained is None:
        return  # a helper process of a distributed run

    relabelled = crops.take(crops.where("test", "faces"))
    relabelled = relabelled.take(reliable_rows(relabelled))
    if set(relabelled.names.tolist()) & set(right):
        sets["faces test, relabelled"] = relabelled
    tests = [test_backgrounds] if test_backgrounds else []
    if test_scenes or tests:
        sets |= load_test_sets(test_scenes, tests, labels, quiet, dataset.convention, taken=sets)
    sets["validation"] = crops.take(crops.where("val"))
    notes = [] if trained.calibration.fitted else [str(trained.calibration)]
    notes += [standalone_notice(trained.checkpoint.name)] if not rejects_non_faces(labels) else []
    facts = {
        "net": net,
        "parameters": parameters,
        "epochs": len(trained.history),
        "train_seconds": round(trained.seconds, 1),
        "recipe": {
            **{key: value for key, value in options.items() if key not in ("accelerator", "net")},
            "paint": paint,
            "negatives": negatives,
            "drawn": drawn,
            "average": [(hashlib.sha256(path.read_bytes()).hexdigest(), share) for path, share in average],
            **({"hold_out": hold_out.pattern} if hold_out else {}),
            **begun,
        },
        "data": {**dataset.to_card(), "relabelled": len(right), "generated": len(generated.picture_names(drawn))},
        "crops": {label: int(((crops.labels == label) & (crops.parts != UNUSED)).sum()) for label in labels},
        "split": split.to_card(),
        "calibration": trained.calibration.to_card(),
        "notes": notes,
    }
    report = report_checkpoint(trained.checkpoint, sets, out, facts=facts, history=trained.history, comparison=comparison)
    store_results(trained.checkpoint, report)
    click.echo(f"{net}: {parameters:,} parameters, {counted(len(trained.history), 'epoch')} in {trained.seconds:.0f} s.")
    print_evaluations(report)
    if trained.calibration.fitted:
        click.echo(str(trained.calibration))
    for note in notes:
        click.echo(f"note: {note[0].lower() + note[1:]}", err=True)
    command = shlex.join(["edge-export", str(trained.checkpoint), "-o", "model.onnx"])
    click.echo(f"Wrote {trained.checkpoint} and {out / 'report.html'}. Next: {command}")


def _plan(
    data: DataOptions, negatives: str, drawn: int, init: Path | None, teacher: Sequence[Path], options: dict[str, Any]
) -> Iterator[str]:
    """Describe the choices of a training for data that was found in folders."""
    if data.faces:
        if data.face_boxes:
            yield f"boxes: {displayable(data.face_boxes.path)}"
        else:
            yield "boxes: each picture is one face" if data.whole_pictures else "boxes: located by the bundled models"
    given = ["backgrounds"] if data.backgrounds else []
    sources = {"auto": ["surroundings of the faces", f"{drawn:,} generated pictures", *given], "given": given, "none": []}
    yield f"negatives: {', '.join(sources[negatives]) or 'none'}"
    start = f"from {displayable(init)}" if init else "from fresh weights"
    if options["trained_share"] < 1:
        start += f" (the result has {1 - options['trained_share']:g} of its weights)"
    if teacher:
        start += f", taught by {', '.join(map(displayable, teacher))}"
    yield (
        f"training: {options['net']} {start}, at most {counted(options['epochs'], 'epoch')} of {options['samples']:,} crops; "
        "the options of --help change each choice"
    )


def _shares(options: Iterable[str]) -> list[tuple[Path, float]]:
    """Parse --average."""
    shares = []
    for option in options:
        name, _, share = option.rpartition("=")
        try:
            number = float(share)
        except ValueError:
            number = 0.0
        if not name or not 0 < number < 1:
            raise click.BadParameter(f"{option!r} is not FILE=SHARE with a share between 0 and 1.", param_hint="--average")
        try:
            shares.append((Path(_file.convert(name, None, None)), number))
        except click.BadParameter as error:
            raise click.BadParameter(error.message, param_hint="--average") from error
    if sum(share for _, share in shares) >= 1:
        raise click.BadParameter(
            "the shares leave nothing for the trained weights: they must add up to less than 1.", param_hint="--average"
        )
    return shares


def _distrusted(options: Iterable[str], labels: tuple[str, ...]) -> Iterator[tuple[str, re.Pattern[str]]]:
    """Parse --distrust."""
    for option in options:
        label, _, names = option.partition("=")
        try:
            pattern = re.compile(names)
        except re.error as error:
            raise click.BadParameter(f"{names!r} is not a regular expression ({error}).", param_hint="--distrust") from error
        if label not in labels or not names:
            raise click.BadParameter(
                f"{option!r} is not LABEL=REGEX with a label of the data: {', '.join(labels)}.", param_hint="--distrust"
            )
        yield label, pattern


def load_test_sets(
    scenes: Sequence[Path | BoxFile],
    backgrounds: Sequence[Path],
    labels: tuple[str, ...],
    quiet: bool,
    convention: str | None = None,
    taken: Collection[str] = (),
) -> dict[str, Any]:
    """Cut the test crops of each file: labelled faces, and negatives if the network has the label.

    Args:
        scenes: CSV files of labelled boxes.
        backgrounds: Folders of pictures without people.
        labels: Labels of the network.
        quiet: Do not show progress.
        convention: Convention of the boxes that the network was trained with.
        taken: Names that other sets have.
    """
    import numpy as np

    from maskedge_train.classifier.evaluate import reliable_rows
    from maskedge_train.data.crops import cut_crops
    from maskedge_train.data.dataset import load_dataset

    sets = {}
    files = [BoxFile(given) if isinstance(given, Path) else given for given in scenes]
    stems = [file.path.stem for file in files]
    for file in files or (None,):
        dataset = load_dataset(
            scenes=[file] if file else [],
            backgrounds=backgrounds,
            convention=convention if file else None,
            min_labels=1,
        )
        test_part = np.full(len(dataset.pictures), 2)
        with progress_bar(len(dataset.pictures), "Cutting test faces", quiet) as step:
            crops = cut_crops(dataset, test_part, negatives="not_a_face" in labels, painted=False, progress=step)
        name = f"scenes {file.path.stem}" if file else "backgrounds"
        if file and (name in taken or stems.count(file.path.stem) > 1):
            name = f"scenes {displayable(file.path)}"  # files of one name are several sets
        sets[name] = crops.take(reliable_rows(crops)).with_labels(labels)
    return sets


def print_evaluations(report: dict[str, Any]) -> None:
    """Print the metrics of each data set."""
    for part in report["evaluations"]:
        macro = "" if part["macro_f1"] is None else f", macro F1 {part['macro_f1']:.4f}"
        error = part["calibration"]["ece_after"]
        click.echo(
            f"{part['name']}: accuracy {part['accuracy']:.4f}{macro} on {counted(part['pictures'], 'crop')}; "
            f"calibration error {error:.4f}"
        )
        if "two_way" in part:
            click.echo(
                f"  with or without a mask: {part['two_way']['two_labels']:.4f} (with all labels: {part['two_way']['strict']:.4f})"
            )
        for label, figures in part["labels"].items():
            shown = "  ".join(
                f"{name} {'-' if figures[key] is None else format(figures[key], '.4f')}"
                for name, key in (("precision", "precision"), ("recall", "recall"), ("F1", "f1"))
            )
            click.echo(f"  {label:14} {shown}  ({figures['count']:,})")
    for name, gate in report.get("gate", {}).items():
        if gate["rejected"] is not None:
            line = f"{name}: rejects {gate['rejected']:.4f} of {gate['false_alarms']:,} false alarms"
            if gate["kept"] is not None:
                line += f", keeps {gate['kept']:.4f} of faces ({gate['kept_at_97']:.4f} if 97 % are rejected)"
            click.echo(line)


def _read_json(path: Path) -> dict[str, Any]:
    import json

    from maskedge.errors import UsageError

    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {key: content[key] for key in ("random", "group")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} was not written by edge-train leakage ({error}).") from error
