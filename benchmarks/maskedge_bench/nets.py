"""Milliseconds a face of classifier files, in turn, in the same run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from maskedge.classify import MaskClassifier
from maskedge.machine import machine_facts

from .speed import BASELINE_MODEL, spread

SCHEMA = "maskedge.nets/1"
_CALLS = 100


def measure_nets(models: Sequence[Path], rounds: int, batch: int = 1, threads: int = 1) -> dict[str, Any]:
    """Time classifiers on the same crops, in turn, `rounds` times after a warm-up.

    Args:
        models: Classifier files; the original network comes first, as the baseline of the ratios.
        rounds: Counted rounds, each the median of 100 calls.
        batch: Faces a call.
        threads: Threads of ONNX Runtime.

    Returns:
        The report: for each file its milliseconds a face and their ratio to the baseline of the same round.
    """
    classifiers = [MaskClassifier(path, threads) for path in (BASELINE_MODEL, *models)]
    random = np.random.default_rng(0)
    times: list[list[float]] = [[] for _ in classifiers]
    for counted in range(-1, rounds):
        for classifier, own in zip(classifiers, times, strict=True):
            size = classifier.contract.size
            crops = random.integers(0, 256, (batch, size, size, 3), np.uint8)
            calls = []
            for _ in range(_CALLS):
                start = time.perf_counter()
                classifier.classify_crops(crops)
                calls.append(time.perf_counter() - start)
            if counted >= 0:
                own.append(1000 * median(calls) / batch)
    rows = [
        {
            "model": classifier.path.name,
            "net": classifier.contract.card.get("net"),
            "milliseconds_a_face": spread(own, 4),
            "ratio_to_baseline": spread([value / base for value, base in zip(own, times[0], strict=True)]),
        }
        for classifier, own in zip(classifiers, times, strict=True)
    ]
    return {"schema": SCHEMA, "rounds": rounds, "batch": batch, "threads": threads, "facts": machine_facts(), "nets": rows}


def nets_table(report: dict[str, Any]) -> str:
    """Give the report as a Markdown table."""
    lines = ["| net | ms a face (range) | to the original |", "| --- | --- | --- |"]
    for row in report["nets"]:
        own, ratio = row["milliseconds_a_face"], row["ratio_to_baseline"]
        milliseconds = f"{own['median']:.3f} ({own['min']:.3f} - {own['max']:.3f})"
        lines.append(f"| {row['net'] or row['model']} | {milliseconds} | {ratio['median']:.2f} x |")
    facts = report["facts"]
    lines += [
        "",
        f"{report['batch']} face a call, {report['threads']} thread, {report['rounds']} rounds in turn; {facts['machine']}, "
        f"onnxruntime {facts['onnxruntime']}.",
    ]
    return "\n".join(lines)
