"""Reports as Markdown, for a README and for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Report = Mapping[str, Any]


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Give a table."""
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def ranged(own: Mapping[str, float], digits: int = 1) -> str:
    """Give a figure and its range, as in `41.8 (40.3 - 46.4)`."""
    return f"{own['median']:.{digits}f} ({own['min']:.{digits}f} - {own['max']:.{digits}f})"


def _stage(row: Report, stage: str, digits: int = 2) -> str:
    figures = row["stages_ms"].get(stage)
    return "" if figures is None else f"{figures['p50']:.{digits}f} ms"


def pipelines_table(report: Report) -> str:
    """Give the comparison of the pipelines."""
    rows = []
    for row in report["pipelines"]:
        total = row["stages_ms"]["total"]
        rows.append(
            [
                row["name"],
                ranged(row["frames_per_second"]),
                f"{row['ratio_to_baseline']['median']:.2f} x",
                f"{row['cpu_ms']['median']:.2f} ms",
                f"{row['cpu_to_baseline']['median']:.2f} x",
                *(_stage(row, stage) for stage in ("resize", "detect", "classify", "track")),
                f"{total['p50']:.2f} / {total['p95']:.2f} / {total['p99']:.2f} ms",
            ]
        )
    head = (
        "pipeline",
        "frames/s (range)",
        "to the baseline",
        "CPU a frame",
        "to the baseline",
        "resize",
        "detect",
        "classify",
        "track",
    )
    return markdown_table((*head, "total p50 / p95 / p99"), rows)


def conditions(report: Report) -> str:
    """Say in a sentence what was measured, and on what."""
    facts, source = report["facts"], report["source"]
    width, height = source["size"]
    return (
        f"{source['frames']} frames of `{source['name']}` at {width} x {height}, {report['rounds']} rounds in turn, "
        f"{report['threads']} thread{'s' * (report['threads'] != 1)}, from a frame's arrival to its answer; {machine(facts)}."
    )


def machine(facts: Report) -> str:
    """Name machine and versions."""
    return (
        f"{facts['machine']}, {facts['cores']} cores, Python {facts['python']}, OpenCV {facts['opencv']}, "
        f"onnxruntime {facts['onnxruntime']}"
    )


def cost_table(report: Report) -> str:
    """Give the cost models."""
    rows = [
        [
            fit["pipeline"],
            f"{fit['fixed_ms']:.2f} ms",
            f"{fit['face_ms']:.2f} ms",
            f"{fit['megapixel_ms']:.2f} ms",
            f"{fit['error']:.0%}",
            str(len(fit["points"])),
        ]
        for fit in report["cost"]
    ]
    return markdown_table(("detector, classifier", "fixed", "a face", "a megapixel", "mean error", "points"), rows)


def live_table(report: Report) -> str:
    """Give the figures of the live runs."""
    rows = [
        [
            row["name"],
            f"{row['processed']} of {row['captured']}",
            f"{row['dropped'] / max(row['captured'], 1):.0%}",
            f"{row['age_ms']['p50']:.1f} / {row['age_ms']['p95']:.1f} / {row['age_ms']['max']:.1f} ms",
            f"{row['cpu_share']:.0%}",
        ]
        for row in report["live"]
    ]
    return markdown_table(("pipeline", "frames answered", "dropped", "age at the answer p50 / p95 / max", "of one core"), rows)


def chain_table(report: Report) -> str:
    """Give the mean milliseconds of every stage of the whole chain."""
    stages = list(dict.fromkeys(stage for row in report["chain"] for stage in row["stages_ms"] if stage != "total"))
    rows = []
    for row in report["chain"]:
        means = [row["stages_ms"].get(stage) for stage in stages]
        rows.append(
            [row["name"], f"{row['frames_per_second']:.1f}", *("" if own is None else f"{own['mean']:.2f} ms" for own in means)]
        )
    return markdown_table(("pipeline", "frames/s", *stages), rows)


def start_rows_table(report: Report) -> str:
    """Give what starting each pipeline takes."""
    rows = []
    for row in report["start"]:
        memory = row["peak_memory_mb"]
        rows.append(
            [
                row["name"],
                f"{ranged(row['seconds_to_first_answer'], 2)} s",
                f"{row['load_seconds']['median']:.2f} s",
                "not told" if memory is None else f"{memory['max']:.0f} MB",
            ]
        )
    return markdown_table(("pipeline", "start of Python to first answer", "loading", "memory at its peak"), rows)


def cells_table(report: Report) -> str:
    """Give the matrix."""
    rows = []
    for cell in report["matrix"]["cells"]:
        width, height = cell["size"]
        rows.append(
            [
                cell["detector"], cell["model"], cell["precision"], f"{width} x {height}", str(cell["faces"]), str(cell["threads"]),
                str(cell["detect_every"]), ranged(cell["frames_per_second"]), f"{cell['ratio_to_baseline']['median']:.2f} x",
                f"{cell['cpu_ms']['median']:.2f} ms", f"{cell['stages_ms']['total']['p50']:.2f} ms",
            ]
        )  # fmt: skip
    head = ("detector", "classifier", "numbers", "frame", "faces", "threads", "detect every", "frames/s (range)", "to the original")
    return markdown_table((*head, "CPU a frame", "total p50"), rows)


def limits_table(report: Report) -> str:
    """Give the stages beside their physical limits."""
    rows = []
    for own in report["rows"]:
        work = "not counted" if own["multiply_accumulates"] is None else f"{own['multiply_accumulates'] / 1e6:.2f} M"
        rows.append(
            [
                own["name"], f"{own['milliseconds']:.3f} ms", work, f"{own['bytes'] / 1e6:.2f} MB", f"{own['limit_ms']:.4f} ms",
                own["bound_by"], f"{own['fraction']:.1%}",
            ]
        )  # fmt: skip
    peak = report["peak"]
    said = (
        f"One thread at its best: {peak['multiply_accumulates_per_second'] / 1e9:.1f} G multiply-accumulates a second in a product "
        f"of matrices, {peak['bytes_per_second'] / 1e9:.1f} GB a second in a copy. Of a cascade only its picture is counted, read "
        "once."
    )
    head = ("stage", "measured", "multiply-accumulates", "bytes", "limit", "bound by", "reached")
    return f"{markdown_table(head, rows)}\n\n{said}"


def compare_table(report: Report) -> str:
    """Give F1 beside milliseconds."""
    ordered = sorted(report["rows"], key=lambda row: row["milliseconds"])
    rows = [
        [row["name"], f"{row['f1']:.3f}", f"{row['milliseconds']:.2f} ms", "efficient" if row["efficient"] else ""]
        for row in ordered
    ]
    return f"{markdown_table(('pipeline', 'F1', 'a frame', ''), rows)}\n\nMilliseconds are {report['time_is']}."


def nets_table(report: Report) -> str:
    """Give the time of nets."""
    rows = []
    for row in report["nets"]:
        name = (row["net"] or row["model"]) + (" in eager PyTorch" if row["engine"] == "pytorch" else "")
        eager = row["eager_to_this"]
        gain = "" if eager is None else f"{eager['median']:.1f} x"
        rows.append([name, ranged(row["milliseconds_a_face"], 3), f"{row['ratio_to_baseline']['median']:.2f} x", gain])
    said = (
        f"{report['batch']} face{'s' * (report['batch'] != 1)} a call, {report['threads']} thread{'s' * (report['threads'] != 1)}, "
        f"{report['rounds']} rounds in turn; {report['facts']['machine']}, onnxruntime {report['facts']['onnxruntime']}."
    )
    head = ("net", "ms a face (range)", "to the original", "eager PyTorch takes")
    return f"{markdown_table(head, rows)}\n\n{said}"


def start_table(report: Report) -> str:
    """Give the cold start of `edge-run`."""
    seconds, memory, facts = report["seconds_to_first_answer"], report["resident_megabytes"], report["facts"]
    head = ("from the start of `edge-run` to its first answer", "resident memory at its peak")
    rows = [[f"{seconds['median']:.2f} s ({seconds['min']:.2f} - {seconds['max']:.2f})", f"{memory['max']:.0f} MB"]]
    said = (
        f"One picture of 640 x 480, {report['rounds']} starts; {facts['machine']}, Python {facts['python']}, OpenCV "
        f"{facts['opencv']}, onnxruntime {facts['onnxruntime']}."
    )
    return f"{markdown_table(head, rows)}\n\n{said}"


SECTIONS: tuple[tuple[str, str, Callable[[Report], str]], ...] = (
    ("pipelines", "Pipelines", pipelines_table),
    ("live", "Live, from a paced source", live_table),
    ("chain", "The whole of edge-run, mean of each stage", chain_table),
    ("start", "Start and memory", start_rows_table),
    ("cost", "Cost model", cost_table),
    ("matrix", "Matrix", cells_table),
    ("limits", "Physical limit", lambda report: limits_table(report["limits"])),
)
"""The parts of a speed report: their key, heading, and table."""


def speed_sections(report: Report) -> list[tuple[str, str]]:
    """Give heading and table of the parts of a speed report that were measured."""
    present = []
    for key, heading, table in SECTIONS:
        part = report[key]["cells"] if key == "matrix" else report[key]
        if part:
            present.append((heading, table(report)))
    return present


def clock_sentence(report: Report) -> str:
    """Say what the stage clock costs; empty where it was not measured."""
    own = report["instrumentation"]
    if own is None:
        return ""
    share = f"{own['share_of_a_frame']:.3%} of what the default takes for it"
    return f"The stage clock itself takes {own['microseconds_a_frame']:.0f} microseconds a frame, {share}."
