"""The loop of a run. It processes the frames of a source and passes the results to the outputs.

The loop has three parts: `FrameProcessor` computes the result of a frame, `EventPublisher` passes
the result to the outputs, and `close_run` closes everything. This module handles the state of the
source, the rate, and the work between frames. The source, the user or a failure ends the loop.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from maskedge.errors import MaskedgeError
from maskedge.events import HEALTH, SOURCE_BACK, SOURCE_LOST, Event
from maskedge.sinks.base import Sink
from maskedge.sources import Source
from maskedge.sources.base import ENDED, LOST, OPEN
from maskedge.support.log import NAME
from maskedge.tracking.tracker import KEEP
from maskedge.vision.pipeline import MaskDetector

from .context import RunContext, RunResult, StopRequest
from .event_publisher import EventPublisher
from .frame_processor import FrameProcessor
from .shutdown import Closable, close_run
from .state import RunState
from .summary import Summary

_TICK = 0.1
"""Seconds between two rounds of work that is not urgent."""
_log = logging.getLogger(NAME)


def run(
    source: Source,
    detector: MaskDetector,
    sinks: Sequence[Sink],
    *,
    max_frames: int | None = None,
    stop: StopRequest | None = None,
    progress: Callable[[Summary], None] = lambda _: None,
    context: RunContext | None = None,
) -> RunResult:
    """Run until the end. The source, every sink and the actions are closed when it returns.

    If a sink fails, the run of a file ends. A live run continues without the sink, or retries if
    the sink is behind a `QueuedSink`.

    Args:
        source: Source of the frames.
        detector: Detects and classifies faces. Its clock measures every stage.
        sinks: The outputs.
        max_frames: End after this many frames.
        stop: Ends the run when its signal is set.
        progress: Called after each frame.
        context: Optional parts of the run.
    """
    return _Loop(source, detector, sinks, max_frames, stop or StopRequest(), progress, context or RunContext()).run()


class _Loop:
    def __init__(
        self,
        source: Source,
        detector: MaskDetector,
        sinks: Sequence[Sink],
        max_frames: int | None,
        stop: StopRequest,
        progress: Callable[[Summary], None],
        context: RunContext,
    ) -> None:
        self._source = source
        self._detector = detector
        self._sinks = list(sinks)
        self._max_frames = max_frames
        self._stop = stop
        self._progress = progress
        self._context = context
        self._state = context.state or RunState(source.name)
        self._processor = FrameProcessor(source, detector, context, self._state)
        self._publisher = EventPublisher(source, sinks, context, self._state, detector.clock)
        self._lost_at: float | None = None
        self._forgotten = False
        self._due = 0.0
        self._go_on = True

    def run(self) -> RunResult:
        source, clock, summary = self._source, self._detector.clock, self._processor.summary
        failure: MaskedgeError | None = None
        started = time.perf_counter()
        try:
            source.on_state, source.on_wait = self._on_state, self._on_wait
            self._state.set_source(source.state, fps=source.fps)
            if not source.live:
                self._report_ready()
            frames = source.frames()
            while self._is_running() and summary.frames != self._max_frames:
                if source.live:
                    self._limit_rate()
                with clock("capture"):
                    frame = next(frames, None)
                if frame is None or self._stop.signal is not None:
                    break
                self._report_ready()
                # Before the frame counts as processed: the state never shows more of these.
                self._count_frames()
                result = self._processor.process(frame)
                summary.seconds = time.perf_counter() - started
                self._go_on &= self._publisher.publish_result(result)
                clock.next_frame()
                self._progress(summary)
                self._tick()
        except MaskedgeError as error:
            failure = error
        finally:
            failure = self._close(failure)
        summary.seconds = time.perf_counter() - started
        summary.dropped = source.dropped
        summary.skipped = source.skipped
        summary.reconnects = source.reconnects
        summary.latency = clock.percentiles()
        summary.people = self._processor.people()
        return RunResult(summary, failure)

    def _is_running(self) -> bool:
        return self._go_on and self._stop.signal is None

    def _report_ready(self) -> None:
        if self._context.systemd is not None:
            self._context.systemd.ready()

    # The source.

    def _on_state(self, state: str, message: str, retries: int) -> None:
        """Publish a change of the source."""
        source = self._source
        self._state.set_source(state, message, retries, fps=source.fps)
        now = time.time()
        if state == OPEN and self._lost_at is not None:
            lost_s = round(time.monotonic() - self._lost_at, 1)
            details: dict[str, Any] = {"seconds": lost_s, "reconnects": source.reconnects}
            self._lost_at = None
            self._publisher.publish_event(Event(SOURCE_BACK, now, source.name, details))
        elif self._lost_at is None and (state == LOST or (state == ENDED and message)):
            self._lost_at, self._forgotten = time.monotonic(), False
            self._publisher.publish_event(Event(SOURCE_LOST, now, source.name, {"error": message}))
        elif state == LOST:
            _log.debug("attempt %d failed: %s", retries, message)
        if self._context.systemd is not None:
            self._context.systemd.status(message or f"{source.name} is {state}")

    def _on_wait(self) -> None:
        """Do the work between frames while the source delivers none."""
        if self._source.state == LOST:
            # A service is ready even without its camera, whose absence may last a minute or a week.
            self._report_ready()
            self._forget_people()
        self._tick(waiting=True)
        if not self._is_running():
            self._source.stop()

    def _forget_people(self) -> None:
        """Delete expired descriptors of people, also while no frame arrives."""
        if self._lost_at is not None and not self._forgotten and time.monotonic() - self._lost_at > KEEP:
            self._forgotten = True
            self._detector.forget_people()

    # Between frames.

    def _limit_rate(self) -> None:
        limiter = self._context.rate_limiter
        if limiter is None:
            return
        while self._is_running() and (seconds := limiter.wait()) > 0:
            time.sleep(min(seconds, _TICK))
            self._tick()
        limiter.begin()

    def _tick(self, *, waiting: bool = False) -> None:
        context, source, now = self._context, self._source, time.monotonic()
        if context.systemd is not None:
            context.systemd.alive()
        if now < self._due:
            return
        self._due = now + _TICK
        if self._stop.take_reload():
            context.reload()
        if context.rate_limiter is not None:
            state = context.rate_limiter.changed_state()
            if state is not None:
                self._publisher.publish_event(Event(HEALTH, time.time(), source.name, state))
            self._state.set_rate_limits(context.rate_limiter.state())
        self._publisher.tick(waiting=waiting)
        self._count_frames()
        if waiting:
            lost = self._lost_at is not None
            banner = f"{source.name}: no picture since {time.strftime('%H:%M:%S')}" if lost else ""
            self._go_on &= self._publisher.show_still(banner)

    def _count_frames(self) -> None:
        source = self._source
        self._state.count(captured=source.captured, dropped=source.dropped, reconnects=source.reconnects, skipped=source.skipped)

    # The end.

    def _close(self, failure: MaskedgeError | None) -> MaskedgeError | None:
        """Close everything. Return the failure of the run."""
        context = self._context
        if context.systemd is not None:
            context.systemd.stopping(restart=self._stop.restart)
        if context.health is not None:
            context.health.close()
        self._state.set_source(ENDED)
        others: list[Closable] = [self._detector]
        if context.actions is not None:
            others.append(context.actions)
        failures = close_run(self._source, self._sinks, others)
        self._publisher.log_remaining()
        if self._source.live and self._stop.signal is not None:
            # The exit code of a stopped service is that of the signal, even if an output fails
            # while it is closed.
            for error in failures:
                _log.warning("%s", error)
            return failure
        return failure or next(iter(failures), None)
