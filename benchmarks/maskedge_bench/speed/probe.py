"""A process of its own that loads a pipeline and answers one picture: for its start, its loading and its memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskedge.errors import MaskedgeError
from maskedge_bench.contestants.pipelines import Pipeline
from maskedge_bench.report import spread

_ANSWERS = 10


def measure_starts(pipelines: Sequence[Pipeline], picture: Path, rounds: int) -> list[dict[str, Any]]:
    """Start each pipeline in a fresh process, in turn, `rounds` times after one that does not count.

    Args:
        pipelines: What to start.
        picture: What it answers.
        rounds: Counted starts of each.

    Returns:
        One row each: seconds from the start of Python to the first answer, seconds of loading, megabytes at their peak.

    Raises:
        MaskedgeError: One does not answer.
    """
    told: list[list[dict[str, Any]]] = [[] for _ in pipelines]
    for counted in range(-1, rounds):
        for pipeline, own in zip(pipelines, told, strict=True):
            one = _start(pipeline, picture)
            if counted >= 0:
                own.append(one)
    return [
        {
            "name": pipeline.name,
            "seconds_to_first_answer": spread([one["answered"] for one in own], 3),
            "load_seconds": spread([one["load"] for one in own], 3),
            "peak_memory_mb": None if any(one["memory"] is None for one in own) else spread([one["memory"] for one in own], 1),
        }
        for pipeline, own in zip(pipelines, told, strict=True)
    ]


def _start(pipeline: Pipeline, picture: Path) -> dict[str, Any]:
    settings = [pipeline.detector, str(pipeline.model or ""), pipeline.eager or "", str(picture)]
    start = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603  (our own module)
        [sys.executable, "-m", "maskedge_bench.speed.probe", *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None  # noqa: S101  (asked for above)
    try:
        first = process.stdout.readline()
        answered = time.perf_counter() - start
        rest = process.stdout.read()
    finally:
        process.stdout.close()
        process.wait()
    if process.returncode or not first:
        raise MaskedgeError(f"{pipeline.name} did not answer in a process of its own: edge-doctor says what is wrong.")
    return {"answered": answered, **json.loads(rest)}


def _main(detector: str, model: str, eager: str, picture: str) -> None:
    from maskedge.support.pictures import read_picture
    from maskedge.system.host import peak_memory_mb

    start = time.perf_counter()
    opened = Pipeline("", detector, Path(model) if model else None, 1, eager=eager or None).open()
    load = time.perf_counter() - start
    image = read_picture(Path(picture))
    opened(image)
    print("answered", flush=True)
    for _ in range(_ANSWERS):
        opened(image)
    # Not the usage that the parent is told at the end: Linux counts what the parent itself held at the fork in it.
    print(json.dumps({"load": load, "memory": peak_memory_mb()}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
