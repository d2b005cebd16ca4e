"""`edge-train`: from a folder of pictures to a checkpoint with its figures."""

from __future__ import annotations

import json
from pathlib import Path

import click

from maskedge.cli.common import CommandGroup, require_extra

data_option = click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder with one sub-folder of pictures a label: with_mask, without_mask.",
)


@click.group(cls=CommandGroup)
@click.version_option(package_name="maskedge")
def main() -> None:
    """Train maskedge's models on a workstation."""


@main.command()
@data_option
@click.option(
    "--net",
    default="edgenet",
    show_default=True,
    help="Network to train: edgenet (small, the default) or seednet (the original).",
)
@click.option("--epochs", type=click.IntRange(1), default=40, show_default=True, help="Passes over the training part.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for checkpoints and report.  [default: runs/NET]",
)
@click.option("--batch-size", type=click.IntRange(2), default=32, show_default=True, help="Pictures a step.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    default=2e-3,
    show_default=True,
    help="Peak learning rate.",
)
@click.option(
    "--augment",
    type=click.Choice(["camera", "light"]),
    default="camera",
    show_default=True,
    help="camera: what detectors and small cameras do to a face. light: small turns and shifts, as the original project did.",
)
@click.option(
    "--mixup",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Blend pictures in pairs, in a proportion from Beta(MIXUP, MIXUP): against overfitting. 0: do not.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of weights, order and augmentation.")
@click.option("--split-seed", type=int, default=0, show_default=True, help="Seed of the split into train, val and test.")
@click.option("--quiet", is_flag=True, help="No progress bars.")
def classifier(
    data: Path,
    net: str,
    epochs: int,
    out: Path | None,
    batch_size: int,
    learning_rate: float,
    augment: str,
    mixup: float,
    seed: int,
    split_seed: int,
    quiet: bool,
) -> None:
    """Train a mask classifier; byte-identical and near-identical pictures stay on one side of the split.

    Writes best.ckpt, last.ckpt, split.json and report.json. Exit codes: 0 done, 2 wrong usage or unusable data.
    """
    with require_extra("train"):
        from .classifier import CACHE_SIZE, train_classifier
        from .dataset import load_pictures
        from .nets import build
        from .split import split_by_group
    build(net, 2)  # an unknown name is said before minutes of work
    out = out or Path("runs") / net
    out.mkdir(parents=True, exist_ok=True)
    pictures = load_pictures(data, CACHE_SIZE)
    for name, reason in pictures.unreadable:
        click.echo(f"skipped {name}: {reason}", err=True)
    split = split_by_group(pictures, split_seed)
    split.save(out / "split.json")
    sizes = ", ".join(f"{part} {len(names)}" for part, names in split.parts.items())
    click.echo(
        f"{len(pictures.names)} pictures ({sizes}); "
        f"{split.grouped} of them are copies in {split.groups} groups, each kept in one part."
    )
    checkpoint, card = train_classifier(
        pictures,
        split,
        net,
        out,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        augmentation=augment,
        mixup=mixup,
        seed=seed,
        progress=not quiet,
    )
    (out / "report.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    test = card["test"]
    click.echo(f"{net}: {card['parameters']:,} parameters, {card['epochs']} epochs in {card['train_seconds']:.0f} s.")
    click.echo(f"test accuracy {test['accuracy']:.4f} on {test['pictures']} pictures that training never saw.")
    for label, figures in test["labels"].items():
        click.echo(f"  {label:14} precision {figures['precision']:.4f}  recall {figures['recall']:.4f}  F1 {figures['f1']:.4f}")
    click.echo(f"wrote {checkpoint}; next: edge-export {checkpoint} -o model.onnx")


@main.command()
@data_option
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The .jpg to write; a .json goes beside it.",
)
@click.option("--per-label", type=click.IntRange(1, 16), default=3, show_default=True, help="Composite faces a label.")
def atlas(data: Path, output: Path, per_label: int) -> None:
    """Make the composite faces of the demo clip: each is the aligned average of 12 to 16 faces."""
    with require_extra("train"):
        from .atlas import make_atlas
    for composite in make_atlas(data, output, per_label):
        click.echo(f"{composite.label}: average of {composite.faces} faces, correlation {composite.agreement:.2f}")
    click.echo(f"wrote {output} ({output.stat().st_size / 1000:.0f} kB)")
