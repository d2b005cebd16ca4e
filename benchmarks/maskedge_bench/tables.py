"""The tables of the README, written from committed reports, so that no figure in it is typed by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from maskedge.errors import UsageError

from .accuracy import accuracy_table
from .speed import conditions, table


def render(results: Path) -> dict[str, str]:
    """Give the text of each table by name.

    Args:
        results: Folder of the committed reports.
    """
    speed = json.loads((results / "speed.json").read_text(encoding="utf-8"))
    reports = [json.loads((results / f"training_{net}.json").read_text(encoding="utf-8")) for net in ("seednet", "edgenet")]
    accuracy = json.loads((results / "accuracy.json").read_text(encoding="utf-8"))
    return {"speed": f"{table(speed)}\n\n{conditions(speed)}", "accuracy": accuracy_table(accuracy), "training": _training(reports)}


def _training(reports: list[dict[str, Any]]) -> str:
    lines = [
        "| net | parameters | test accuracy | F1 with_mask | F1 without_mask | epochs | training |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for report in reports:
        test = report["test"]
        lines.append(
            f"| {report['net']} | {report['parameters']:,} | {test['accuracy']:.4f} | {test['labels']['with_mask']['f1']:.4f} | "
            f"{test['labels']['without_mask']['f1']:.4f} | {report['epochs']} | {report['train_seconds'] / 60:.0f} min |"
        )
    split, copies = reports[0]["split"], reports[0]["split"]["grouped"]
    lines += [
        "",
        f"{split['test']} test pictures; {split['train']} to train, {split['val']} to choose the epoch; "
        f"{copies} copies kept on one side of the split.",
    ]
    return "\n".join(lines)


def update(readme: Path, results: Path, *, check: bool) -> list[str]:
    """Write the tables between `<!-- table:NAME -->` and `<!-- /table -->`.

    Args:
        readme: The file to update.
        results: Folder of the committed reports.
        check: Change nothing.

    Returns:
        Names of the tables that differed.

    Raises:
        UsageError: The file marks a table that does not exist.
    """
    text = readme.read_text(encoding="utf-8")
    tables = render(results)
    differing = []

    def replace(found: re.Match[str]) -> str:
        name = found[1]
        if name not in tables:
            raise UsageError(f"{readme} marks a table {name!r}; known are {', '.join(sorted(tables))}.")
        fresh = f"<!-- table:{name} -->\n{tables[name]}\n<!-- /table -->"
        if fresh != found[0]:
            differing.append(name)
        return fresh

    fresh = re.sub(r"<!-- table:(\w+) -->.*?<!-- /table -->", replace, text, flags=re.DOTALL)
    if not check and differing:
        readme.write_text(fresh, encoding="utf-8")
    return differing
