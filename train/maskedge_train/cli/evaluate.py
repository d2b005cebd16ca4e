"""`edge-train evaluate`: the metrics of a checkpoint on labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maskedge.cli.common import Command, require_extra
from maskedge.cli.output_options import OutputFolder, check_folder, overwrite_option

from .classifier import load_test_sets, print_evaluations
from .options import (
    FACE_BOXES,
    DataOptions,
    data_options,
    progress_bar,
    quiet_option,
)


@click.command(cls=Command, short_help="Measure a classifier checkpoint on labelled data.")
@click.argument("checkpoint", type=click.Path(dir_okay=False, path_type=Path))
@data_options(locate=True)
@click.option(
    "--split",
    "split_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="split.json of the training, with the same --data, --scenes and --backgrounds: measure only its --part.",
)
@click.option(
    "--part", type=click.Choice(["train", "val", "test"]), default="test", show_default=True, help="Part of --split to measure."
)
@click.option(
    "--out",
    type=OutputFolder(),
    help="Folder for the report.  [default: evaluation beside CHECKPOINT]",
)
@overwrite_option
@quiet_option
def evaluate(
    checkpoint: Path,
    data: DataOptions,
    split_file: Path | None,
    part: str,
    out: Path | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Measure CHECKPOINT on labelled data: report.json, report.html and charts.

    Without --split all pictures are measured. The result is valid only if none of them was used for
    training.

    Exit codes: 0 done, 2 wrong usage or unusable data, 4 the checkpoint was refused, 5 a file could
    not be written.
    """
    if not (data.faces or data.scenes or data.backgrounds):
        raise click.UsageError("nothing to measure on: give --data, --scenes or --backgrounds.")
    with require_extra("train"):
        from maskedge_train.classifier.checkpoint import load_classifier
        from maskedge_train.classifier.evaluate import reliable_rows
        from maskedge_train.data.crops import cut_crops
        from maskedge_train.data.split import PARTS, Split
        from maskedge_train.reports.report import report_checkpoint
    out = out or checkpoint.parent / "evaluation"
    check_folder(out, ("report.json", "report.html"), overwrite=overwrite)
    _, spec, card = load_classifier(checkpoint)
    sets = {}
    if data.faces or split_file:
        # A training writes the located faces beside its split.
        kept = split_file.parent / FACE_BOXES if split_file else None
        everything = data.load(kept=kept, quiet=quiet)
        parts = Split.load(split_file).part_of(everything) if split_file else None
        chosen = [index for index in range(len(everything.pictures)) if parts is None or PARTS[parts[index]] == part]
        import numpy as np

        with progress_bar(len(chosen), "Cutting faces", quiet) as step:
            crops = cut_crops(
                everything.take(chosen),
                np.full(len(chosen), PARTS.index(part)),
                negatives="not_a_face" in spec.labels,
                painted=False,
                negatives_from_faces=True,
                progress=step,
            )
        sets[f"{part} part" if split_file else "data"] = crops.take(reliable_rows(crops))
    else:
        convention = card.get("data", {}).get("convention")
        sets |= load_test_sets(data.scenes, data.backgrounds, spec.labels, quiet, convention)
    facts: dict[str, Any] = {key: card[key] for key in ("net", "parameters", "data", "split") if key in card}
    report = report_checkpoint(checkpoint, sets, out, facts=facts)
    print_evaluations(report)
    click.echo(f"Wrote {out / 'report.html'}")
