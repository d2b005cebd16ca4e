"""The loop: frames from a source through a detector into sinks, until the source, the user or a failure ends it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from maskedge.errors import MaskedgeError
from maskedge.pipeline import NOT_A_FACE, MaskDetector
from maskedge.sinks import Sink
from maskedge.sinks.base import Answer
from maskedge.sources import Source
from maskedge.summary import Summary


@dataclass
class Stop:
    """Set from outside (a signal) to end a run after the current frame."""

    signal: int | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        summary: What it did.
        failure: What ended it, None when it came to its end.
    """

    summary: Summary
    failure: MaskedgeError | None


def run(
    source: Source,
    detector: MaskDetector,
    sinks: Sequence[Sink],
    *,
    max_frames: int | None = None,
    stop: Stop | None = None,
    progress: Callable[[Summary], None] = lambda _: None,
) -> Outcome:
    """Run to the end. The source and every sink are closed when it returns, whatever happened.

    Args:
        source: Gives the frames.
        detector: Gives the answers; its clock keeps the time of every stage.
        sinks: Take the answers.
        max_frames: End after so many frames.
        stop: Ends the run when its signal is set.
        progress: Called after each frame.
    """
    stop = stop or Stop()
    clock = detector.clock
    summary = Summary(source.name, source.video)
    failure: MaskedgeError | None = None
    started = time.perf_counter()
    try:
        frames = source.frames()
        while stop.signal is None and summary.frames != max_frames:
            with clock("capture"):
                frame = next(frames, None)
            if frame is None or stop.signal is not None:
                break
            faces = detector(frame.image)
            stages = clock.close_frame(frame.arrival)
            summary.add(faces)
            summary.seconds = time.perf_counter() - started
            rate = summary.frames / max(summary.seconds, 1e-9)
            answer = Answer(frame, faces, stages, f"{rate:.0f} frames/s  {stages['total']:.0f} ms" if source.video else "")
            go_on = True
            for sink in sinks:
                with clock(sink.name):
                    go_on &= sink.write(answer)
            clock.next_frame()
            progress(summary)
            if not go_on:
                break
    except MaskedgeError as error:
        failure = error
    finally:
        source.close()
        for sink in sinks:
            try:
                sink.close()
            except MaskedgeError as error:
                failure = failure or error
    summary.seconds = time.perf_counter() - started
    summary.dropped = source.dropped
    summary.skipped = source.skipped
    summary.latency = clock.percentiles()
    if detector.tracker is not None:
        labels = detector.classifier.labels
        summary.people = Counter({label: 0 for label in labels if label != NOT_A_FACE})
        summary.people.update({labels[index]: count for index, count in detector.tracker.people.items()})
    return Outcome(summary, failure)
