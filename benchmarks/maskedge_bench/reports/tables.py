"""The tables of README.md, docs/results.md and docs/fleet-scale.md, rendered from the committed reports.

No figure in these pages is typed by hand.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from maskedge.errors import UsageError
from maskedge.modelfile.precision_table import precision_table
from maskedge.support.files import write_file
from maskedge.types import NOT_A_FACE
from maskedge_bench.accuracy.tables import accuracy_table, attributes_table, rates_table, thresholds_table, tracking_table
from maskedge_bench.fleet.tables import backlog_sentence, capacity_table, growth_table, load_table, month_table
from maskedge_bench.history.tables import history_table
from maskedge_bench.live.tables import live_table, streams_table
from maskedge_bench.markdown import markdown_table
from maskedge_bench.report_schemas import COLD_START, COMPARE, FLEET, HISTORY, INCOMPLETE, LIVE, NETS, SPEED, load_report, read_json
from maskedge_bench.speed.tables import (
    cold_start_table,
    conditions_sentence,
    cost_table,
    end_to_end_table,
    load_time_table,
    nets_table,
    pipelines_table,
    roofline_table,
)

from .compare import compare_table
from .kinds import curve_table

DETECTORS = ("haar", "cnn")
"""Our detectors; the first is the default."""
_LEFT_OUT = ("ilc", "web")
"""Sources without which models were trained (train/recipes/sources.sh)."""


def render(results: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Render every table.

    Args:
        results: Folder of the committed reports.

    Returns:
        The Markdown of each table by name, and a sentence with the reason for each table that
        cannot be rendered.
    """

    def load(name: str) -> dict[str, Any]:
        path = results / f"{name}.json"
        if not path.is_file():
            raise UsageError(f"there is no report {path}.")
        return read_json(path)

    def load_own(name: str, kind: str) -> dict[str, Any]:
        load(name)
        return load_report(results / f"{name}.json", kind)

    def load_all(folder: str) -> list[dict[str, Any]]:
        # The folder also holds reports of detector trainings, which have a table of their own.
        found = [load(f"{folder}/{path.stem}") for path in sorted((results / folder).glob("*.json"))]
        reports = [report for report in found if "evaluations" in report]
        if not reports:
            raise UsageError(f"there is no report of a classifier in {results / folder}.")
        return reports

    def of_speed(table: Callable[[dict[str, Any]], str]) -> Callable[[], str]:
        return lambda: table(load_own("speed", SPEED))

    makers: dict[str, Callable[[], str]] = {
        "summary": lambda: _summary(load("accuracy"), load_own("speed", SPEED)),
        "speed": of_speed(lambda report: f"{pipelines_table(report)}\n\n{conditions_sentence(report)}"),
        "whole": of_speed(end_to_end_table),
        "cost": of_speed(cost_table),
        "starts": of_speed(load_time_table),
        "roofline": of_speed(lambda report: roofline_table(report["limits"])),
        "accuracy": lambda: accuracy_table(load("accuracy")),
        "thresholds": lambda: thresholds_table(load("thresholds")),
        "attributes": lambda: attributes_table(load("attributes")),
        "sources": lambda: _sources(load("attributes-before"), load("attributes")),
        "without_source": lambda: _without_source({name: load(f"sources/{name}") for name in ("none", *_LEFT_OUT)}),
        "compare": lambda: compare_table(load_own("compare", COMPARE)),
        "nets": lambda: nets_table(load_own("nets", NETS)),
        "precisions": lambda: precision_table(load("precisions")),
        "tracking": lambda: tracking_table(load("tracking")),
        "rates": lambda: rates_table([_with_changes(load(f"rates-{name}")) for name in ("haar", "cnn")]),
        "detector": lambda: _detector(load("training/edgeface")),
        "live": lambda: live_table(load_own("live", LIVE)),
        "streams": lambda: streams_table(load_own("live", LIVE)),
        "start": lambda: cold_start_table(load_own("start", COLD_START)),
        "history": lambda: history_table(load_own("history", HISTORY)),
        "fleet": lambda: load_table(load_own("fleet", FLEET)),
        "fleet_growth": lambda: growth_table(load_own("fleet", FLEET)),
        "fleet_backlog": lambda: backlog_sentence(load_own("fleet", FLEET)),
        "fleet_capacity": lambda: capacity_table(load_own("fleet", FLEET)),
        "fleet_month": lambda: month_table(load_own("fleet", FLEET)),
        "training": lambda: _training(load_all("training")),
        "scenes": lambda: _scenes(load_all("training")),
        "bundled": lambda: _bundled(load_all("bundled")),
        "limits": lambda: _limits(load_all("bundled")),
        "rotation": lambda: _rotation([load(f"rotation/{path.stem}") for path in (results / "rotation").glob("*.json")]),
        "fine_tuning": lambda: _fine_tuning(load("fine-tuning/room"), load("fine-tuning/elsewhere")),
        "leakage": lambda: _leakage(load("leakage")),
        "copies": lambda: _copies(load_all("copies")),
    }
    made, skipped = {}, {}
    for name, make in makers.items():
        try:
            made[name] = make()
        except UsageError as error:
            skipped[name] = str(error)
        except INCOMPLETE as error:
            skipped[name] = f"a report of the table {name} lacks a field ({type(error).__name__}: {error})."
    return made, skipped


def _summary(accuracy: dict[str, Any], speed: dict[str, Any]) -> str:
    """Render accuracy and speed of each pipeline that both reports measured."""
    measured = {row["name"]: row for row in speed["pipelines"]}
    rows = [
        [
            f"`{row['detector']}`, the default" if row["detector"] == DETECTORS[0] else _short_name(row),
            f"{row['together']['f1']:.3f}",
            f"{row['labels']['with_mask']['found']:.1%}",
            f"{measured[row['name']]['frames_per_second']['median']:.0f}",
            f"{measured[row['name']]['cpu_ms']['median']:.1f}",
        ]
        for row in accuracy["pipelines"]
        if row["name"] in measured
    ]
    head = ("pipeline", "F1", "masked faces found", "frames/s", "CPU time per frame, mean (ms)")
    width, height = speed["source"]["size"]
    return (
        f"{markdown_table(head, rows)}\n\n"
        f"F1 and faces found were measured on {accuracy['pictures']} webcam and phone pictures; no model was trained on "
        f"them. F1 covers masked and unmasked faces. Speed was measured with frames of {width} x {height} pixels and "
        f"{speed['threads']} thread on {speed['facts']['machine']}."
    )


def _short_name(row: dict[str, Any]) -> str:
    return "original pipeline" if row["detector"] not in DETECTORS else f"`{row['detector']}`"


def _with_changes(report: dict[str, Any]) -> dict[str, Any]:
    """Drop the videos in which no label changes."""
    changing = [source for source in report["sources"] if any(person["label_changes"] for person in source["people"])]
    return report | {"sources": changing}


def _by_net(reports: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    nets: dict[str, list[dict[str, Any]]] = {}
    for report in sorted(reports, key=lambda report: (int(report["parameters"]), _fine_tuned(report))):
        nets.setdefault(report["net"] + (", fine-tuned" if _fine_tuned(report) else ""), []).append(report)
    return nets


def _fine_tuned(report: dict[str, Any]) -> bool:
    """Return whether a training started from the weights of an earlier one."""
    return "init" in report["recipe"]


def _evaluation(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(part for part in report["evaluations"] if part["name"] == name)


def _range(values: Iterable[float]) -> str:
    """Format the mean over the seeds, with the range where there are several."""
    own = list(values)
    return f"{own[0]:.4f}" if len(own) == 1 else f"{mean(own):.4f} ({min(own):.4f} - {max(own):.4f})"


def _training(reports: list[dict[str, Any]]) -> str:
    lines = [
        "| net | parameters | accuracy, all labels | accuracy, two labels | two labels, corrected test labels | seeds | "
        "epochs | minutes per training |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for net, own in _by_net(reports).items():
        two_way, right = (
            [_evaluation(report, name)["two_way"] for report in own] for name in ("faces test", "faces test, relabelled")
        )
        minutes = mean(report["train_seconds"] for report in own) / 60
        cells = (
            f"{own[0]['parameters']:,}",
            _range(part["strict"] for part in two_way),
            _range(part["two_labels"] for part in two_way),
            _range(part["two_labels"] for part in right),
            str(len(own)),
            f"{own[0]['epochs']} more" if _fine_tuned(own[0]) else str(own[0]["epochs"]),
            f"{minutes:.0f}",
        )
        lines.append(f"| {net} | {' | '.join(cells)} |")
    split, pictures = reports[0]["split"], _evaluation(reports[0], "faces test")["pictures"]
    lines += [
        "",
        f"{pictures} test pictures, {split['train']:,} for training and {split['val']:,} for validation. No test picture has a "
        f"relative in another part: {split['grouped']:,} pictures form {split['groups']} groups of related ones. "
        "Mean and range over the seeds.",
    ]
    return "\n".join(lines)


def _scenes(reports: list[dict[str, Any]]) -> str:
    lines = [
        "| net | macro F1 | incorrect_mask recall | calibration error | false alarms rejected | faces kept | "
        "faces kept at 97 % rejection |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for net, own in _by_net(reports).items():
        parts, gates = [_evaluation(report, "scenes dev") for report in own], [report["gate"]["scenes dev"] for report in own]
        cells = (
            _range(part["macro_f1"] for part in parts),
            _range(part["labels"]["incorrect_mask"]["recall"] for part in parts),
            _range(part["calibration"]["ece_after"] for part in parts),
            _range(gate["rejected"] for gate in gates),
            _range(gate["kept"] for gate in gates),
            _range(gate["kept_at_97"] for gate in gates),
        )
        lines.append(f"| {net} | {' | '.join(cells)} |")
    part, gate = _evaluation(reports[0], "scenes dev"), reports[0]["gate"]["scenes dev"]
    counts = ", ".join(f"{figures['count']:,} {label}" for label, figures in part["labels"].items())
    alarms = f"{gate['false_alarms']:,} of the {NOT_A_FACE} crops are detections in pictures without people."
    lines += ["", f"{counts} crops. {alarms}"]
    return "\n".join(lines)


def _bundled(reports: list[dict[str, Any]]) -> str:
    """Render trainings and the average that is bundled, the last report, on test faces and on labelled boxes of scenes."""
    head = ["training", "accuracy, all labels", "accuracy, two labels", "two labels, corrected test labels"]
    head += ["macro F1 on scenes", "incorrect_mask recall / precision", "false alarms rejected", "faces kept"]
    rows = []
    for number, report in enumerate(reports):
        faces, right = (_evaluation(report, name)["two_way"] for name in ("faces test", "faces test, relabelled"))
        scenes, gate = next(part for part in report["evaluations"] if part["name"].startswith("scenes dev")), report["gate"]
        incorrect, kept = scenes["labels"]["incorrect_mask"], gate[scenes["name"]]
        rows.append(
            [
                "average of 0 and 1, bundled" if report is reports[-1] else str(number),
                *(f"{value:.4f}" for value in (faces["strict"], faces["two_labels"], right["two_labels"], scenes["macro_f1"])),
                f"{incorrect['recall']:.3f} / {incorrect['precision']:.3f}",
                f"{kept['rejected']:.4f}",
                f"{kept['kept']:.4f}",
            ]
        )
    report = reports[0]
    faces, data = _evaluation(report, "faces test"), report["data"]
    note = (
        f"{faces['pictures']} test pictures that neither this network nor those before it were trained on; "
        f"{data['scenes']:,} scenes, "
        f"{data['backgrounds']:,} backgrounds and {data['faces']:,} pictures of faces in all. Scenes: the labelled boxes of "
        "`dev_refit.csv`."
    )
    return f"{markdown_table(head, rows)}\n\n{note}"


def _sources(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Render F1 by source before and after the training on more sources."""
    reports = [
        {(group["group"]): group for group in row["groups"] if group["attribute"] == "source"}
        for pair in zip(before["rows"], after["rows"], strict=True)
        for row in pair
    ]
    head = ("source", "faces", *(f"`{row['detector']}`, {when}" for row in after["rows"] for when in ("before", "now")))
    rows = []
    for source, own in sorted(reports[-1].items(), key=lambda item: -int(item[1]["three_labels"]["faces"])):
        # Sources of masks worn incorrectly alone have no figure with two labels.
        labels, name = ("two_labels", source) if own["two_labels"]["faces"] else ("three_labels", f"{source}, three labels")
        cells = [_f1(report[source][labels]) for report in reports]
        rows.append([name, str(own[labels]["faces"]), *cells])
    note = (
        "F1 with two labels; with three for sources all of whose faces wear the mask incorrectly. In brackets: 95 % bootstrap "
        "interval over pictures."
    )
    return f"{markdown_table(head, rows)}\n\n{note}"


def _without_source(reports: Mapping[str, dict[str, Any]]) -> str:
    """Render F1 on each source after trainings with all sources (`none`) and without that source."""
    head = ("source", "faces", *(f"`{detector}`, {what}" for detector in DETECTORS for what in ("trained on it", "without it")))
    rows = []
    for source in _LEFT_OUT:
        cells, faces = [], 0
        for number in range(len(reports["none"]["rows"])):
            for name in ("none", source):
                row = reports[name]["rows"][number]
                (own,) = (group for group in row["groups"] if (group["attribute"], group["group"]) == ("source", source))
                faces = own["three_labels"]["faces"]
                cells.append(f"{_f1(own['two_labels'])}; {own['three_labels']['f1']:.3f}")
        rows.append([source, str(faces), *cells])
    note = "F1 with two labels; in brackets: 95 % bootstrap interval over pictures; then F1 with three labels."
    return f"{markdown_table(head, rows)}\n\n{note}"


def _limits(reports: list[dict[str, Any]]) -> str:
    report = reports[-1]  # see _bundled
    lines = ["| condition | accuracy | faces |", "| --- | --- | --- |"]
    lines += [
        f"| {row['condition'].replace('turned by', 'rotated by')} | {row['accuracy']:.4f} | {row['faces']} |"
        for row in report["limits"]
    ]
    return "\n".join(lines)


def _copies(reports: list[dict[str, Any]]) -> str:
    lines = ["| net | test accuracy | test pictures | epochs | minutes per training |", "| --- | --- | --- | --- | --- |"]
    for report in sorted(reports, key=lambda report: int(report["parameters"])):
        part, minutes = _evaluation(report, "faces test"), report["train_seconds"] / 60
        lines.append(f"| {report['net']} | {part['accuracy']:.4f} | {part['pictures']} | {report['epochs']} | {minutes:.0f} |")
    return "\n".join(lines)


def _detector(report: dict[str, Any]) -> str:
    faces = report["faces"]
    note = f"{report['pictures']} held-out pictures with {faces['masked']} masked and {faces['unmasked']} unmasked faces."
    return f"{curve_table(report)}\n\n{note}"


def _rotation(reports: list[dict[str, Any]]) -> str:
    if not reports:
        raise UsageError("there is no report of rotated pictures.")
    reports = sorted(reports, key=lambda report: float(report["degrees"]))
    head = ("F1 at a rotation of", *(f"{report['degrees']:g} degrees" for report in reports))
    rows = [
        [own[0]["name"], *(f"{row['together']['f1']:.3f}" for row in own)]
        for own in zip(*(report["pipelines"] for report in reports), strict=True)
    ]
    held = "held-out " if reports[0]["held_out"] else ""
    return f"{markdown_table(head, rows)}\n\n{reports[0]['pictures']} {held}pictures."


def _fine_tuning(room: dict[str, Any], elsewhere: dict[str, Any]) -> str:
    """Render a network before fine-tuning, the first row of both reports, and after it with each seed."""
    head = ("network", "F1 there", "masked and unmasked faces found there", "F1 elsewhere", "found elsewhere")
    rows = []
    for number, own in enumerate(zip(_ours(room), _ours(elsewhere), strict=True)):
        cells = [cell for row in own for cell in (_f1(row["two_labels"]), f"{_found(row):.1%}")]
        rows.append([f"fine-tuned, seed {number - 1}" if number else "before", *cells])
    count = [sum(part["labelled"] for part in _ours(report)[0]["labels"].values()) for report in (room, elsewhere)]
    note = (
        f"There: {room['pictures']} other pictures of the source, {count[0]} faces. Elsewhere: {elsewhere['pictures']} pictures "
        f"of `dev_refit.csv`, {count[1]} faces. Two labels; in brackets: 95 % bootstrap interval over pictures."
    )
    return f"{markdown_table(head, rows)}\n\n{note}"


def _ours(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a report of accuracy without the original pipeline."""
    rows: list[dict[str, Any]] = report["pipelines"][1:]
    return rows


def _f1(figures: dict[str, Any]) -> str:
    low, high = figures["f1_interval"]
    return f"{figures['f1']:.3f} ({low:.3f} - {high:.3f})"


def _found(row: dict[str, Any]) -> float:
    parts = row["labels"].values()
    labelled: int = sum(part["labelled"] for part in parts)
    return float(sum(part["found"] * part["labelled"] for part in parts)) / labelled


def _leakage(report: dict[str, Any]) -> str:
    lines = ["| split | test accuracy | test pictures with a relative in another part |", "| --- | --- | --- |"]
    for by, name in (("random", "random, as in the original project"), ("group", "related pictures together")):
        lines.append(f"| {name} | {_range(report[by]['accuracy'])} | {report[by]['separated']:.1%} |")
    lines += [
        "",
        f"{report['net']}, {report['epochs']} epochs; mean and range over {len(report['seeds'])} seeds of split and training.",
    ]
    return "\n".join(lines)


def _wrapped(text: str) -> str:
    """Wrap the notes of a table at 100 columns; its rows stay whole."""
    return "\n".join(line if line.startswith("|") else textwrap.fill(line, 100) for line in text.splitlines())


@dataclass(frozen=True)
class Update:
    """The outcome of an update.

    Attributes:
        differing: Names of the tables that differed from their reports.
        skipped: A sentence for each table of the page that cannot be rendered.
    """

    differing: list[str]
    skipped: list[str]


def update(page: Path, results: Path, *, check: bool) -> Update:
    """Write the tables of a page between `<!-- table:NAME -->` and `<!-- /table -->`.

    A table that cannot be rendered stays as it is.

    Args:
        page: The Markdown file to update.
        results: Folder of the committed reports.
        check: Only compare; write nothing.

    Raises:
        UsageError: The page cannot be read, marks a table that does not exist, or does not end a
            table.
        OutputError: The page cannot be written.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"{page} cannot be read as UTF-8 ({error}): give a Markdown file.") from error
    if open_mark := re.search(r"<!-- table:(\w+) -->(?!((?!<!-- table:).)*<!-- /table -->)", text, re.DOTALL):
        # What follows, up to the end of the next table, would be replaced.
        raise UsageError(f"{page} does not end the table {open_mark[1]}: add <!-- /table --> below it.")
    made, unmade = render(results)
    done = Update([], [])

    def replace(found: re.Match[str]) -> str:
        name = found[1]
        if name in unmade:
            done.skipped.append(f"table {name}: {unmade[name]}")
            return found[0]
        if name not in made:
            raise UsageError(f"{page} marks a table {name!r}; known are {', '.join(sorted([*made, *unmade]))}.")
        fresh = f"<!-- table:{name} -->\n{_wrapped(made[name])}\n<!-- /table -->"
        if fresh != found[0]:
            done.differing.append(name)
        return fresh

    fresh = re.sub(r"<!-- table:(\w+) -->.*?<!-- /table -->", replace, text, flags=re.DOTALL)
    if not check and done.differing:
        write_file(page, fresh)
    return done
