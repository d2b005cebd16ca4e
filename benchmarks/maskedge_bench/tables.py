"""The tables of the README, written from committed reports, so that no figure in it is typed by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from maskedge.errors import UsageError

from .accuracy import accuracy_table
from .nets import nets_table
from .precisions import precision_table
from .speed import conditions, table
from .start import start_table
from .tracking import tracking_table


def render(results: Path) -> dict[str, str]:
    """Give the text of each table by name.

    Args:
        results: Folder of the committed reports.
    """

    def load(name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
        return content

    def load_all(folder: str) -> list[dict[str, Any]]:
        return [load(f"{folder}/{path.stem}") for path in sorted((results / folder).glob("*.json"))]

    reports = [report for report in load_all("training") if "evaluations" in report]
    speed = load("speed")
    return {
        "speed": f"{table(speed)}\n\n{conditions(speed)}",
        "accuracy": accuracy_table(load("accuracy")),
        "nets": nets_table(load("nets")),
        "precisions": precision_table(load("precisions")),
        "start": start_table(load("start")),
        "tracking": tracking_table(load("tracking")),
        "training": _training(reports),
        "scenes": _scenes(reports),
        "limits": _limits(reports),
        "leakage": _leakage(load("leakage")),
        "copies": _copies(load_all("copies")),
    }


def _by_net(reports: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    nets: dict[str, list[dict[str, Any]]] = {}
    for report in sorted(reports, key=lambda report: int(report["parameters"])):
        nets.setdefault(report["net"], []).append(report)
    return nets


def _evaluation(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(part for part in report["evaluations"] if part["name"] == name)


def _range(values: Iterable[float]) -> str:
    """Mean over the seeds, and the range where there are several."""
    own = list(values)
    return f"{own[0]:.4f}" if len(own) == 1 else f"{mean(own):.4f} ({min(own):.4f} - {max(own):.4f})"


def _training(reports: list[dict[str, Any]]) -> str:
    lines = [
        "| net | parameters | with or without a mask | of two labels only | seeds | epochs | minutes a training |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for net, own in _by_net(reports).items():
        two_way = [_evaluation(report, "faces test")["two_way"] for report in own]
        minutes = mean(report["train_seconds"] for report in own) / 60
        lines.append(
            f"| {net} | {own[0]['parameters']:,} | {_range(part['strict'] for part in two_way)} | "
            f"{_range(part['two_labels'] for part in two_way)} | {len(own)} | {own[0]['epochs']} | {minutes:.0f} |"
        )
    split, pictures = reports[0]["split"], _evaluation(reports[0], "faces test")["pictures"]
    lines += [
        "",
        f"{pictures} test pictures, none of which has a relative among the {split['train']:,} to learn from or the "
        f"{split['val']:,} to choose the epoch by; {split['grouped']:,} stand in {split['groups']} groups of related ones. "
        "Mean and range over the seeds.",
    ]
    return "\n".join(lines)


def _scenes(reports: list[dict[str, Any]]) -> str:
    lines = [
        "| net | macro F1 | incorrect_mask recall | calibration error | false alarms thrown out | faces kept |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for net, own in _by_net(reports).items():
        parts, gates = [_evaluation(report, "scenes dev") for report in own], [report["gate"]["scenes dev"] for report in own]
        cells = (
            _range(part["macro_f1"] for part in parts),
            _range(part["labels"]["incorrect_mask"]["recall"] for part in parts),
            _range(part["calibration"]["ece_after"] for part in parts),
            _range(gate["rejected"] for gate in gates),
            _range(gate["kept"] for gate in gates),
        )
        lines.append(f"| {net} | {' | '.join(cells)} |")
    part, gate = _evaluation(reports[0], "scenes dev"), reports[0]["gate"]["scenes dev"]
    counts = ", ".join(f"{figures['count']:,} {label}" for label, figures in part["labels"].items())
    lines += ["", f"{counts}; {gate['false_alarms']} of the last are what cascades find in pictures without people."]
    return "\n".join(lines)


def _limits(reports: list[dict[str, Any]]) -> str:
    # Of several seeds the one of least validation loss is bundled.
    own = [report for report in reports if report["net"] == "edgenet"]
    report = min(own, key=lambda report: min(epoch["val_loss"] for epoch in report["history"]))
    lines = ["| the same faces | right | faces |", "| --- | --- | --- |"]
    lines += [f"| {row['condition']} | {row['accuracy']:.4f} | {row['faces']} |" for row in report["limits"]]
    return "\n".join(lines)


def _copies(reports: list[dict[str, Any]]) -> str:
    lines = ["| net | test accuracy | test pictures | epochs | minutes a training |", "| --- | --- | --- | --- | --- |"]
    for report in sorted(reports, key=lambda report: int(report["parameters"])):
        part, minutes = _evaluation(report, "faces test"), report["train_seconds"] / 60
        lines.append(f"| {report['net']} | {part['accuracy']:.4f} | {part['pictures']} | {report['epochs']} | {minutes:.0f} |")
    return "\n".join(lines)


def _leakage(report: dict[str, Any]) -> str:
    lines = ["| split | test accuracy | test pictures that have a relative in another part |", "| --- | --- | --- |"]
    for by, name in (("random", "random, as the original project"), ("group", "related pictures together")):
        lines.append(f"| {name} | {_range(report[by]['accuracy'])} | {report[by]['separated']:.1%} |")
    lines += [
        "",
        f"{report['net']}, {report['epochs']} epochs, {len(report['seeds'])} seeds of split and training; mean and range.",
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
