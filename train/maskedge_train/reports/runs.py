"""The table of runs: the facts of each training's folder, finished or not."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from maskedge.errors import ModelError, UsageError
from maskedge.support.text import displayable

SCHEMA = "maskedge.runs/1"
_KINDS = {"maskedge.training/1": "classifier", "maskedge.detector/1": "detector", "maskedge.cascade/1": "cascade"}
_CHECKPOINTS = ("last.ckpt", "best.ckpt", "detector.ckpt", "stages.json")
_DIGITS = 8
"""Number of digits of a digest that are shown."""


@dataclass(frozen=True)
class Run:
    """One training. Unknown facts are None.

    Attributes:
        name: Folder of the training, relative to the searched folder.
        state: `done`, `unfinished` (running or stopped), or the error of its report.
        kind: `classifier`, `detector` or `cascade`.
        net: Name of the network.
        data: First digits of the data's digest.
        epochs: Number of epochs.
        seed: Seed of the training.
        accuracy: Accuracy on the test part, 0 to 1.
        macro_f1: Mean F1 over the labels, on the test part.
        false_alarms: Share of the detectors' false positives in the test part that the network
            accepts as faces.
        date: Time of the end or of the last write: ISO 8601, UTC.
        path: Folder of the training.
    """

    name: str
    state: str
    kind: str | None
    net: str | None
    data: str | None
    epochs: int | None
    seed: int | None
    accuracy: float | None
    macro_f1: float | None
    false_alarms: float | None
    date: str
    path: str


def find_runs(root: Path) -> list[Run]:
    """Read all trainings in `root` and below, the newest last.

    A training whose files cannot be read has a row, too.

    Raises:
        UsageError: There are no trainings.
    """
    folders = {path.parent for name in ("report.json", *_CHECKPOINTS) for path in root.rglob(name) if path.is_file()}
    runs = [run for folder in sorted(folders) if (run := _read(root, folder)) is not None]
    if not runs:
        raise UsageError(f"{root} contains no training: give the folder that contains the --out folders of edge-train.")
    return sorted(runs, key=lambda run: (run.date, run.name))


def _read(root: Path, folder: Path) -> Run | None:
    report, state = _report(folder / "report.json")
    checkpoints = [folder / name for name in _CHECKPOINTS if (folder / name).is_file()]
    if state == "done" and report.get("schema") not in _KINDS:
        return None  # another program's report
    if not checkpoints and state == "done" and "recipe" not in report and report.get("schema") == "maskedge.training/1":
        return None  # a report of edge-train evaluate
    if state == "unfinished":
        report = _from_checkpoint(checkpoints)
    recipe, tests = _mapping(report.get("recipe")), report.get("evaluations")
    test = _mapping(tests[0] if isinstance(tests, list) and tests else None)
    gate = _mapping(_mapping(report.get("gate")).get(str(test.get("name"))))
    rejected = _number(gate.get("rejected"))
    digest = _mapping(report.get("data")).get("digest", report.get("data"))
    written = [path.stat().st_mtime for path in (folder / "report.json", *checkpoints) if path.is_file()]
    epochs, seed = report.get("epochs", len(_sized(report.get("history"))) or None), recipe.get("seed", report.get("seed"))
    return Run(
        name=folder.relative_to(root).as_posix() if folder != root else folder.resolve().name,
        state=state,
        kind=_KINDS.get(str(report.get("schema"))),
        net=report["net"] if isinstance(report.get("net"), str) else None,
        data=digest[:_DIGITS] if isinstance(digest, str) else None,
        epochs=epochs if isinstance(epochs, int) else None,
        seed=seed if isinstance(seed, int) else None,
        accuracy=_number(test.get("accuracy")),
        macro_f1=_number(test.get("macro_f1")),
        false_alarms=None if rejected is None else round(1 - rejected, 4),
        date=datetime.fromtimestamp(max(written, default=0), timezone.utc).isoformat(timespec="seconds"),
        path=str(folder),
    )


def _report(path: Path) -> tuple[dict[str, Any], str]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}, "unfinished"
    except OSError as error:
        return {}, f"report.json cannot be read ({error.strerror})"
    except (ValueError, RecursionError):
        return {}, "report.json is damaged"
    return (content, "done") if isinstance(content, dict) else ({}, "report.json is damaged")


def _from_checkpoint(checkpoints: Sequence[Path]) -> dict[str, Any]:
    """Read the facts in the newest readable checkpoint of an unfinished training."""
    from maskedge_train.shared.checkpoint import read_checkpoint

    for path in checkpoints:
        if path.suffix != ".ckpt":
            return {"schema": "maskedge.cascade/1"}
        try:
            facts = _mapping(read_checkpoint(path)["maskedge"])
        except ModelError:
            continue
        notes = _mapping(facts.get("recipe"))
        kind = next((schema for schema, kind in _KINDS.items() if kind == facts.get("kind", "classifier")), None)
        return {
            "schema": kind,
            "net": facts.get("net"),
            "recipe": notes,
            "data": notes.get("data"),
            "history": facts.get("history"),
        }
    return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _sized(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def to_json(runs: Iterable[Run]) -> str:
    """Return the runs as JSON."""
    return json.dumps({"schema": SCHEMA, "runs": [asdict(run) for run in runs]}, indent=1, ensure_ascii=False) + "\n"


def to_csv(runs: Iterable[Run]) -> str:
    """Return the runs as CSV, one row per run. Unknown values are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Run)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(run) for run in runs)
    return text.getvalue()


def to_table(runs: Sequence[Run]) -> str:
    """Return the runs as a text table."""
    head = ("Name", "Net", "Data", "Epochs", "Seed", "Accuracy", "Macro F1", "False alarms", "Date", "Path")
    rows = [
        (
            displayable(run.name),
            displayable(run.net or run.kind or "-"),
            run.data or "-",
            *("-" if value is None else str(value) for value in (run.epochs, run.seed)),
            *("-" if value is None else f"{value:.4f}" for value in (run.accuracy, run.macro_f1, run.false_alarms)),
            run.date[:16].replace("T", " "),
            displayable(run.path) + ("" if run.state == "done" else f"  ({run.state})"),
        )
        for run in runs
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if 3 <= column <= 7 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
