"""End-to-end speed: from a frame's arrival to the answer, several pipelines on the same frames in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from maskedge.errors import SourceError
from maskedge.machine import machine_facts
from maskedge.pipeline import DETECT_EVERY, MaskDetector
from maskedge.sources import open_source
from maskedge.types import Frame

SCHEMA = "maskedge.speed/1"
BASELINE_MODEL = Path(__file__).parent / "models" / "seednet.onnx"
"""The original pipeline's classifier."""


@dataclass(frozen=True)
class Pipeline:
    """One row of the comparison.

    Attributes:
        name: Name of the row.
        detector: Name of the detector.
        model: Classifier file; None for the bundled one.
        detect_every: Frames to a detection; tracks carry the faces in between.
    """

    name: str
    detector: str
    model: Path | None
    detect_every: int


PIPELINES = (
    Pipeline("original (stock cascade at full size, seednet)", "haar-stock", BASELINE_MODEL, 1),
    Pipeline("default (haar, edgenet)", "haar", None, DETECT_EVERY),
)
"""The first is the baseline of the ratios."""


def load_frames(uri: str, most: int) -> list[Frame]:
    """Read up to `most` frames into memory, so that decoding does not count.

    Raises:
        SourceError: The source cannot be opened or gives no frame.
    """
    source = open_source(uri)
    try:
        frames = list(islice(source.frames(), most))
    finally:
        source.close()
    if not frames:
        raise SourceError(f"{uri} gave no frame: choose another --source.")
    return frames


def measure(
    frames: Sequence[Frame],
    rounds: int,
    threads: int = 1,
    pipelines: Sequence[Pipeline] = PIPELINES,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Run every pipeline over the same frames, in turn, `rounds` times (A B A B), after one warm-up of each.

    Args:
        frames: The frames, in order; consecutive frames of one video.
        rounds: Counted rounds.
        threads: Threads of ONNX Runtime and OpenCV.
        pipelines: What to compare, the baseline first.
        progress: Called with the number of finished rounds.

    Returns:
        The report: facts of the machine and, for each pipeline, frames a second, milliseconds of each stage and the ratio to the
        baseline of the same round (medians and ranges over the rounds).
    """
    detectors = [
        MaskDetector(pipeline.model, pipeline.detector, detect_every=pipeline.detect_every, threads=threads)
        for pipeline in pipelines
    ]
    for detector in detectors:
        _pass(detector, frames[:10])
    results: list[list[dict[str, Any]]] = [[] for _ in pipelines]
    for finished in range(rounds):
        for result, detector in zip(results, detectors, strict=True):
            result.append(_pass(detector, frames))
        progress(finished + 1)
    baseline = [figures["frames_per_second"] for figures in results[0]]
    rows = []
    for pipeline, detector, figures in zip(pipelines, detectors, results, strict=True):
        rates = [one["frames_per_second"] for one in figures]
        ratios = [rate / base for rate, base in zip(rates, baseline, strict=True)]
        stages = {
            stage: {
                "p50": _median(one["stages"][stage][0] for one in figures),
                "p95": _median(one["stages"][stage][1] for one in figures),
            }
            for stage in figures[0]["stages"]
        }
        rows.append(
            {
                "name": pipeline.name,
                "detector": pipeline.detector,
                "detect_every": pipeline.detect_every,
                "model": detector.classifier.path.name,
                "model_sha256": sha256(detector.classifier.path.read_bytes()).hexdigest(),
                "frames_per_second": spread(rates),
                "ratio_to_baseline": spread(ratios),
                "faces_a_frame": round(figures[0]["faces"] / len(frames), 2),
                "stages_ms": stages,
            }
        )
    return {
        "schema": SCHEMA,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "source": Path(frames[0].source).name,
        "frames": len(frames),
        "size": list(frames[0].size),
        "rounds": rounds,
        "threads": threads,
        "facts": machine_facts(),
        "pipelines": rows,
    }


def _pass(detector: MaskDetector, frames: Sequence[Frame]) -> dict[str, Any]:
    """Run once over the frames, with a fresh tracker."""
    detector.follow()
    detector.clock.reset()
    faces = 0
    start = time.perf_counter()
    for frame in frames:
        arrival = time.perf_counter()
        faces += len(detector(frame.image))
        detector.clock.close_frame(arrival)
        detector.clock.next_frame()
    seconds = time.perf_counter() - start
    return {"frames_per_second": len(frames) / seconds, "faces": faces, "stages": detector.clock.percentiles()}


def _median(values: Any) -> float:
    return round(float(median(values)), 3)


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Give median, least and greatest of some measurements, rounded."""
    return {"median": round(median(values), digits), "min": round(min(values), digits), "max": round(max(values), digits)}


def table(report: dict[str, Any]) -> str:
    """Give the report as a Markdown table."""
    lines = [
        "| pipeline | frames/s (range) | to the baseline | detect | classify | track | total p50 / p95 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in report["pipelines"]:
        rate, ratio, stages = row["frames_per_second"], row["ratio_to_baseline"], row["stages_ms"]
        cells = [
            row["name"],
            f"{rate['median']:.1f} ({rate['min']:.1f} - {rate['max']:.1f})",
            f"{ratio['median']:.2f} x",
            *(f"{stages[stage]['p50']:.2f} ms" for stage in ("detect", "classify", "track")),
            f"{stages['total']['p50']:.2f} / {stages['total']['p95']:.2f} ms",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def conditions(report: dict[str, Any]) -> str:
    """Say in a sentence what was measured, and on what."""
    facts, (width, height) = report["facts"], report["size"]
    return (
        f"{report['frames']} frames of `{report['source']}` at {width} x {height}, {report['rounds']} rounds in turn, "
        f"{report['threads']} thread(s), from a frame's arrival to its answer; {facts['machine']}, {facts['cores']} cores, "
        f"Python {facts['python']}, OpenCV {facts['opencv']}, onnxruntime {facts['onnxruntime']}."
    )
