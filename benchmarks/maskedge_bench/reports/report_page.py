"""Reports as one self-contained HTML page with charts and tables, for screen and print."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskedge.rendering.html import charts, paragraph, section, table, write_page
from maskedge_bench.fleet.tables import backlog_sentence, growth_table, load_table, month_table
from maskedge_bench.markdown import UNKNOWN, machine
from maskedge_bench.report_schemas import COMPARE, FLEET, SPEED
from maskedge_bench.speed.tables import clock_sentence, conditions_sentence, speed_sections
from maskedge_bench.svg_charts import STYLE, Series, bars, plot

from .kinds import table_of

_STAGES = ("resize", "detect", "classify", "track")


def write_report_page(path: Path, reports: Sequence[dict[str, Any]]) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        reports: Reports of any kind (`kinds.load_any`). Two or more speed reports get a comparison.

    Raises:
        OutputError: The file cannot be written.
    """
    speeds = [report for report in reports if report["schema"] == SPEED]
    sections = _side_by_side(speeds) if len(speeds) > 1 else []
    for report in reports:
        # A single report gives the page its title.
        prefix = f"{_name(report)}: " if len(reports) > 1 else ""
        if report["warnings"]:
            sections.append(section(_heading(prefix, "warnings"), *map(paragraph, report["warnings"])))
        sections += _speed(report, prefix) if report["schema"] == SPEED else _other(report)
    title = reports[0]["title"] if len(reports) == 1 else f"{len(reports)} reports"
    write_page(path, title, _lead(reports), [STYLE, *sections])


def _lead(reports: Sequence[dict[str, Any]]) -> str:
    """Return each machine with the times of its measurements."""
    machines: dict[str, list[str]] = {}
    for report in reports:
        # Training reports have no machine.
        if report["time"] and "facts" in report:
            machines.setdefault(machine(report["facts"]), []).append(_moment(report))
    return " ".join(f"{name}: {'; '.join(dict.fromkeys(times))}." for name, times in machines.items())


def _name(report: dict[str, Any]) -> str:
    """Return title and date."""
    return ", ".join(filter(None, (report["title"], report["time"][:10])))


def _heading(prefix: str, title: str) -> str:
    return prefix + title if prefix else _capitalised(title)


def _capitalised(title: str) -> str:
    """Return a title with a capital first letter. `edge-run` stays as it is."""
    return title if title.startswith("edge-") else title[:1].upper() + title[1:]


def _moment(report: dict[str, Any]) -> str:
    """Return time and version of a measurement."""
    version = f"maskedge {report['facts'].get('maskedge', '')}".strip()
    time = report["time"][:16].replace("T", " ")
    return f"{time}, {version} at {report['commit']}" if report["commit"] else f"{time}, {version}"


def _html(markdown: str) -> str:
    """Convert a Markdown table of this package, and the notes below it, to HTML."""
    lines = markdown.splitlines()
    rows = [
        [_unbroken(cell.strip().replace("`", "")) for cell in line.strip("|").split(" | ")]
        for line in lines
        if line.startswith("|")
    ]
    notes = [line.replace("`", "") for line in lines if line and not line.startswith("|")]
    head = [_capitalised(cell) for cell in rows[0]]
    return table(head, rows[2:]) + "".join(map(paragraph, notes))


def _unbroken(cell: str) -> str:
    """Keep a number and its unit, a size, and a range on one line."""
    cell = re.sub(r"(?<=\d) (?=(?:ms|s|MB|M|x)\b)|(?<=\d x) (?=\d)", "\N{NO-BREAK SPACE}", cell)
    # Browsers break lines after a hyphen even before a no-break space.
    return re.sub(r"(\([\d.]+) - ([\d.]+\))", "\\1\N{NO-BREAK SPACE}-\N{WORD JOINER}\N{NO-BREAK SPACE}\\2", cell)


def _speed(report: dict[str, Any], prefix: str) -> list[str]:
    tables = speed_sections(report)
    graphs = {"Pipelines": [_latency(report), _stages(report)], "Cost model": [_cost(report)]}
    sections = []
    for heading, markdown in tables:
        note = paragraph(conditions_sentence(report).replace("`", "")) if heading == "Pipelines" else ""
        sections.append(section(prefix + heading, charts(graphs.get(heading, [])), _html(markdown), note))
    notes = [note for note in (clock_sentence(report), *report["notes"]) if note]
    return [*sections, section(_heading(prefix, "notes"), *map(paragraph, notes))] if notes else sections


def _latency(report: dict[str, Any]) -> str:
    series = [
        Series(row["name"], [(value, percent) for percent, value in enumerate(row["quantiles_ms"])]) for row in report["pipelines"]
    ]
    return plot(series, "Milliseconds from arrival to result", "% of frames", log_x=True)


def _stages(report: dict[str, Any]) -> str:
    rows = []
    for row in report["pipelines"]:
        means = {stage: figures["mean"] for stage, figures in row["stages_ms"].items()}
        parts = [(stage, means[stage]) for stage in _STAGES if stage in means]
        rest = means["total"] - sum(value for _, value in parts)
        rows.append((row["name"], [*parts, ("other", rest)] if rest > 0 else parts))
    return bars(rows, "ms per frame, mean")


def _cost(report: dict[str, Any]) -> str:
    series = []
    for fit in report["cost"]:
        points = [
            (fit["fixed_ms"] + point["faces"] * fit["face_ms"] + point["megapixels"] * fit["megapixel_ms"], point["milliseconds"])
            for point in fit["points"]
        ]
        series.append(Series(fit["pipeline"], points, line=False, dots=True))
    every = [value for own in series for point in own.points for value in point if value > 0]
    ends = [(min(every), min(every)), (max(every), max(every))] if every else []
    return plot(
        [*series, Series("Model equals measurement", ends)],
        "Milliseconds by the model",
        "Milliseconds measured",
        log_x=True,
        log_y=True,
    )


def _other(report: dict[str, Any]) -> list[str]:
    if report["schema"] == FLEET:
        return _fleet(report)
    graphs = charts([_frontier(report)]) if report["schema"] == COMPARE else ""
    return [section(_name(report), graphs, _html(table_of(report)), *map(paragraph, report.get("notes", ())))]


def _fleet(report: dict[str, Any]) -> list[str]:
    rows = report["growth"] or ()
    parts = list(rows[0]["parts"]) if rows else []
    graphs = [
        plot(
            [Series(part, [(row["devices"], row["parts"][part][key]) for row in rows], dots=True) for part in parts],
            "Devices",
            title,
            log_x=True,
            log_y=True,
        )
        for key, title in (("cpu_ms_a_message", "CPU time a message, ms"), ("memory_mb", "Memory, MB"))
    ]
    sections = [section(_name(report), _html(load_table(report)), paragraph(backlog_sentence(report)))]
    if rows:
        sections.append(section("Growth", charts(graphs), _html(growth_table(report))))
    if report["month"]:
        sections.append(section("Queries with the counts of a month", _html(month_table(report))))
    return sections


def _frontier(report: dict[str, Any]) -> str:
    def series(name: str, *, efficient: bool) -> Series:
        own = sorted((row["milliseconds"], row["f1"], row["name"]) for row in report["rows"] if row["efficient"] is efficient)
        return Series(name, [(x, y) for x, y, _ in own], efficient, dots=True, names=[label for _, _, label in own])

    both = (series("Pareto-optimal", efficient=True), series("Slower or less accurate than another", efficient=False))
    return plot([own for own in both if own.points], "Milliseconds per picture", "F1", log_x=True)


def _side_by_side(reports: Sequence[dict[str, Any]]) -> list[str]:
    """Return a comparison of speed reports: frames per second, and ratios to the original."""
    ordered = sorted(reports, key=lambda report: report["time"])
    names = list(dict.fromkeys(row["name"] for report in ordered for row in report["pipelines"]))
    found = [{row["name"]: row for row in report["pipelines"]} for report in ordered]
    rows = [
        [
            name,
            *(
                f"{own[name]['frames_per_second']['median']:.1f} ({own[name]['ratio_to_baseline']['median']:.2f} x)"
                if name in own
                else UNKNOWN
                for own in found
            ),
        ]
        for name in names
    ]
    history = [
        Series(
            name,
            [(run, own[name]["ratio_to_baseline"]["median"]) for run, own in enumerate(found, start=1) if name in own],
            dots=True,
        )
        for name in names
    ]
    head = ["Frames/s (vs. original of the same run)"]
    head += [f"{number}: {report['title']}, {_moment(report)}" for number, report in enumerate(ordered, 1)]
    return [section("Side by side", charts([plot(history, "Run", "Frames/s vs. original, x", whole_x=True)]), table(head, rows))]
