"""Options and helpers that several commands of edge-train share."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import click

from maskedge.cli.output_options import check_folder
from maskedge.errors import OutputError, UsageError
from maskedge.support.files import write_file
from maskedge.support.outputs import Named, check_apart, is_taken, put_aside
from maskedge.support.text import counted, displayable
from maskedge_train.shared.box_file import CONVENTIONS, BoxFile, parse_box_file
from maskedge_train.shared.lock import is_helper

if TYPE_CHECKING:
    from maskedge.types import Box
    from maskedge_train.data.dataset import DataSet
    from maskedge_train.data.discovery import FoundData
    from maskedge_train.shared.engine import Engine

BUNDLED, FRESH = "bundled", "none"
"""Values of --init that name no file."""
_LOGS = ("events.out.tfevents.", "hparams.yaml", "metrics.csv")
"""Prefixes of the names of the loggers' files."""
Function = TypeVar("Function", bound=Callable[..., Any])

_folder = click.Path(exists=True, file_okay=False, path_type=Path)
_file = click.Path(exists=True, dir_okay=False, path_type=Path)


class BoxFileType(click.ParamType):  # type: ignore[type-arg]  # ParamType is generic only in newer releases of click
    """`FILE` or `FILE=CONVENTION`: a file of boxes, and where its boxes begin."""

    name = f"FILE[={'|'.join(CONVENTIONS)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> BoxFile:
        """Parse the text, and check that the file exists."""
        if isinstance(value, BoxFile):
            return value
        file = parse_box_file(value)
        return BoxFile(_file.convert(file.path, param, ctx), file.convention)


box_file = BoxFileType()


class StartFile(click.ParamType):  # type: ignore[type-arg]  # see BoxFileType
    """The file of `--init`: `bundled` names the bundled model, `none` fresh weights.

    Args:
        bundled: Name of the function of `maskedge.modelfile.contract` that returns the bundled file.
    """

    name = f"FILE|{BUNDLED}|{FRESH}"

    def __init__(self, bundled: str) -> None:
        self.bundled = bundled

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | None:
        """Return the file, or None for fresh weights."""
        if value == FRESH:
            return None
        if value == BUNDLED:
            from maskedge.modelfile import contract

            bundled: Path = getattr(contract, self.bundled)()
            return bundled
        return Path(_file.convert(value, param, ctx))


folders_argument = click.argument("folders", nargs=-1, metavar="[FOLDER]...", type=click.Path(exists=True, path_type=Path))

faces_option = click.option(
    "--data", "--faces", "faces", type=_folder, help="Folder with one sub-folder of pictures per label: with_mask, without_mask."
)
face_boxes_option = click.option(
    "--face-boxes", type=box_file, help="CSV file with the face boxes of --data, as written by edge-train localise."
)
relabel_option = click.option(
    "--relabel",
    type=_file,
    help="CSV file with the columns image and label: corrected labels of --data. If they include pictures of the test part, "
    "the report measures with both the original and the corrected labels.",
)
scenes_option = click.option(
    "--scenes",
    type=box_file,
    multiple=True,
    help="CSV file of labelled boxes: image, xmin, ymin, xmax, ymax, label. May be repeated. State where the boxes begin: "
    "FILE=eyebrows or FILE=forehead. Files of both conventions are used with boxes from forehead to chin.",
)
relabel_scenes_option = click.option(
    "--relabel-scenes",
    type=box_file,
    help="CSV file of reviewed boxes, in the format of --scenes. It replaces labels of the same boxes and adds missing ones. "
    "The label unlabelled excludes a face from training.",
)
backgrounds_option = click.option(
    "--backgrounds",
    type=_folder,
    multiple=True,
    help="Folder of pictures without people: further examples of the label not_a_face. May be repeated.",
)
whole_option = click.option(
    "--whole-pictures",
    is_flag=True,
    help="Use each picture of --data as one face. By default the bundled models locate the face first.",
)
people_option = click.option(
    "--people",
    metavar="REGEX",
    help=r"Regular expression that finds a person's name in a file name, in its group `person`, "
    r"such as '^\d+_\d+_(?P<person>[a-z]+)_\d+'.",
)


def _factors(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """Parse `REGEX=FACTOR`."""
    factors = []
    for value in values:
        parts = re.fullmatch(r"(.+)=([1-9]\d?)", value)
        if not parts or not _is_pattern(parts[1]):
            raise click.BadParameter(f"{value!r} is not REGEX=FACTOR with a whole number from 1 to 99, such as '^webcam_=3'.")
        factors.append((parts[1], int(parts[2])))
    return tuple(factors)


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


oversample_option = click.option(
    "--oversample",
    metavar="REGEX=FACTOR",
    multiple=True,
    callback=_factors,
    help="Draw pictures whose file name matches FACTOR times as often as others of their label, such as '^webcam_=3'. "
    "Use it for pictures similar to those of the device. May be repeated.",
)


def _pattern(ctx: click.Context, param: click.Parameter, value: str | None) -> re.Pattern[str] | None:
    if value is not None and not (value and _is_pattern(value)):
        raise click.BadParameter(f"{value!r} is not a regular expression.")
    return re.compile(value) if value else None


hold_out_option = click.option(
    "--hold-out",
    metavar="REGEX",
    callback=_pattern,
    help="Test on the pictures of --scenes and --backgrounds whose file name matches, and do not train on them, such as '^web_' "
    "for one source of pictures.",
)
SEED = click.IntRange(0, 2**32 - 1)
"""Seeds that NumPy and PyTorch take."""
quiet_option = click.option("--quiet", is_flag=True, help="Do not show progress.")
_ENGINE = (
    click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of weights, order and augmentation."),
    click.option(
        "--accelerator", type=click.Choice(["auto", "cpu", "gpu"]), default="auto", show_default=True, help="Hardware to train on."
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "32-true", "bf16-mixed", "16-mixed"]),
        default="auto",
        show_default=True,
        help="auto: bfloat16 on a GPU that supports it, float32 elsewhere.",
    ),
    click.option(
        "--devices",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Number of GPUs, or of processes on a CPU, per machine.",
    ),
    click.option(
        "--num-nodes",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Number of machines. Start the same command on each with torchrun.",
    ),
    click.option(
        "--logger",
        "loggers",
        type=click.Choice(["tensorboard", "csv", "mlflow"]),
        multiple=True,
        default=("tensorboard",),
        show_default=True,
        help="Where the losses of each epoch go: tensorboard and csv to OUT/logs, mlflow to the server of MLFLOW_TRACKING_URI. "
        "May be repeated.",
    ),
)


def engine_options(function: Function) -> Function:
    """Add the options of `engine.Engine` that all trainings share."""
    for option in reversed(_ENGINE):
        function = option(function)
    return function


def check_out(
    out: Path,
    names: tuple[str, ...],
    *,
    resume: bool,
    overwrite: bool,
    start: Path | None = None,
    others: Mapping[str, Sequence[Path]] | None = None,
    data: DataOptions | None = None,
) -> None:
    """Check that an output folder does not hold another training, or the data.

    Args:
        out: The folder.
        names: Files that the training writes there.
        resume: The training in the folder is resumed.
        overwrite: The user asked to replace it.
        start: A checkpoint to read, which the training must not overwrite.
        others: Further checkpoints to read, by option.
        data: The data of the training.

    Raises:
        UsageError: The folder holds another training, pictures of the data, or files of other programs among its logs.
    """
    if data is not None and any(folder.resolve() == out.resolve() for folder in (data.faces, *data.backgrounds) if folder):
        raise UsageError(f"--out {displayable(out)} is a folder of pictures to train on: give another folder.")
    # Helper processes of a distributed run start after the first has begun to write.
    if resume or is_helper():
        return
    logs = out / "logs"
    if any(path.is_file() and not path.name.startswith(_LOGS) for path in logs.rglob("*")):
        raise UsageError(
            f"the folder {displayable(logs)} holds more than logs of trainings and would be removed: give another --out."
        )
    read = [Named("the file of --init", start)] if start else []
    read += [Named(f"a file of {option}", path) for option, paths in (others or {}).items() for path in paths]
    if read:
        check_apart([Named("--out", out / name) for name in names], read)
    check_folder(out, names, overwrite=overwrite, remedy="continue it with --resume, " if "last.ckpt" in names else "")


def build_engine(options: dict[str, Any], *, patience: int, quiet: bool) -> Engine:
    """Build the engine from `engine_options` and `--epochs`."""
    from maskedge_train.shared.engine import Engine

    names = ("epochs", "seed", "accelerator", "precision", "devices", "loggers")
    chosen = {name: options[name] for name in names}
    return Engine(**chosen, nodes=options["num_nodes"], patience=patience, progress=not quiet)


FACE_BOXES = "face_boxes.csv"
"""Name of the file with the located faces of --data, beside a checkpoint and its split."""


def load(
    faces: Path | None,
    face_boxes: BoxFile | None,
    scenes: tuple[BoxFile, ...],
    backgrounds: tuple[Path, ...],
    relabel_scenes: BoxFile | None = None,
    *,
    locate: bool = False,
    kept: Path | None = None,
    quiet: bool = True,
    min_labels: int = 2,
) -> DataSet:
    """Load the data that the options name, and report unusable files and boxes.

    Args:
        faces: `--data`.
        face_boxes: `--face-boxes`.
        scenes: `--scenes`.
        backgrounds: `--backgrounds`.
        relabel_scenes: `--relabel-scenes`.
        locate: Without `face_boxes`, locate the face of each picture in `faces`.
        kept: Face boxes written by an earlier command. If the file exists, it is read instead of
            locating the faces again.
        quiet: Do not show progress.
        min_labels: See `load_dataset`.
    """
    from maskedge_train.data.dataset import load_dataset
    from maskedge_train.shared.box_convention import common_convention, count_moved

    if not (faces or scenes):
        raise click.UsageError("there is no data: give a folder, --data, --scenes or several of them.")
    if face_boxes and not faces:
        raise click.UsageError("--face-boxes holds the face boxes of --data: give --data too.")
    if relabel_scenes and not scenes:
        raise click.UsageError("--relabel-scenes corrects labels of --scenes: give --scenes too.")
    files = [file for file in (*scenes, relabel_scenes, face_boxes) if file]
    convention = common_convention(files)
    boxes: BoxFile | dict[str, Box] | None = face_boxes
    if faces and locate and not face_boxes:
        boxes = BoxFile(kept) if kept and kept.is_file() else _locate(faces, convention, quiet)
    dataset = load_dataset(
        faces,
        face_boxes=boxes,
        scenes=scenes,
        relabel_scenes=relabel_scenes,
        backgrounds=backgrounds,
        convention=convention,
        min_labels=min_labels,
    )
    for name, reason in dataset.refused:
        click.echo(f"Skipped {name.encode(errors='backslashreplace').decode()}: {reason}", err=True)
    for path, own in count_moved(files, convention).items():
        click.echo(f"The boxes of {displayable(path)} begin at the {own}: their upper edge was moved to the {convention}.")
    if len(scenes) > 1 and convention is None:
        click.echo(
            f"note: no file of --scenes states where its boxes begin. Of boxes in two conventions, a network learns neither: "
            f"give {' or '.join(f'FILE={name}' for name in CONVENTIONS)}.",
            err=True,
        )
    return dataset


def _locate(faces: Path, convention: str | None, quiet: bool) -> dict[str, Box]:
    """Locate the face of each picture in a folder data set; the boxes are in `convention`."""
    from maskedge.errors import UsageError
    from maskedge.support.pictures import list_pictures
    from maskedge_train.data.dataset import FACE_LABELS, check_folders
    from maskedge_train.data.localise import detector_convention, localise
    from maskedge_train.shared.box_convention import move_box

    check_folders(faces)
    count = sum(len(list_pictures(faces / label)) for label in FACE_LABELS if (faces / label).is_dir())
    with progress_bar(count, "Locating faces", quiet) as step:
        found, missed = localise(faces, progress=step)
    for label in FACE_LABELS:
        if any(name.startswith(f"{label}/") for name in missed) and not any(face.label == label for _, face in found):
            raise UsageError(
                f"no face was found in any picture of {faces / label}: if each picture is one cropped face, give --whole-pictures; "
                "if you have the face boxes, give --face-boxes."
            )
    rest = "; the others are used as a whole" if missed else ""
    click.echo(f"Located a face in {len(found):,} of {counted(count, 'picture')} of {faces}{rest}.")
    own = detector_convention()
    return {name: move_box(face.box, own, convention) for name, face in found}


def write_face_boxes(dataset: DataSet, path: Path) -> None:
    """Write the face boxes of --data for later commands, see `FACE_BOXES`.

    A file with other boxes, which a user may have corrected, is kept under another name.

    Raises:
        OutputError: The file cannot be written.
    """
    from maskedge_train.shared.box_convention import format_stated_boxes

    located = [picture for picture in dataset.pictures if picture.source == "faces" and picture.located]
    if not located:
        return
    rows = [(picture.name.removeprefix("faces/"), picture.faces[0]) for picture in located]
    content = format_stated_boxes(rows, dataset.convention)
    try:
        if is_taken(path):
            if path.read_bytes() == content:
                return
            aside = displayable(put_aside(path))
            click.echo(f"note: {displayable(path)} had other boxes and is kept as {aside}: --face-boxes {aside} uses it.", err=True)
    except OSError as error:
        raise OutputError(f"{displayable(path)} cannot be replaced ({error.strerror}): give another --out.") from error
    write_file(path, content, remedy="give another --out")


def is_given(ctx: click.Context, name: str) -> bool:
    """Return True if the user gave an option, instead of leaving it to its default."""
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


@dataclass(frozen=True)
class DataOptions:
    """The values of the options that name a command's data (`data_options`)."""

    faces: Path | None
    face_boxes: BoxFile | None
    scenes: tuple[BoxFile, ...]
    relabel_scenes: BoxFile | None
    backgrounds: tuple[Path, ...]
    whole_pictures: bool = True

    def complete(self, folders: Sequence[Path]) -> tuple[DataOptions, FoundData]:
        """Find out what folders contain, and add it to the data that the options name.

        Raises:
            UsageError: A folder contains no data, or faces are given twice.
        """
        from maskedge_train.data.discovery import find_data

        found = find_data(folders)
        if self.faces and found.faces:
            raise UsageError(f"faces are given twice, as --data and in {displayable(found.faces)}: leave one out.")
        completed = replace(
            self,
            faces=self.faces or found.faces,
            face_boxes=self.face_boxes or (None if self.whole_pictures else found.face_boxes),
            scenes=(*self.scenes, *found.scenes),
            backgrounds=(*self.backgrounds, *found.backgrounds),
        )
        return completed, found

    def load(self, *, kept: Path | None = None, quiet: bool = True, min_labels: int = 2) -> DataSet:
        """Load the data, see `load`."""
        return load(
            self.faces,
            self.face_boxes,
            self.scenes,
            self.backgrounds,
            self.relabel_scenes,
            locate=not self.whole_pictures,
            kept=kept,
            quiet=quiet,
            min_labels=min_labels,
        )


def data_options(*, locate: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options that name a command's data, and pass them on as one argument, `data`.

    Args:
        locate: Locate the face of each picture in --data unless --whole-pictures is given.
    """
    options = [faces_option, face_boxes_option, scenes_option, relabel_scenes_option, backgrounds_option]
    if locate:
        options.insert(2, whole_option)
    names = [field.name for field in fields(DataOptions)]

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(**values: Any) -> Any:
            data = DataOptions(**{name: values.pop(name) for name in names if name in values})
            return function(data=data, **values)

        return functools.reduce(lambda inner, option: option(inner), reversed(options), command)

    return add


@contextmanager
def progress_bar(length: int, label: str, quiet: bool) -> Iterator[Callable[[], None]]:
    """Yield a thread-safe function that counts one step of a progress bar.

    The bar is shown only if standard error is a terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda: None
        return
    lock = Lock()
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:

        def step() -> None:
            with lock:
                bar.update(1)

        yield step


def read_corrections(relabel: Path | None, dataset: DataSet) -> dict[str, str]:
    """Read --relabel: picture name to corrected label.

    Args:
        relabel: The CSV file, or None.
        dataset: The data set that must contain its pictures.

    Raises:
        UsageError: A picture or label is unknown.
    """
    from maskedge.labelled_boxes import read_labels
    from maskedge_train.data.dataset import FACE_LABELS

    labels = {f"faces/{image}": label for image, label in read_labels(relabel).items()} if relabel else {}
    known = {picture.name for picture in dataset.pictures}
    if unknown := set(labels) - known:
        example, first = (min(names, default="").removeprefix("faces/") for names in (known, unknown))
        raise UsageError(
            f"{displayable(relabel)} names pictures that --data does not have, such as {displayable(first)}: "
            f"write them with their folder, as in {displayable(example)}."
        )
    if unknown := set(labels.values()) - set(FACE_LABELS):
        raise UsageError(f"{relabel} has the label {min(unknown)!r}; known are {', '.join(FACE_LABELS)}.")
    return labels
