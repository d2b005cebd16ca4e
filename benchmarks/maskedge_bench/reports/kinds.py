"""Reports of every kind that the project writes: which versions are read, and how each is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskedge.errors import UsageError
from maskedge_bench.markdown import (
    Report,
    clock_sentence,
    compare_table,
    conditions,
    limits_table,
    markdown_table,
    nets_table,
    speed_sections,
    start_table,
)
from maskedge_bench.report import check_version, load_report, read_json

from .precisions import precision_table


@dataclass(frozen=True)
class Kind:
    """How a kind of report is shown whose format has no schema of its own (`report.OTHER_VERSIONS`).

    Attributes:
        title: Gives its title.
        table: Gives it as a Markdown table. A KeyError, TypeError or the like means that it lacks something.
    """

    title: Callable[[Report], str]
    table: Callable[[Report], str]


def _evaluations(report: Report) -> str:
    head = ("measured on", "pictures", "right", "macro F1", "calibration error")
    rows = [
        [
            part["name"],
            f"{part['pictures']:,}",
            f"{part['accuracy']:.4f}",
            _known(part.get("macro_f1")),
            _known((part.get("calibration") or {}).get("ece_after")),
        ]
        for part in report["evaluations"]
    ]
    minutes = f", {report['train_seconds'] / 60:.0f} minutes" if "train_seconds" in report else ""
    return f"{markdown_table(head, rows)}\n\n{report['parameters']:,} parameters, {report['epochs']} epochs{minutes}."


def _leakage(report: Report) -> str:
    head = ("split", "test accuracy", "test pictures that have a relative in another part")
    rows = []
    for by, name in (("random", "random"), ("group", "related pictures together")):
        own = report[by]["accuracy"]
        rows.append([name, f"{sum(own) / len(own):.4f} ({min(own):.4f} - {max(own):.4f})", f"{report[by]['separated']:.1%}"])
    return f"{markdown_table(head, rows)}\n\n{report['epochs']} epochs, {len(report['seeds'])} seeds; mean and range."


def curve_table(report: Report) -> str:
    """Give what a detector finds at each threshold."""
    head = ("longest side", "least score", "masked faces found", "unmasked faces found", "false alarms a picture")
    rows = [
        [
            str(point["side"]),
            f"{point['score']:.2f}",
            f"{point['masked_found']:.3f}",
            f"{point['unmasked_found']:.3f}",
            f"{point['false_alarms']:.2f}",
        ]
        for point in report["curve"]
    ]
    return markdown_table(head, rows)


def _detector(report: Report) -> str:
    return f"{curve_table(report)}\n\n{report['pictures']:,} pictures kept from the training."


def _known(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _accuracy(report: Report) -> str:
    # Loaded for these alone: they bring what measures, too.
    from maskedge_bench.accuracy.scenes import accuracy_table

    return accuracy_table(dict(report))


def _tracking(report: Report) -> str:
    from maskedge_bench.accuracy.tracking import tracking_table

    return tracking_table(dict(report))


def _cascade(report: Report) -> str:
    rows = [[key.replace("_", " "), f"{value:,}"] for key, value in report.items() if type(value) in (int, float)]
    return markdown_table(("what", "value"), rows)


_KINDS: dict[str, Kind] = {
    "accuracy": Kind(lambda report: f"Accuracy on {report['scenes']}", _accuracy),
    "tracking": Kind(lambda report: f"Tracking, detector {report['detector']}", _tracking),
    "precisions": Kind(lambda _: "Precisions of a classifier", precision_table),
    "training": Kind(lambda report: f"Training of {report['net']}", _evaluations),
    "detector": Kind(lambda _: "Training of a detector", _detector),
    "cascade": Kind(lambda _: "Training of a cascade", _cascade),
    "leakage": Kind(lambda report: f"Leakage between splits, {report['net']}", _leakage),
}
_TABLES: Mapping[str, Callable[[Report], str]] = {
    "nets": nets_table,
    "start": start_table,
    "limits": limits_table,
    "compare": compare_table,
}


def kind_of(report: Mapping[str, Any]) -> str:
    """Name the kind of a report, as in `speed`."""
    return str(report["schema"]).split("/")[0].removeprefix("maskedge.")


def load_any(path: Path) -> dict[str, Any]:
    """Read a report of any kind, and give those that have no head (`title`, `time`, `warnings`) one.

    Raises:
        UsageError: It cannot be read, is of another version, is no report of this project, or lacks what belongs to its kind.
    """
    content = read_json(path)
    kind = check_version(path, content)
    if kind not in _KINDS:
        return load_report(path)
    own = _KINDS[kind]
    try:
        content = {"time": "", "warnings": [], "commit": None, **content, "title": own.title(content)}
        own.table(content)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, StopIteration, ZeroDivisionError) as error:
        raise UsageError(
            f"{path} calls itself {content['schema']} and lacks what such a report holds ({type(error).__name__}: {error}): "
            "write it again."
        ) from error
    return content


def table_of(report: Report) -> str:
    """Give the table of a report that is not of speed, whatever its kind."""
    kind = kind_of(report)
    return (_KINDS[kind].table if kind in _KINDS else _TABLES[kind])(report)


def to_markdown(report: Report) -> str:
    """Give a whole report as Markdown, whatever its kind."""
    parts = [f"# {report['title']}", *(f"> {warning}" for warning in report["warnings"])]
    if kind_of(report) == "speed":
        parts += [conditions(report)]
        parts += [text for heading, table in speed_sections(report) for text in (f"## {heading}", table)]
        parts += [clock_sentence(report), *report["notes"]]
    else:
        parts.append(table_of(report))
    return "\n\n".join(part for part in parts if part) + "\n"
