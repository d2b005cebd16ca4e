"""Start-up time, load time and memory of each pipeline, in a separate process with one picture."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskedge.errors import MaskedgeError
from maskedge_bench.conditions import spread
from maskedge_bench.contestants.pipelines import Pipeline

_PICTURES = 10


def measure_load_times(pipelines: Sequence[Pipeline], picture: Path, rounds: int) -> list[dict[str, Any]]:
    """Start each pipeline in a new process, interleaved, `rounds` times after one uncounted start.

    Args:
        pipelines: The pipelines.
        picture: Picture file to process.
        rounds: Counted starts of each pipeline.

    Returns:
        One row per pipeline: seconds from the start of Python to the first result, seconds of
        loading, and peak memory in megabytes.

    Raises:
        MaskedgeError: A process fails.
    """
    starts: list[list[dict[str, Any]]] = [[] for _ in pipelines]
    for counted in range(-1, rounds):
        for pipeline, own in zip(pipelines, starts, strict=True):
            one = _start(pipeline, picture)
            if counted >= 0:
                own.append(one)
    return [
        {
            "name": pipeline.name,
            "seconds_to_first_answer": spread([one["first_result"] for one in own], 3),
            "load_seconds": spread([one["load"] for one in own], 3),
            "peak_memory_mb": None if any(one["memory"] is None for one in own) else spread([one["memory"] for one in own], 1),
        }
        for pipeline, own in zip(pipelines, starts, strict=True)
    ]


def _start(pipeline: Pipeline, picture: Path) -> dict[str, Any]:
    settings = [pipeline.detector, str(pipeline.model or ""), pipeline.eager or "", str(picture)]
    start = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603  (our own module)
        [sys.executable, "-m", "maskedge_bench.start.load_time", *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None  # noqa: S101  (stdout=PIPE above)
    try:
        first = process.stdout.readline()
        first_result = time.perf_counter() - start
        rest = process.stdout.read()
    finally:
        process.stdout.close()
        process.wait()
    if process.returncode or not first:
        raise MaskedgeError(f"{pipeline.name} failed in a separate process: run edge-doctor to find the cause.")
    return {"first_result": first_result, **json.loads(rest)}


def _main(detector: str, model: str, eager: str, picture: str) -> None:
    from maskedge.support.pictures import read_picture
    from maskedge.system.host import peak_memory_mb

    start = time.perf_counter()
    opened = Pipeline("", detector, Path(model) if model else None, 1, eager=eager or None).open()
    load = time.perf_counter() - start
    image = read_picture(Path(picture))
    opened(image)
    print("first_result", flush=True)
    for _ in range(_PICTURES):
        opened(image)
    # Measure here and not with wait4 in the parent, whose figure on Linux includes the parent's
    # memory at the fork.
    print(json.dumps({"load": load, "memory": peak_memory_mb()}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
