"""The whole of `edge-run`: decode, answer, draw, write, by its own loop and its own clock."""

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


def measure_chain(name: str, detector: MaskDetector, frames: Sequence[Frame], folder: Path) -> dict[str, Any]:
    """Run a detector over a video file, with an annotated video and events as outputs.

    Args:
        name: Name of the row.
        detector: The detector; it follows faces from now on.
        frames: The frames, consecutive ones of a video.
        folder: Where the video that is read may stand; written when it does not.

    Returns:
        The row: frames a second, and the figures of every stage, capture and outputs among them.

    Raises:
        MaskedgeError: It failed.
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
