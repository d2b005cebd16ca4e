"""The cost of the stage clock itself."""

from __future__ import annotations

import time
from statistics import median

from maskedge.support.timing import StageClock, inner_stage

_FRAMES = 2000
_ROUNDS = 7


def measure_clock(frame_ms: float) -> dict[str, float]:
    """Time all calls of the clock in a frame, around empty stages.

    Args:
        frame_ms: Milliseconds per frame of a pipeline.

    Returns:
        Microseconds per frame, and their share of `frame_ms`.
    """
    clock = StageClock()
    costs = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        for _ in range(_FRAMES):
            with clock("capture"):
                pass
            arrival = time.perf_counter()
            with clock("detect"), inner_stage("resize"):
                pass
            with clock("classify"):
                pass
            for _ in range(2):
                with clock("track"):
                    pass
            clock.close_frame(arrival)
            with clock("save"), inner_stage("draw"):
                pass
            with clock("events"):
                pass
            clock.next_frame()
        costs.append((time.perf_counter() - start) / _FRAMES)
    microseconds = 1e6 * median(costs)
    return {"microseconds_a_frame": round(microseconds, 2), "share_of_a_frame": round(microseconds / 1000 / frame_ms, 6)}
