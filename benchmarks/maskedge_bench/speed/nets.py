"""Milliseconds per face of classifier files, and of their networks in eager PyTorch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from maskedge.types import Image
from maskedge.vision.classifier import MaskClassifier
from maskedge_bench.conditions import Conditions, short_names, spread, unique_names
from maskedge_bench.contestants.eager import EagerClassifier, has_torch
from maskedge_bench.contestants.pipelines import BASELINE_MODEL
from maskedge_bench.report_schemas import NETS

_CALLS = 100


def measure_nets(models: Sequence[Path], rounds: int, batch: int = 1, threads: int = 1) -> dict[str, Any]:
    """Time classifiers on the same crops, interleaved, `rounds` times after a warm-up.

    Args:
        models: Classifier files. The original network is measured first, as the baseline of the
            ratios.
        rounds: Counted rounds, each the median of 100 calls.
        batch: Faces per call.
        threads: Threads of ONNX Runtime and PyTorch.

    Returns:
        The report. For each file it has the milliseconds per face, their ratio to the baseline, and
        the ratio of the time in eager PyTorch to the time of the file, in the same rounds. If the
        user stops the run, the report covers the complete rounds.

    Raises:
        ModelError: A file is refused.
        UsageError: A file is given twice.
        KeyboardInterrupt: The user stopped the run before the first round was complete.
    """
    unique_names("model", models)
    conditions = Conditions()
    classifiers = [MaskClassifier(path, threads) for path in (BASELINE_MODEL, *models)]
    notes = []
    if has_torch():
        named = [(own, str(own.contract.card.get("net") or own.path.stem)) for own in classifiers]
        whole = [(own, net) for own, net in named if "quantisation" not in own.contract.card]
        classifiers += [EagerClassifier(own.path, net, threads) for own, net in whole if _known(net)]
    else:
        notes.append("PyTorch is not installed: eager PyTorch was not measured.")
    random = np.random.default_rng(0)
    crops = [random.integers(0, 256, (batch, own.contract.size, own.contract.size, 3), np.uint8) for own in classifiers]
    counted: list[list[float]] = []
    partial = False
    try:
        for number in range(-1, rounds):
            one = [_typical_ms(own, faces) / batch for own, faces in zip(classifiers, crops, strict=True)]
            if number >= 0:
                counted.append(one)
    except KeyboardInterrupt:
        if not counted:
            raise
        partial = True
    times = list(zip(*counted, strict=True))
    eager = {own.path: own_times for own, own_times in zip(classifiers, times, strict=True) if isinstance(own, EagerClassifier)}
    rows: list[dict[str, Any]] = [
        {
            "model": name,
            "net": own.contract.card.get("net"),
            "engine": "pytorch" if isinstance(own, EagerClassifier) else "onnxruntime",
            "milliseconds_a_face": spread(values, 4),
            "ratio_to_baseline": spread([value / base for value, base in zip(values, times[0], strict=True)], 3),
            "eager_to_this": (
                spread([slow / value for slow, value in zip(eager[own.path], values, strict=True)], 3)
                if own.path in eager and not isinstance(own, EagerClassifier)
                else None
            ),
        }
        for own, name, values in zip(classifiers, short_names(own.path for own in classifiers), times, strict=True)
    ]
    spreads = {f"{row['model']} in {row['engine']}": row["milliseconds_a_face"] for row in rows}
    return {
        **conditions.head(NETS, "Time per face", {own.path for own in classifiers}, spreads, partial=partial),
        "rounds": len(counted),
        "batch": batch,
        "threads": threads,
        "nets": rows,
        "notes": notes,
    }


def _known(net: str) -> bool:
    from maskedge_train.classifier.nets import NETS

    return net in NETS


def _typical_ms(classifier: MaskClassifier, crops: Image) -> float:
    calls = []
    for _ in range(_CALLS):
        start = time.perf_counter()
        classifier.classify_crops(crops)
        calls.append(time.perf_counter() - start)
    return 1000 * median(calls)
