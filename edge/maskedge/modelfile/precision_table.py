"""The table of size, accuracy and latency per precision, from reports of `edge-export`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SMALL_ARM = (
    "On small ARM cores int8 is known to gain little or nothing, or to lose (published figures of a Raspberry Pi 4); fp16 is "
    "computed as fp32 on cores without 16-bit arithmetic (before ARMv8.2: Raspberry Pi 4, Jetson Nano); on others it is "
    "unknown. Measure there."
)


def precision_table(report: Mapping[str, Any]) -> str:
    """Return a report of `edge-export` (FILE.precisions.json) as a Markdown table."""
    lines = ["| numbers | size | accuracy | ms a face | p95 | to fp32 | written |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for row in report["precisions"]:
        failed = [gate for gate, passed in row["gates"].items() if not passed]
        written = "yes" if not failed else f"{'forced' if row['written'] else 'no'}: not {' and not '.join(failed)}"
        cost = f"{row['milliseconds']:.3f} | {row['p95']:.3f} | {row['speed']:.2f} x"
        lines.append(f"| {row['precision']} | {row['bytes'] / 1e3:.0f} kB | {row['accuracy']:.4f} | {cost} | {written} |")
    facts = report["facts"]
    how = f"{report['crops']:,} crops that the net never saw; one face a call, 1 thread, {report['rounds']} rounds in turn"
    return "\n".join([*lines, "", f"{how}; {facts['machine']}, onnxruntime {facts['onnxruntime']}. {_SMALL_ARM}"])
