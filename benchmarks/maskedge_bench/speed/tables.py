"""Markdown tables of the speed reports, for documents, pages and the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from maskedge.support.text import counted
from maskedge_bench.live.tables import rows_table
from maskedge_bench.markdown import UNKNOWN, Report, machine, markdown_table, ranged, versions


def pipelines_table(report: Report) -> str:
    """Return the comparison of the pipelines."""
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
    head = ("pipeline", "frames/s (range)", "vs. original", "CPU per frame", "vs. original")
    return markdown_table((*head, "resize", "detect", "classify", "track", "total p50 / p95 / p99"), rows)


def _stage(row: Report, stage: str) -> str:
    figures = row["stages_ms"].get(stage)
    return UNKNOWN if figures is None else f"{figures['p50']:.2f} ms"


def conditions_sentence(report: Report) -> str:
    """Return a sentence with the input and the machine of a speed report."""
    source = report["source"]
    width, height = source["size"]
    return (
        f"{counted(source['frames'], 'frame')} of `{source['name']}` at {width} x {height}, "
        f"{counted(report['rounds'], 'interleaved round')}, "
        f"{counted(report['threads'], 'thread')}, from a frame's arrival to its result; {machine(report['facts'])}."
    )


def cost_table(report: Report) -> str:
    """Return the cost models."""
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
    return markdown_table(("detector, classifier", "fixed", "per face", "per megapixel", "mean error", "points"), rows)


def live_table(report: Report) -> str:
    """Return the figures of the live runs."""
    return rows_table(("pipeline",), (((row["name"],), row) for row in report["live"]))


def end_to_end_table(report: Report) -> str:
    """Return the mean milliseconds of every stage of `edge-run`."""
    stages = list(dict.fromkeys(stage for row in report["chain"] for stage in row["stages_ms"] if stage != "total"))
    rows = []
    for row in report["chain"]:
        means = [row["stages_ms"].get(stage) for stage in stages]
        cells = (UNKNOWN if own is None else f"{own['mean']:.2f} ms" for own in means)
        rows.append([row["name"], f"{row['frames_per_second']:.1f}", *cells])
    return markdown_table(("pipeline", "frames/s", *stages), rows)


def load_time_table(report: Report) -> str:
    """Return the start-up time and memory of each pipeline."""
    rows = []
    for row in report["start"]:
        memory = row["peak_memory_mb"]
        rows.append(
            [
                row["name"],
                ranged(row["seconds_to_first_answer"], 2, "s"),
                f"{row['load_seconds']['median']:.2f} s",
                UNKNOWN if memory is None else f"{memory['max']:.0f} MB",
            ]
        )
    return markdown_table(("pipeline", "start of Python to first result", "loading", "peak memory"), rows)


def matrix_table(report: Report) -> str:
    """Return the matrix of settings."""
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
    head = ("detector", "classifier", "precision", "frame", "faces", "threads", "detect every", "frames/s (range)", "vs. original")
    return markdown_table((*head, "CPU per frame", "total p50"), rows)


def roofline_table(report: Report) -> str:
    """Return measured and minimum time of each stage."""
    rows = []
    for own in report["rows"]:
        operations, fraction = own["multiply_accumulates"], f"{own['fraction']:.1%}"
        if "fraction_range" in own:
            fraction += " ({:.1%} - {:.1%})".format(*own["fraction_range"])
        rows.append(
            [
                own["name"], f"{own['milliseconds']:.3f} ms", UNKNOWN if operations is None else f"{operations / 1e6:.2f} M",
                f"{own['bytes'] / 1e6:.2f} MB", f"{own['limit_ms']:.4f} ms", own["bound_by"], fraction,
            ]
        )  # fmt: skip
    head = ("stage", "measured", "multiply-accumulates", "bytes", "limit", "bound by", "limit / measured (range)")
    return f"{markdown_table(head, rows)}\n\n{_peak_sentence(report)}"


def _peak_sentence(report: Report) -> str:
    spreads = report.get("peak_range", {})

    def shown(name: str, scale: float, unit: str) -> str:
        text = f"{report['peak'][name] / scale:.1f}"
        if name in spreads:
            text += " ({:.1f} - {:.1f})".format(*(value / scale for value in spreads[name]))
        return f"{text} {unit}"

    products = shown("multiply_accumulates_per_second", 1e9, "G multiply-accumulates per second in a matrix product")
    if "integer_multiply_accumulates_per_second" in report["peak"]:
        products += f", {shown('integer_multiply_accumulates_per_second', 1e9, 'G in a product of int8')}"
    method = " Each stage is compared with the peak before and after each of its rounds, within a second." if spreads else ""
    copy = shown("bytes_per_second", 1e9, "GB per second in a copy")
    return f"Peak of one thread: {products}, {copy}.{method} The limit of a cascade counts one read of its input only."


def nets_table(report: Report) -> str:
    """Return the time per face of each network."""
    nets = Counter((row["net"], row["engine"]) for row in report["nets"])
    rows = []
    for row in report["nets"]:
        name = row["net"] or row["model"]
        if row["net"] and nets[row["net"], row["engine"]] > 1:
            # Several files have this network.
            name += f" ({row['model']})"
        name += " in eager PyTorch" if row["engine"] == "pytorch" else ""
        eager = row["eager_to_this"]
        gain = UNKNOWN if eager is None else f"{eager['median']:.1f} x"
        rows.append([name, ranged(row["milliseconds_a_face"], 3), f"{row['ratio_to_baseline']['median']:.2f} x", gain])
    note = (
        f"{counted(report['batch'], 'face')} per call, {counted(report['threads'], 'thread')}, {report['rounds']} interleaved "
        f"rounds; {report['facts']['machine']}, onnxruntime {report['facts']['onnxruntime']}."
    )
    head = ("net", "ms per face (range)", "time vs. original", "time in eager PyTorch")
    return f"{markdown_table(head, rows)}\n\n{note}"


def cold_start_table(report: Report) -> str:
    """Return the cold start of `edge-run`."""
    facts = report["facts"]
    head = ["start of `edge-run` to first result", "peak resident memory"]
    row = [ranged(report["seconds_to_first_answer"], 2, "s"), f"{report['resident_megabytes']['max']:.0f} MB"]
    if "cpu_seconds" in report:
        head += ["CPU time", "`edge-run --version`"]
        row += [ranged(report["cpu_seconds"], 2, "s"), ranged(report["version_seconds"], 2, "s")]
    note = f"One picture of 640 x 480, {counted(report['rounds'], 'start')}; {facts['machine']}, {versions(facts)}."
    return f"{markdown_table(head, [row])}\n\n{note}"


SECTIONS: tuple[tuple[str, str, Callable[[Report], str]], ...] = (
    ("pipelines", "Pipelines", pipelines_table),
    ("live", "Live source", live_table),
    ("chain", "edge-run end to end, mean per stage", end_to_end_table),
    ("start", "Start-up and memory", load_time_table),
    ("cost", "Cost model", cost_table),
    ("matrix", "Matrix of settings", matrix_table),
    ("limits", "Roofline", lambda report: roofline_table(report["limits"])),
)
"""The parts of a speed report: key, heading, and table."""


def speed_sections(report: Report) -> list[tuple[str, str]]:
    """Return heading and table of each part of a speed report that was measured."""
    present = []
    for key, heading, table in SECTIONS:
        part = report[key]["cells"] if key == "matrix" else report[key]
        if part:
            present.append((heading, table(report)))
    return present


def clock_sentence(report: Report) -> str:
    """Return the cost of the stage clock as a sentence; empty if it was not measured."""
    own = report["instrumentation"]
    if own is None:
        return ""
    return (
        f"The stage clock takes {own['microseconds_a_frame']:.0f} microseconds per frame, {own['share_of_a_frame']:.3%} of the "
        "default pipeline's time."
    )
