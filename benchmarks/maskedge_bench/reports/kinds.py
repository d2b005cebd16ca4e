"""Reading and formatting of every kind of report that the project writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskedge.errors import UsageError
from maskedge.modelfile.precision_table import precision_table
from maskedge.support.text import counted
from maskedge_bench.accuracy.tables import accuracy_table, attributes_table, thresholds_table, tracking_table
from maskedge_bench.fleet.tables import fleet_tables
from maskedge_bench.history.tables import history_table
from maskedge_bench.json_shape import problems
from maskedge_bench.live.tables import live_tables
from maskedge_bench.markdown import Report, known, markdown_table
from maskedge_bench.report_schemas import INCOMPLETE, OPTIONAL_HEAD, check_version, load_report, read_json
from maskedge_bench.speed.tables import (
    clock_sentence,
    cold_start_table,
    conditions_sentence,
    nets_table,
    roofline_table,
    speed_sections,
)

from .compare import compare_table


@dataclass(frozen=True)
class Kind:
    """Title and table of a kind of report without a shape (`report_schemas.OTHER_VERSIONS`).

    Attributes:
        title: Returns the title.
        table: Returns a Markdown table. It raises a KeyError, TypeError or the like on incomplete
            reports.
    """

    title: Callable[[Report], str]
    table: Callable[[Report], str]


def _evaluations(report: Report) -> str:
    head = ("measured on", "pictures", "accuracy", "macro F1", "calibration error")
    rows = [
        [
            part["name"],
            f"{part['pictures']:,}",
            f"{part['accuracy']:.4f}",
            known(part.get("macro_f1"), ".4f"),
            known((part.get("calibration") or {}).get("ece_after"), ".4f"),
        ]
        for part in report["evaluations"]
    ]
    minutes = f", {report['train_seconds'] / 60:.0f} minutes" if "train_seconds" in report else ""
    return f"{markdown_table(head, rows)}\n\n{report['parameters']:,} parameters, {counted(report['epochs'], 'epoch')}{minutes}."


def _leakage(report: Report) -> str:
    head = ("split", "test accuracy", "test pictures with a relative in another part")
    rows = []
    for by, name in (("random", "random"), ("group", "related pictures together")):
        own = report[by]["accuracy"]
        rows.append([name, f"{sum(own) / len(own):.4f} ({min(own):.4f} - {max(own):.4f})", f"{report[by]['separated']:.1%}"])
    return (
        f"{markdown_table(head, rows)}\n\n{counted(report['epochs'], 'epoch')}, "
        f"{counted(len(report['seeds']), 'seed')}; mean and range."
    )


def curve_table(report: Report) -> str:
    """Return the faces found and false alarms of a detector at each threshold."""
    head = ("longest side", "score threshold", "masked faces found", "unmasked faces found", "false alarms per picture")
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
    return f"{curve_table(report)}\n\n{report['pictures']:,} held-out pictures."


def _cascade(report: Report) -> str:
    rows = [[key.replace("_", " "), f"{value:,}"] for key, value in report.items() if type(value) in (int, float)]
    return markdown_table(("figure", "value"), rows)


_KINDS: dict[str, Kind] = {
    "accuracy": Kind(lambda report: f"Accuracy on {report['scenes']}", accuracy_table),
    "tracking": Kind(lambda report: f"Tracking, detector {report['detector']}", tracking_table),
    "precisions": Kind(lambda _: "Precisions of a classifier", precision_table),
    "training": Kind(lambda report: f"Training of {report['net']}", _evaluations),
    "detector": Kind(lambda _: "Training of a detector", _detector),
    "cascade": Kind(lambda _: "Training of a cascade", _cascade),
    "thresholds": Kind(lambda _: "Face thresholds", thresholds_table),
    "attributes": Kind(lambda _: "Accuracy by attributes of the faces", attributes_table),
    "leakage": Kind(lambda report: f"Leakage between splits, {report['net']}", _leakage),
}
_TABLES: Mapping[str, Callable[[Report], str]] = {
    "nets": nets_table,
    "start": cold_start_table,
    "live": live_tables,
    "limits": roofline_table,
    "compare": compare_table,
    "history": history_table,
    "fleet": fleet_tables,
}


def kind_of(report: Mapping[str, Any]) -> str:
    """Return the kind of a report, such as `speed`."""
    return str(report["schema"]).split("/")[0].removeprefix("maskedge.")


def load_any(path: Path) -> dict[str, Any]:
    """Read a report of any kind. Reports without a head get a title, time and warnings.

    Raises:
        UsageError: The file cannot be read, is not a report of this project, has another version,
            or is incomplete.
    """
    content = read_json(path)
    kind = check_version(path, content)
    if kind not in _KINDS:
        return load_report(path)
    own = _KINDS[kind]
    if faults := list(problems(content, OPTIONAL_HEAD)):
        raise UsageError(f"{path} is not a report that this version reads ({'; '.join(faults[:3])}): measure again.")
    try:
        content = {"time": "", "warnings": [], "commit": None, **content, "title": own.title(content)}
        own.table(content)
    except INCOMPLETE as error:
        raise UsageError(
            f"{path} has the schema {content['schema']} but is incomplete ({type(error).__name__}: {error}): measure again."
        ) from error
    return content


def table_of(report: Report) -> str:
    """Return the table of a report of any kind but speed."""
    kind = kind_of(report)
    return (_KINDS[kind].table if kind in _KINDS else _TABLES[kind])(report)


def to_markdown(report: Report) -> str:
    """Return a whole report of any kind as Markdown."""
    parts = [f"# {report['title']}", *(f"> {warning}" for warning in report["warnings"])]
    if kind_of(report) == "speed":
        parts += [conditions_sentence(report)]
        parts += [text for heading, table in speed_sections(report) for text in (f"## {heading}", table)]
        parts += [clock_sentence(report), *report["notes"]]
    else:
        parts.append(table_of(report))
    return "\n\n".join(part for part in parts if part) + "\n"
