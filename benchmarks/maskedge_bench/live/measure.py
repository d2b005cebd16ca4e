"""One live run: a thread of the source and a loop for each stream, as in `edge-run`."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from maskedge.sources.live import LiveSource
from maskedge.support.timing import summarise
from maskedge.types import Frame
from maskedge.vision.pipeline import MaskDetector
from maskedge_bench.rounds import cpu_seconds

from .source import paced_source

MODES = ("asynchronous", "synchronous")
"""Asynchronous: frames do not wait for a detection. Synchronous: each detection belongs to its
frame."""
_WARM_UP = 4
_AGE = "detection_age"
"""Stage of a frame that takes up the result of an earlier frame: the age of that frame."""


@dataclass(eq=False)
class _Stream:
    """One camera with its loop.

    Attributes:
        source: The camera.
        detector: The pipeline.
        loop_ms: Milliseconds that the loop was busy with each frame.
        loop_cpu_ms: CPU milliseconds of the loop's thread for each frame.
        age_ms: Age of each frame at its result, in milliseconds.
        detection_age_ms: Age of the frame of each detection that the tracks take up.
        faces: Number of faces in all frames.
        detections: Number of frames with a detection of their own.
        failure: What ended the loop early.
    """

    source: LiveSource
    detector: MaskDetector
    loop_ms: list[float] = field(default_factory=list)
    loop_cpu_ms: list[float] = field(default_factory=list)
    age_ms: list[float] = field(default_factory=list)
    detection_age_ms: list[float] = field(default_factory=list)
    faces: int = 0
    detections: int = 0
    failure: BaseException | None = None

    def run(self) -> None:
        """Process the newest frame, again and again, until the source ends."""
        clock = self.detector.clock
        try:
            for frame in self.source.frames():
                start, cpu = time.perf_counter(), time.thread_time()
                self.faces += len(self.detector(frame.image, frame.moment))
                stages = clock.close_frame(frame.arrival)
                # The clock keeps the newest frames only, and a run may be longer.
                self.age_ms.append(stages["total"])
                if _AGE in stages:
                    self.detection_age_ms.append(stages[_AGE])
                self.detections += "detect" in stages
                clock.next_frame()
                self.loop_ms.append((time.perf_counter() - start) * 1000)
                self.loop_cpu_ms.append((time.thread_time() - cpu) * 1000)
        except BaseException as error:  # noqa: BLE001  (raised again by the caller)
            self.failure = error
        finally:
            self.source.close()


def measure_live(
    detectors: Sequence[MaskDetector], frames: Sequence[Frame], rate: float, seconds: float, mode: str
) -> dict[str, Any]:
    """Run one camera on each pipeline, all at the same time.

    Args:
        detectors: The pipelines, one a camera, just opened: opening sets the threads of OpenCV for the process.
        frames: Consecutive frames of a video, the same for each camera.
        rate: Frames per second of each camera.
        seconds: Duration.
        mode: One of `MODES`.

    Returns:
        The row. Frames captured, processed and dropped, of all cameras. Age of a frame at its
        result, in milliseconds and in intervals between frames. Time that the loop is busy with a
        frame, and CPU time of its thread. Age of the frame of a detection when the tracks take it up (None if the detection
        belongs to its frame). CPU time of the process as a share of one core.

    Raises:
        MaskedgeError: A pipeline fails.
    """
    images = [frame.image for frame in frames]
    for detector in detectors:
        _start(detector, mode, images)
    streams = [_Stream(paced_source(images, rate, seconds), detector) for detector in detectors]
    cpu, start = cpu_seconds(), time.perf_counter()
    loops = [threading.Thread(target=stream.run, name="live") for stream in streams]
    try:
        for loop in loops:
            loop.start()
        for loop in loops:
            loop.join()
        wall, used = time.perf_counter() - start, cpu_seconds() - cpu
    finally:
        # After Ctrl-C, the loops are still running.
        for stream in streams:
            stream.source.stop()
        for loop in loops:
            loop.join()
        for stream in streams:
            stream.detector.close()
    for stream in streams:
        if stream.failure is not None:
            raise stream.failure
    return _row(streams, rate, wall, used)


def _start(detector: MaskDetector, mode: str, images: Sequence[Any]) -> None:
    """Load what the first frames load, and start without tracks and times."""
    detector.start_tracking()
    for image in images[:_WARM_UP]:
        detector(image)
    detector.start_tracking(asynchronous=mode == "asynchronous")
    detector.clock.reset()


def _row(streams: Sequence[_Stream], rate: float, wall: float, used: float) -> dict[str, Any]:
    age = summarise([value for stream in streams for value in stream.age_ms])
    ages = [value for stream in streams for value in stream.detection_age_ms]
    processed = sum(len(stream.loop_ms) for stream in streams)
    return {
        "rate": rate,
        "streams": len(streams),
        "seconds": round(wall, 2),
        "captured": sum(stream.source.captured for stream in streams),
        "processed": processed,
        "dropped": sum(stream.source.dropped for stream in streams),
        "detections": len(ages) or sum(stream.detections for stream in streams),
        "faces_a_frame": round(sum(stream.faces for stream in streams) / processed, 2),
        "age_ms": _rounded(age),
        "age_intervals": _rounded({name: value * rate / 1000 for name, value in age.items()}, 3),
        "loop_ms": _rounded(summarise([value for stream in streams for value in stream.loop_ms])),
        "loop_cpu_ms": _rounded(summarise([value for stream in streams for value in stream.loop_cpu_ms])),
        "detection_age_ms": _rounded(summarise(ages)) if ages else None,
        "cpu_share": round(used / wall, 3),
    }


def _rounded(figures: dict[str, float], digits: int = 2) -> dict[str, float]:
    return {name: round(value, digits) for name, value in figures.items()}
