"""The plot of the cost over the number of devices."""

from __future__ import annotations

import io
from pathlib import Path

from maskedge.errors import UsageError
from maskedge.support.files import write_file
from maskedge.support.install_hint import install_command
from maskedge_bench.markdown import Report

_PARTS = ("broker", "database", "ingest", "simulator")


def write_plot(report: Report, path: Path) -> None:
    """Write CPU time a message and memory of each part over the number of devices, as PNG.

    Raises:
        UsageError: matplotlib is missing, or the report has no loads of several sizes.
        OutputError: The file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter
    except ImportError as error:
        raise UsageError(f"matplotlib is not installed: install the extra train: {install_command('train')}.") from error
    rows = report["growth"]
    if not rows:
        raise UsageError("the report has no loads of several sizes: measure them with --part growth.")
    figure = Figure(figsize=(9.6, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    devices = [row["devices"] for row in rows]
    titles = (("cpu_ms_a_message", "CPU time a message (ms)"), ("memory_mb", "memory (MB)"))
    for axes, (key, title) in zip(figure.subplots(1, 2), titles, strict=True):
        for part, marker in zip(_PARTS, "os^D", strict=True):
            axes.plot(devices, [row["parts"][part][key] for row in rows], marker=marker, label=part)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(devices, labels=[f"{count:,}" for count in devices])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("devices")
        axes.set_ylabel(title)
        axes.grid(visible=True, which="both", alpha=0.25)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(_PARTS))
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    write_file(path, content.getvalue(), remedy="choose another --plot")
