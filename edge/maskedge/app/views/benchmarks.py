"""The view "Benchmarks": accuracy and speed from committed and uploaded reports."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import streamlit as st

from maskedge.app.charts import frontier_chart, speed_chart
from maskedge.app.reports import UNKNOWN, Report, bundled_figures, committed_reports, read_report, start_quick
from maskedge.app.uploads import private_folder
from maskedge.app.widgets import download_button, heading, plain, show_error
from maskedge.errors import MaskedgeError, UsageError
from maskedge.modelfile.contract import CATALOGUE

_TIMEOUT = 180.0
"""Seconds after which the quick benchmark is stopped."""


def show() -> None:
    """Show the view."""
    heading(
        "Benchmarks",
        "Accuracy and speed of the pipelines. Latency is the time from the arrival of a frame to its result. Compare figures of "
        "different machines by their ratios only.",
    )
    reports = committed_reports()
    own: list[Report] = st.session_state.setdefault("reports", [])
    left, right = st.columns(2, gap="large")
    with left:
        _quick(own)
    with right:
        _upload(own)
    if not reports:
        st.info(
            "The committed reports are in the project's repository (benchmarks/results). "
            f"Below are the figures that ship with the models ({CATALOGUE}).",
            icon=":material/info:",
        )
    _accuracy([report for report in [*reports, *own] if report.kind in ("accuracy", "compare")])
    _speed([report for report in [*reports, *own] if report.kind == "speed"])
    _nets([report for report in [*reports, *own] if report.kind == "nets"])
    _models()


def _quick(own: list[Report]) -> None:
    st.subheader("This machine", anchor=False)
    st.markdown(
        "Runs the original and the default pipeline in turn on the built-in clip. "
        "It takes up to a minute on a PC, and longer on a small board."
    )
    if st.button("Run the quick benchmark", type="primary", icon=":material/speed:", key="quick"):
        with st.status("Measuring ... Other load on this machine lowers the figures.", expanded=False) as status:
            try:
                report = _measure()
            except MaskedgeError as error:
                status.update(label=plain(error), state="error")
                return
            status.update(label="Done", state="complete")
        own[:] = [report, *(other for other in own if other.name != report.name)]
    for report in own:
        if report.name == "This machine":
            st.success(
                f"Measured on this machine: {plain(report.machine)}. The charts below include it.",
                icon=":material/check_circle:",
            )
            download_button("Report (JSON)", json.dumps(report.content, indent=1), "maskedge-speed.json", "application/json")


def _measure() -> Report:
    """Run the quick benchmark. Another click or closing the page also ends its process."""
    with private_folder("The report") as folder:
        path = folder / "speed.json"
        process = start_quick(path)
        elapsed = st.empty()
        started = time.monotonic()
        try:
            while process.poll() is None:
                seconds = time.monotonic() - started
                if seconds > _TIMEOUT:
                    raise UsageError(
                        f"The benchmark took more than {_TIMEOUT:.0f} s and was stopped: run edge-bench speed in a terminal."
                    )
                elapsed.markdown(f"{seconds:.0f} s ...")
                time.sleep(0.5)
        finally:
            if process.poll() is None:
                process.kill()
            _, complaint = process.communicate()
        if process.returncode != 0 or not path.is_file():
            lines = [line for line in complaint.splitlines() if line.strip()]
            raise UsageError(
                f"The benchmark failed (exit code {process.returncode}): {lines[-1] if lines else 'it printed no message'}"
            )
        return read_report("This machine", path.read_bytes())


def _upload(own: list[Report]) -> None:
    st.subheader("Your reports", anchor=False)
    files = st.file_uploader("Files of edge-bench --json", type=["json"], accept_multiple_files=True, key="reports-file")
    names = {file.name for file in files}
    own[:] = [report for report in own if report.name == "This machine" or report.name in names]
    for file in files:
        try:
            report = read_report(file.name, file.getvalue())
        except MaskedgeError as error:
            show_error(error)
            continue
        if report.name not in {other.name for other in own}:
            own.append(report)
        st.success(plain(f"{file.name}: {report.kind}, {report.machine}"), icon=":material/check_circle:")


def _accuracy(reports: Sequence[Report]) -> None:
    if not reports:
        return
    st.subheader("Accuracy and latency", anchor=False)
    st.markdown(
        "Each point is one pipeline, measured on pictures of real people. Up and left is better. A pipeline is "
        "*Pareto-optimal* if no other pipeline of its report is faster at the same F1 or better at the same latency. The dashed "
        "line joins these points."
    )
    points = [point for report in reports for point in report.points()]
    st.vega_lite_chart(frontier_chart(points), width="stretch")
    st.dataframe(
        points,
        hide_index=True,
        width="stretch",
        column_config={
            "report": "Report",
            "name": "Pipeline",
            "milliseconds": st.column_config.NumberColumn("Milliseconds per picture", format="%.1f"),
            "f1": st.column_config.NumberColumn(
                "F1", format="%.3f", help="Faces found and labelled correctly; misses and false alarms lower it."
            ),
        },
    )
    _machines(reports)


def _speed(reports: Sequence[Report]) -> None:
    if not reports:
        return
    st.subheader("Frames per second", anchor=False)
    rows = [row for report in reports for row in report.speeds()]
    st.vega_lite_chart(speed_chart(rows), width="stretch")
    st.dataframe(
        [
            {
                **row,
                "range": f"{row['low']:.1f} - {row['high']:.1f}",
                "ratio": UNKNOWN if row["ratio"] is None else f"{row['ratio']:.2f} x",
            }
            for row in rows
        ],
        hide_index=True,
        width="stretch",
        column_order=("report", "name", "rate", "range", "ratio", "p50", "p95"),
        column_config={
            "report": "Report",
            "name": "Pipeline",
            "rate": st.column_config.NumberColumn("Frames/s", format="%.1f"),
            "range": "Range",
            "ratio": st.column_config.TextColumn(
                "Speed-up", alignment="right", help="Frames/s divided by the frames/s of the original pipeline in the same round."
            ),
            "p50": st.column_config.NumberColumn("p50 (ms)", format="%.1f"),
            "p95": st.column_config.NumberColumn("p95 (ms)", format="%.1f"),
        },
    )
    _machines(reports)


def _nets(reports: Sequence[Report]) -> None:
    if not reports:
        return
    st.subheader("Milliseconds per face", anchor=False)
    st.dataframe(
        [row for report in reports for row in report.nets()],
        hide_index=True,
        width="stretch",
        column_config={
            "report": "Report",
            "name": "Model",
            "milliseconds": st.column_config.NumberColumn("Milliseconds per face", format="%.3f"),
            "ratio": st.column_config.NumberColumn("Time ratio to the original", format="%.2f x"),
        },
    )
    _machines(reports)


def _models() -> None:
    st.subheader("Bundled models", anchor=False)
    config: dict[str, Any] = {
        "model": "Model",
        "parameters": st.column_config.TextColumn("Parameters", alignment="right"),
        "kilobytes": st.column_config.TextColumn("Size (kB)", alignment="right"),
        "accuracy": st.column_config.TextColumn(
            "Accuracy", alignment="right", help="Share of the test faces with the correct label."
        ),
        "macro_f1": st.column_config.TextColumn("Macro F1", alignment="right"),
        "pictures": st.column_config.TextColumn("Test faces", alignment="right"),
    }
    st.dataframe(bundled_figures(), hide_index=True, width="stretch", column_config=config)


def _machines(reports: Sequence[Report]) -> None:
    st.caption(plain(" ".join(dict.fromkeys(f"{report.name}: {report.machine}." for report in reports))))
