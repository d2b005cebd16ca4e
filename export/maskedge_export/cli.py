"""`edge-export`: convert checkpoints to model files, and verify model files."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskedge.cli.common import Command, CommandGroup, FloatRange, require_extra, require_runtime, silence_libraries
from maskedge.cli.output_options import OutputFile, overwrite_option
from maskedge.errors import MaskedgeError
from maskedge.support.files import is_file
from maskedge.support.outputs import Named, check_new
from maskedge.support.text import counted, displayable
from maskedge.version import VERSION
from maskedge_train.cli.options import backgrounds_option, box_file, face_boxes_option, relabel_scenes_option, scenes_option

from .outputs import check_outputs

if TYPE_CHECKING:
    from maskedge_train.classifier.checkpoint import ClassifierSpec
    from maskedge_train.shared.box_file import BoxFile

    from .classifier.evaluation import Evaluation

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_folder = click.Path(exists=True, file_okay=False, path_type=Path)
_EXPORT = "checkpoint"
_USAGE = "CHECKPOINT -o FILE [OPTIONS]"
_LEAST_STD = 1e-6
"""Smallest absolute value of a divisor. Pixels divided by less exceed float32."""
_FEW_CROPS = 1000
"""Crops from which a loss of accuracy of 0.003 can be measured."""


class _ExportContext(click.Context):
    """The context of an export, whose command has no name of its own."""

    @property
    def command_path(self) -> str:
        """The name of the group."""
        return self.parent.command_path if self.parent else super().command_path


class _Export(Command):
    """The command for an export, which a user gives without its name."""

    context_class = _ExportContext

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the usage with the required option."""
        return [_USAGE]


class _ExportOrCommand(CommandGroup):
    """A group whose first argument is a command or, for an export, a checkpoint."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert the command for an export if the first argument is not a command."""
        if args and args[0] not in (*self.commands, "--help", "--version"):
            named = [name for name, command in self.commands.items() if not command.hidden]
            close = [] if args[0].startswith("-") else difflib.get_close_matches(args[0][:100], named, 1, 0.75)
            if close and not is_file(Path(args[0])) and not ctx.resilient_parsing:
                ctx.fail(f"'{displayable(args[0])}' is neither a command nor a file: did you mean {close[0]}?")
            args = [_EXPORT, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the usage of both forms."""
        formatter.write_usage(ctx.command_path, _USAGE)
        formatter.write_usage(ctx.command_path, "COMMAND ...", prefix="       ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of an export and the list of commands."""
        self.commands[_EXPORT].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


@click.group(cls=_ExportOrCommand, no_args_is_help=True)
@click.version_option(VERSION)
def main() -> None:
    """Export CHECKPOINT to a self-describing ONNX file, with a model card beside it (.md).

    The export compares PyTorch and ONNX Runtime on the same uint8 crops. If they differ, it saves
    the crop with the largest difference, writes no model and exits with code 1. If the folder of
    the output has a MODELS.json, the export updates it.

    Exit codes: 0 done, 1 a parity check or a precision's gate failed, 2 wrong usage, 4 the
    checkpoint was refused, 5 a file cannot be written.
    """
    silence_libraries()


@main.command(_EXPORT, cls=_Export, hidden=True)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=OutputFile(".md", suffix=".onnx"), required=True, help="The .onnx file to write.")
@overwrite_option
@click.option("--data", type=_folder, help="Folder of pictures, searched recursively. Up to 256 of them join the parity check.")
@click.option(
    "--licence", "licences", multiple=True, metavar="TEXT", help="Licence of the training data, for the card. May be repeated."
)
@click.option(
    "--compact",
    is_flag=True,
    help="Store large weight matrices as 8-bit integers. Arithmetic stays float32; seednet shrinks to a quarter.",
)
@click.option("--int8", is_flag=True, help="Also write FILE.int8.onnx, if it is as accurate as float32 and faster on this machine.")
@click.option("--fp16", is_flag=True, help="Also write FILE.fp16.onnx, if it is as accurate as float32 and faster on this machine.")
@click.option("--force", is_flag=True, help="Write int8 and fp16 files that fail a gate, too. Their cards record the failure.")
@click.option(
    "--split",
    "split_file",
    type=_file,
    help="With --int8 or --fp16: split.json of the training. Give its data with the options below.",
)
@face_boxes_option
@scenes_option
@relabel_scenes_option
@backgrounds_option
@click.option(
    "--test-scenes", type=box_file, multiple=True, help="With --int8 or --fp16: CSV of further labelled boxes to measure on."
)
@click.option("--test-backgrounds", type=_folder, help="With --int8 or --fp16: folder of pictures without people to measure on.")
def export(
    checkpoint: Path,
    output: Path,
    overwrite: bool,
    data: Path | None,
    licences: tuple[str, ...],
    compact: bool,
    int8: bool,
    fp16: bool,
    force: bool,
    split_file: Path | None,
    face_boxes: BoxFile | None,
    scenes: tuple[BoxFile, ...],
    relabel_scenes: BoxFile | None,
    backgrounds: tuple[Path, ...],
    test_scenes: tuple[BoxFile, ...],
    test_backgrounds: Path | None,
) -> None:
    """Export CHECKPOINT to a self-describing ONNX file."""
    precisions = tuple(name for name, wanted in (("int8", int8), ("fp16", fp16)) if wanted)
    if precisions and split_file is None:
        raise click.UsageError(
            f"--{precisions[0]} is calibrated and measured on the training data: give --split, and the --data, "
            "--face-boxes, --scenes and --backgrounds of that split."
        )
    if not precisions:
        given = (split_file, face_boxes, scenes, relabel_scenes, backgrounds, test_scenes, test_backgrounds)
        if any(given):
            raise click.UsageError("only --int8 and --fp16 are measured on labelled pictures: add one, or leave these options out.")
    endings = [ending for name in precisions for ending in (f".{name}.onnx", f".{name}.md", ".precisions.json")]
    check_new([Named("beside --output,", output.with_suffix(ending)) for ending in endings], overwrite=overwrite)
    _check_output(output, *endings)
    with require_extra("export"):
        from maskedge.modelfile.precision_table import precision_table
        from maskedge_train.classifier.checkpoint import load_classifier
        from maskedge_train.shared.checkpoint import checkpoint_kind

        from .classifier.export import export_classifier

    if checkpoint_kind(checkpoint) == "detector":
        if precisions or compact:
            raise click.UsageError("--int8, --fp16 and --compact apply to classifiers only: leave them out for a detector.")
        _export_detector(checkpoint, output, licences)
        return
    _, spec, _ = load_classifier(checkpoint)
    evaluation = None
    if precisions and split_file:
        evaluation = _evaluation(
            spec, split_file, data, face_boxes, scenes, relabel_scenes, backgrounds, test_scenes, test_backgrounds
        )
    result = export_classifier(
        checkpoint, output, data, compact=compact, licences=licences, precisions=precisions, evaluation=evaluation, force=force
    )
    if not result.parity.passed:
        raise MaskedgeError(
            f"the ONNX file differs from PyTorch (probabilities by up to {result.parity.worst:.1e}, "
            f"{counted(result.parity.changed, 'label')} changed), so nothing was written: see the worst crop in "
            f"{result.worst_crop}."
        )
    click.echo(
        f"parity: {result.parity.crops} outputs compared, largest difference {result.parity.worst:.1e}, no label changed "
        f"({counted(result.real_crops, 'picture')} among the inputs)"
    )
    if result.precisions:
        click.echo(precision_table(result.precisions))
    click.echo(f"wrote {', '.join(map(str, result.written))}: {output.stat().st_size / 1e6:.2f} MB, sha256 {result.sha256}")
    _warn_missing_label(spec.labels, output)
    missing = [name for name in precisions if output.with_suffix(f".{name}.onnx") not in result.written]
    if missing:
        raise MaskedgeError(f"{' and '.join(missing)} failed a gate (see the table) and was not written: use fp32, or --force.")


def _check_output(output: Path, *endings: str) -> None:
    """Check before the long work that the model and the files beside it can be written, and MODELS.json read."""
    check_outputs(output.with_suffix(ending) for ending in (output.suffix, ".md", *endings))
    with require_runtime():
        from maskedge.modelfile.contract import read_catalogue
    read_catalogue(output.parent)


def _warn_missing_label(labels: Sequence[str], model: Path) -> None:
    """Print a note if a classifier lacks the label not_a_face."""
    from maskedge.vision.standalone import rejects_non_faces, standalone_notice

    if not rejects_non_faces(labels):
        click.echo(f"note: {standalone_notice(model.name)}", err=True)


def _export_detector(checkpoint: Path, output: Path, licences: tuple[str, ...]) -> None:
    from .detector.export import export_detector

    result = export_detector(checkpoint, output, licences=licences)
    parity = result.parity
    if not parity.passed:
        raise MaskedgeError(
            f"the ONNX file differs from PyTorch (boxes by up to {parity.worst:.2g} pixels, scores by "
            f"{parity.worst_score:.1e}), so nothing was written: see the worst frame in {result.worst_frame}."
        )
    click.echo(
        f"parity: {counted(parity.frames, 'frame')} with {parity.boxes} boxes compared, largest difference "
        f"{parity.worst:.1e} pixels, "
        f"{parity.worst_score:.1e} of a score"
    )
    click.echo(f"wrote {', '.join(map(str, result.written))}: {output.stat().st_size / 1e6:.2f} MB, sha256 {result.sha256}")


def _evaluation(
    spec: ClassifierSpec,
    split_file: Path,
    data: Path | None,
    face_boxes: BoxFile | None,
    scenes: tuple[BoxFile, ...],
    relabel_scenes: BoxFile | None,
    backgrounds: tuple[Path, ...],
    test_scenes: tuple[BoxFile, ...],
    test_backgrounds: Path | None,
) -> Evaluation:
    from maskedge_train.cli.classifier import load_test_sets
    from maskedge_train.cli.options import FACE_BOXES, load

    from .classifier.evaluation import load_evaluation

    # A training stores the located faces beside its split.
    kept = split_file.parent / FACE_BOXES
    dataset = load(data, face_boxes, scenes, backgrounds, relabel_scenes, locate=kept.is_file(), kept=kept)
    empty = (test_backgrounds,) if test_backgrounds else ()
    tests = load_test_sets(test_scenes, empty, spec.labels, True, dataset.convention) if test_scenes or empty else {}
    return load_evaluation(dataset, split_file, spec.labels, tuple(tests.values()))


def _numbers(counts: tuple[int, ...]) -> Callable[[click.Context, click.Parameter, str], tuple[float, ...]]:
    """Return a parser of comma-separated numbers.

    Args:
        counts: Admitted lengths of the list.
    """

    def read(context: click.Context, parameter: click.Parameter, text: str) -> tuple[float, ...]:
        try:
            numbers = tuple(float(part) for part in text.split(","))
        except ValueError:
            raise click.BadParameter(f"{text!r} is not a comma-separated list of numbers.") from None
        if len(numbers) not in counts or not all(math.isfinite(number) and abs(number) < 1e6 for number in numbers):
            raise click.BadParameter(f"give {' or '.join(map(str, counts))} finite numbers, not {text!r}.")
        return numbers

    return read


def _labels(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, ...]:
    labels = tuple(label.strip() for label in text.split(","))
    if len(labels) < 2 or len(set(labels)) < len(labels) or not all(label and label.isprintable() for label in labels):
        raise click.BadParameter("give two or more different names, separated by commas.")
    return labels


@main.command(cls=Command, short_help="Wrap a third-party classifier for edge-run.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=OutputFile(".md", suffix=".onnx"), required=True, help="The .onnx file to write.")
@click.option("--labels", callback=_labels, required=True, metavar="A,B,...", help="Labels, in the order of the model's output.")
@click.option(
    "--layout",
    type=click.Choice(["nhwc", "nchw"]),
    help="Dimension order of the model's input.  [default: inferred from its shape]",
)
@click.option(
    "--colour", type=click.Choice(["rgb", "bgr"]), default="rgb", show_default=True, help="Channel order of the model's input."
)
@click.option(
    "--range",
    "pixels",
    callback=_numbers((2,)),
    default="0,1",
    show_default=True,
    metavar="LOW,HIGH",
    help="Input values of black and white: 0,1 or -1,1 or 0,255.",
)
@click.option(
    "--mean",
    callback=_numbers((1, 3)),
    default="0",
    show_default=True,
    metavar="X[,X,X]",
    help="Mean per channel, subtracted from that value.",
)
@click.option(
    "--std",
    callback=_numbers((1, 3)),
    default="1",
    show_default=True,
    metavar="X[,X,X]",
    help="Standard deviation per channel, which divides the difference.",
)
@click.option(
    "--size", type=click.IntRange(8, 1024), metavar="PIXELS", help="Side of the model's input, if the file leaves it open."
)
@click.option(
    "--output-type",
    type=click.Choice(["probabilities", "logits"]),
    default="probabilities",
    show_default=True,
    help="Type of the model's output. Logits get a softmax. A single number per picture belongs to the second label.",
)
@click.option(
    "--margin", type=FloatRange(0, 2), default=0.1, show_default=True, help="Margin around a face, as a fraction of its side."
)
@click.option(
    "--square/--as-found",
    default=True,
    show_default=True,
    help="Widen the shorter side of a face box first, or keep the detector's proportions.",
)
@click.option("--licence", "licences", multiple=True, metavar="TEXT", help="Licence of the model and its data, for the card.")
@overwrite_option
def adopt(
    model: Path,
    output: Path,
    labels: tuple[str, ...],
    layout: str | None,
    colour: str,
    pixels: tuple[float, ...],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    size: int | None,
    output_type: str,
    margin: float,
    square: bool,
    licences: tuple[str, ...],
    overwrite: bool,
) -> None:
    """Wrap MODEL, a third-party ONNX classifier (from Keras, PyTorch, ...), for edge-run.

    The output contains the pixel path (colours, layout, normalisation), the labels and the
    original's weights. Its probabilities must equal the original's for the same pictures; otherwise
    nothing is written.

    The command does not train the model. A model without the label not_a_face cannot reject false
    alarms of the detector.

    Exit codes: 0 done, 2 wrong usage, 4 the file was refused, 5 a file cannot be written.
    """
    if any(abs(number) < _LEAST_STD for number in std):
        raise click.BadParameter(f"--std must not contain 0 or less than {_LEAST_STD:g}: it is a divisor.")
    if pixels[0] == pixels[1]:
        raise click.BadParameter(
            "--range gives black and white the same value: give the two values that the model was trained with."
        )
    _check_output(output)
    with require_extra("export"):
        from maskedge.modelfile.crop import CropRule

        from .classifier.adopt import Adoption, adopt_classifier
    adoption = Adoption(labels, layout, colour, pixels[0], pixels[1], mean, std, size, output_type, CropRule(margin, square))
    result = adopt_classifier(model, output, adoption, licences)
    click.echo(f"parity: {result.crops} outputs compared with the original's, largest difference {result.worst:.1e}")
    click.echo(f"wrote {', '.join(map(str, result.written))}: {output.stat().st_size / 1e6:.2f} MB, sha256 {result.sha256}")


@main.command(cls=Command, short_help="Quantise an exported model to int8.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=OutputFile(".md", suffix=".onnx"), required=True, help="The .onnx file to write.")
@overwrite_option
@scenes_option
@relabel_scenes_option
@backgrounds_option
@click.option("--force", is_flag=True, help="Write a file that fails a gate, too. Its card records the failure.")
def int8(
    model: Path,
    output: Path,
    overwrite: bool,
    scenes: tuple[BoxFile, ...],
    relabel_scenes: BoxFile | None,
    backgrounds: tuple[Path, ...],
    force: bool,
) -> None:
    """Quantise MODEL, a float32 classifier or detector of edge-export, to int8.

    The pictures that trainings use set the ranges of the activations. The pictures that trainings
    hold out decide: the int8 file must be as accurate as float32, and faster on this machine.

    Exit codes: 0 done, 1 a gate failed and nothing was written, 2 wrong usage, 4 the file was
    refused, 5 a file cannot be written.
    """
    _check_output(output)
    if not scenes:
        raise click.UsageError("int8 is calibrated and measured on labelled pictures: give --scenes.")
    with require_extra("export"):
        from maskedge_train.cli.options import load

        from .int8.files import write_int8
    result = write_int8(model, output, load(None, None, scenes, backgrounds, relabel_scenes), force=force)
    for name, value in result.facts.items():
        if name not in ("gates", "precision"):
            click.echo(f"{name.replace('_', ' ')}: {value}")
    for gate, passed in result.facts["gates"].items():
        click.echo(f"gate: {gate}: {'passed' if passed else 'FAILED'}")
    if result.facts.get("crops", _FEW_CROPS) < _FEW_CROPS:
        click.echo(f"note: {result.facts['crops']} crops are too few to measure that loss: give more --scenes.", err=True)
    if not result.written:
        raise MaskedgeError("int8 failed a gate, so nothing was written: use float32, or --force.")
    click.echo(f"wrote {', '.join(map(str, result.written))}: {output.stat().st_size / 1e6:.2f} MB, sha256 {result.sha256}")


def _prior(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, float]:
    prior: dict[str, float] = {}
    for text in texts:
        label, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise click.BadParameter(f"give LABEL=NUMBER, such as incorrect_mask=-0.8, not {text!r}.") from None
        if label.strip() in prior:
            raise click.BadParameter(f"{label.strip()} is given twice: give each label once.")
        prior[label.strip()] = value
    return prior


@main.command(cls=Command, short_help="Write face thresholds, weak groups and a prior into a classifier.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=OutputFile(".md", suffix=".onnx"), required=True, help="The .onnx file to write.")
@overwrite_option
@click.option("--thresholds", type=_file, help="Report of edge-bench thresholds, measured with this model or its float32 file.")
@click.option("--attributes", type=_file, help="Report of edge-bench attributes, measured with this model or its float32 file.")
@click.option(
    "--prior",
    callback=_prior,
    multiple=True,
    metavar="LABEL=NUMBER",
    help="Number to add to the logit of a face's label, natural logarithm: below 0 for a label that is rarer than in the training "
    "data. May be repeated.",
)
def annotate(
    model: Path,
    output: Path,
    overwrite: bool,
    thresholds: Path | None,
    attributes: Path | None,
    prior: dict[str, float],
) -> None:
    """Write measurements of whole pictures into the card of MODEL, a classifier.

    The thresholds are then those of edge-run --precision, and the card shows their curve and the
    groups of faces that fall behind. The network and its self-test stay as they are.

    With --prior the graph changes, and the self-test is made anew. Among the labels of a face the
    probabilities shift; a crop is as probably a face as before.

    Exit codes: 0 done, 2 wrong usage, 4 the file was refused, 5 a file cannot be written.
    """
    if thresholds is None and attributes is None and not prior:
        raise click.UsageError("there is nothing to write: give --thresholds, --attributes or --prior.")
    _check_output(output)
    with require_extra("export"):
        from .classifier.annotate import annotate_classifier
    written = annotate_classifier(model, output, thresholds, attributes, prior)
    click.echo(f"wrote {', '.join(map(str, written))}")


@main.command(cls=Command, short_help="Verify a model file on this machine.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Also compare MODEL with this checkpoint (needs the extra export)."
)
@click.option("--data", type=_folder, help="With --checkpoint: folder of pictures. Up to 256 of them join the comparison.")
@click.option(
    "--public-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="MODEL must be signed by this key. Without it, only signatures of the bundled models' key are verified.",
)
def verify(model: Path, checkpoint: Path | None, data: Path | None, public_key: Path | None) -> None:
    """Verify MODEL on this machine: contract, checksums, signature, and the self-test in the file.

    Exit codes: 0 the outputs are those of the exporting machine, 1 they differ, 2 wrong usage, 4
    the file or the checkpoint was refused.
    """
    if data is not None and checkpoint is None:
        raise click.UsageError("--data needs --checkpoint: its pictures join that comparison.")
    with require_runtime():
        import onnxruntime

        from maskedge.vision.self_test import verify as check
    signature = _check_signature(model, public_key)
    found = check(model)
    click.echo(f"contract: a {found.kind} of {', '.join(found.labels)}")
    click.echo(f"checksum: {' and '.join(found.checksums) + ' agree' if found.checksums else 'the file has none'}")
    click.echo(f"signature: {signature or 'none'}")
    click.echo(
        f"self-test: {found.inputs} inputs, largest difference {found.worst:.1e} ({found.tolerance:g} admitted), "
        f"{counted(found.changed, 'label')} changed, onnxruntime {onnxruntime.__version__}"
    )
    if found.kind == "classifier":
        _warn_missing_label(found.labels, model)
    if not found.passed:
        raise MaskedgeError(
            f"{model} returns other outputs on this machine: install another onnxruntime, or export the model again."
        )
    if checkpoint:
        _compare(model, checkpoint, data)


def _check_signature(model: Path, public_key: Path | None) -> str | None:
    """Return a clause about the signature of a model file; None if it is not signed."""
    from maskedge.modelfile.contract import read_model
    from maskedge.modelfile.signature import load_public_key, read_signature, verify_file
    from maskedge.modelfile.trusted import describe_signature

    content = read_model(model)
    if public_key is not None:
        verify_file(model, content, [load_public_key(public_key)])
    elif read_signature(model) is None:
        return None
    return describe_signature(model, content, () if public_key is None else (public_key,))


@main.command(cls=Command, short_help="Sign a model file.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--key", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Private key (keygen).")
@click.option(
    "--release",
    type=int,
    required=True,
    metavar="N",
    help="Number of the release, from 1. A device takes no update whose number is not higher than all before.",
)
@click.option("--force", is_flag=True, help="Replace a signature of a higher release.")
def sign(model: Path, key: Path, release: int, force: bool) -> None:
    """Sign MODEL, a network or a cascade: writes MODEL.sig.

    The signature covers the file, its kind, the contract and the release. Devices with
    model.trusted_keys take only signed files. The model itself stays as it is.

    Exit codes: 0 done, 2 wrong usage, 4 the model was refused, 5 the signature cannot be written.
    """
    with require_runtime():
        from .signing import sign_file
    path, signed = sign_file(model, key, release, force=force)
    click.echo(f"wrote {path}: a {signed.kind}, release {signed.release}, key {signed.key}")


@main.command(cls=Command, short_help="Make a pair of keys for signatures.")
@click.argument("file", type=click.Path(path_type=Path))
def keygen(file: Path) -> None:
    """Make a pair of Ed25519 keys: the private key FILE, readable by you alone, and FILE.pub.

    Keep the private key where no device and no server can read it. An existing file is never
    replaced.

    Exit codes: 0 done, 2 wrong usage, 5 a file cannot be written.
    """
    from maskedge.modelfile.key_files import write_key_pair

    public, identity = write_key_pair(file)
    click.echo(f"wrote {file} (private) and {public}: key {identity}")


def _compare(model: Path, checkpoint: Path, data: Path | None) -> None:
    with require_extra("export"):
        from maskedge_train.shared.checkpoint import checkpoint_kind

        from .classifier.export import compare_with_checkpoint
    if checkpoint_kind(checkpoint) == "detector":
        _compare_detector(model, checkpoint)
        return
    parity = compare_with_checkpoint(model, checkpoint, data)
    click.echo(
        f"parity: {parity.crops} outputs compared, largest difference {parity.worst:.1e}, "
        f"{counted(parity.changed, 'label')} changed"
    )
    if not parity.passed:
        raise MaskedgeError(f"{model} differs from {checkpoint}: export it again.")


def _compare_detector(model: Path, checkpoint: Path) -> None:
    from .detector.export import compare_with_checkpoint

    parity = compare_with_checkpoint(model, checkpoint)
    click.echo(
        f"parity: {counted(parity.frames, 'frame')} with {parity.boxes} boxes compared, largest difference "
        f"{parity.worst:.1e} pixels"
    )
    if not parity.passed:
        raise MaskedgeError(f"{model} differs from {checkpoint}: export it again.")


@main.command(cls=Command, short_help="Print the model card of a model file.")
@click.argument("model", type=click.Path(path_type=Path))
def inspect(model: Path) -> None:
    """Print the model card of MODEL, from the metadata in the file.

    Exit codes: 0 done, 2 wrong usage, 4 the file was refused.
    """
    with require_runtime():
        from maskedge.vision.model_card import render_card
    click.echo(render_card(model), nl=False)
