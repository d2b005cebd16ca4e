"""`edge-run` end to end: decoding, detection, drawing and writing, in its own loop."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskedge.results import FrameResult
from maskedge.runtime.loop import run
from maskedge.sinks.base import Sink
from maskedge.sinks.events import EventSink
from maskedge.sinks.video import VideoSink
from maskedge.sources import open_source
from maskedge.support.timing import summarise
from maskedge.types import Frame
from maskedge.vision.pipeline import MaskDetector


def measure_end_to_end(name: str, detector: MaskDetector, frames: Sequence[Frame], folder: Path) -> dict[str, Any]:
    """Run a pipeline on a video file, with an annotated video and events as outputs.

    Args:
        name: Name of the row.
        detector: The pipeline. Tracking is started.
        frames: Consecutive frames of a video.
        folder: Folder of the input video, which is written on the first call.

    Returns:
        The row: frames per second, and the figures of every stage, including capture and outputs.

    Raises:
        MaskedgeError: The run failed.
    """
    clip = folder / "clip.mp4"
    if not clip.exists():
        writer = VideoSink(clip, 30.0)
        for frame in frames:
            writer.write(FrameResult(frame, [], {}))
        writer.close()
    detector.start_tracking()
    detector.clock.reset()
    with tempfile.TemporaryDirectory(dir=folder) as outputs:
        sinks: list[Sink] = [VideoSink(Path(outputs) / "out.mp4", 30.0), EventSink(str(Path(outputs) / "out.jsonl"))]
        outcome = run(open_source(str(clip)), detector, sinks)
    if outcome.failure is not None:
        raise outcome.failure
    count = outcome.summary.frames
    stages = {
        stage: {key: round(value, 3) for key, value in (summarise(values) | {"mean": sum(values) / count}).items()}
        for stage, values in detector.clock.history().items()
    }
    return {
        "name": name,
        "frames": count,
        "frames_per_second": round(count / outcome.summary.seconds, 2),
        "stages_ms": stages,
    }
