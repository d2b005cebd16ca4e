"""The loop: frames from a source through a detector into sinks, until the source, the user or a failure ends it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from maskedge.alerts.actions import Actions
from maskedge.alerts.rules import AlertChange, AlertEngine
from maskedge.errors import MaskedgeError, OutputError
from maskedge.events import ALERT, FACE_APPEARED, FACE_LEFT, HEALTH, LABEL_CHANGED, OUTPUT_LOST, SOURCE_BACK, SOURCE_LOST, Event
from maskedge.privacy import hidden_boxes, without_people
from maskedge.rendering.draw import Overlay
from maskedge.results import FrameResult
from maskedge.sinks import Sink
from maskedge.sinks.base import StillSink
from maskedge.sinks.queued import QueuedSink
from maskedge.sources import Source
from maskedge.sources.base import ENDED, LOST, OPEN
from maskedge.support.log import NAME
from maskedge.system.health import HealthWatcher
from maskedge.system.rate_limiter import RateLimiter
from maskedge.system.sd_notify import SystemdNotifier
from maskedge.tracking.tracker import KEEP
from maskedge.tracking.transitions import ChangeWatcher
from maskedge.types import Frame
from maskedge.vision.pipeline import MaskDetector
from maskedge.zones import Zones

from .state import RunState
from .summary import Summary

_TICK = 0.1
"""Seconds between two looks at what is not urgent."""
_CLOSE = 1.7
"""Seconds for closing what may hang: all of it ends within two seconds of a signal."""
_log = logging.getLogger(NAME)
T = TypeVar("T")


@dataclass
class StopRequest:
    """Set from outside (a signal handler) to end a run after the current frame, or to have its configuration read again."""

    signal: int | None = None
    reload: bool = False


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        summary: What it did.
        failure: What ended it, None when it came to its end.
    """

    summary: Summary
    failure: MaskedgeError | None


@dataclass
class RunContext:
    """What a run has besides source, detector and sinks. Everything may be left out, and most may be changed while it runs.

    Attributes:
        state: Collects what it does, for others to show.
        zones: Parts of the picture that count.
        alerts: Watches the answers.
        actions: Does what alerts ask for.
        rate_limiter: Holds a live loop back.
        health: Watches the machine.
        systemd: Speaks to systemd.
        event_queue: Events of other threads, which the loop hands on.
        anonymize: Make faces unrecognisable in every picture that leaves.
        stats_only: Leave out of all that outputs receive where faces are and who is who.
        reload: Reads the configuration again; called by the loop between two frames.
    """

    state: RunState | None = None
    zones: Zones = field(default_factory=Zones)
    alerts: AlertEngine | None = None
    actions: Actions | None = None
    rate_limiter: RateLimiter | None = None
    health: HealthWatcher | None = None
    systemd: SystemdNotifier | None = None
    event_queue: queue.SimpleQueue[Event] = field(default_factory=queue.SimpleQueue)
    anonymize: bool = False
    stats_only: bool = False
    reload: Callable[[], None] = lambda: None


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
    """Run to the end. The source, every sink and the actions are closed when it returns, whatever happened.

    A sink that fails ends the run of a file; that of a live source goes on without it (or, behind a `QueuedSink`, tries again).

    Args:
        source: Gives the frames.
        detector: Gives the answers; its clock keeps the time of every stage.
        sinks: Take the answers.
        max_frames: End after so many frames.
        stop: Ends the run when its signal is set.
        progress: Called after each frame.
        context: What else belongs to the run.
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
        self._all_sinks = list(sinks)
        self._sinks = list(sinks)
        self._max_frames = max_frames
        self._stop = stop
        self._progress = progress
        self._context = context
        self._state = context.state or RunState(source.name)
        self._written: Counter[str] = Counter()
        self._broken: dict[str, str] = {}
        self._state.watch_sinks(self._sink_states)
        self._watcher = ChangeWatcher()
        self._summary = Summary(source.name, source.video)
        self._answer: FrameResult | None = None
        self._lost_at: float | None = None
        self._due = 0.0
        self._status = ""
        self._status_due = 0.0
        self._go_on = True

    def run(self) -> RunResult:
        source, clock, summary = self._source, self._detector.clock, self._summary
        failure: MaskedgeError | None = None
        started = time.perf_counter()
        try:
            source.on_state, source.on_wait = self._on_state, self._on_wait
            self._state.set_source(source.state, fps=source.fps)
            if not source.live:
                self._begin()
            frames = source.frames()
            while self._going() and summary.frames != self._max_frames:
                if source.live:
                    self._hold_back()
                with clock("capture"):
                    frame = next(frames, None)
                if frame is None or self._stop.signal is not None:
                    break
                self._begin()
                answer = self._answer_frame(frame)
                summary.seconds = time.perf_counter() - started
                self._write(answer)
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
        summary.people = self._people()
        return RunResult(summary, failure)

    def _going(self) -> bool:
        return self._go_on and self._stop.signal is None

    def _begin(self) -> None:
        """The work goes on: say so to who started us."""
        if self._context.systemd is not None:
            self._context.systemd.ready()

    # A frame.

    def _answer_frame(self, frame: Frame) -> FrameResult:
        context, detector = self._context, self._detector
        found = detector(frame.image, frame.moment)
        film_s = frame.moment if self._source.video and not self._source.live else None
        faces = context.zones.keep(found, frame.size)
        tracks = detector.tracker.tracks if detector.tracker is not None else []
        events = [replace(event, film_s=film_s) for event in self._watcher.observe(frame, faces, tracks)]
        stages = detector.clock.close_frame(frame.arrival)
        self._summary.add(faces)
        zones = context.zones.counts(faces, frame.size)
        self._state.add_frame(faces, stages, frame.size, people=self._people() if tracks or events else None, zones=zones)
        answer = FrameResult(
            frame,
            faces,
            stages,
            self._status_line(stages),
            events,
            hidden_boxes(found, tracks) if context.anonymize else None,
            Overlay(context.zones.outlines(frame.size)) if context.zones else Overlay(),
            film_s=film_s,
        )
        changes = context.alerts.observe(answer) if context.alerts is not None else []
        # From here on there is only what outputs may know.
        self._answer = answer = self._published(answer)
        answer.events = [*answer.events, *self._act(changes)]
        for event in answer.events:
            _say(event)
        return answer

    def _act(self, changes: Iterable[AlertChange]) -> list[Event]:
        """Begin the actions of alerts, and give those that are events."""
        events = []
        for rule, own in changes:
            event = self._published(own)
            if self._context.actions is not None:
                self._context.actions.perform(rule, event, self._answer)
            if "event" in rule.actions:
                events.append(event)
        return events

    def _people(self) -> Counter[str]:
        people = Counter(dict.fromkeys(self._detector.labels, 0))
        people.update(self._watcher.people)
        return people

    def _status_line(self, stages: dict[str, float]) -> str:
        now = time.monotonic()
        if self._source.video and now >= self._status_due:
            self._status_due = now + 0.25
            dropped = f"  {self._source.dropped} dropped" if self._source.dropped else ""
            self._status = f"{self._state.rate():.0f} frames/s  {stages['total']:.0f} ms{dropped}"
        return self._status

    def _write(self, answer: FrameResult) -> None:
        for sink in list(self._sinks):
            with self._detector.clock(sink.name):
                self._go_on &= self._guarded(sink, lambda own=sink: own.write(answer))  # type: ignore[misc]
            self._written[sink.name] += sink in self._sinks  # One that failed has just been taken out.

    def _guarded(self, sink: Sink, work: Callable[[], bool | None]) -> bool:
        """Let a sink work. One that fails ends the run of a file; a live loop goes on without it."""
        try:
            return work() is not False
        except Exception as error:
            if not self._source.live:
                raise
            sentence = str(error) if isinstance(error, OutputError) else f"the output {sink.name} failed ({error!r})."
            self._sinks.remove(sink)
            self._broken[sink.name] = sentence
            self._context.event_queue.put(
                Event(OUTPUT_LOST, time.time(), self._source.name, {"output": sink.name, "error": sentence})
            )
            return True

    # Between frames.

    def _hold_back(self) -> None:
        rate_limiter = self._context.rate_limiter
        if rate_limiter is None:
            return
        while self._going() and (seconds := rate_limiter.wait()) > 0:
            time.sleep(min(seconds, _TICK))
            self._tick()
        rate_limiter.begin()

    def _on_state(self, state: str, sentence: str, retries: int) -> None:
        """The source has news."""
        self._state.set_source(state, sentence, retries, fps=self._source.fps)
        now = time.time()
        if state == OPEN and self._lost_at is not None:
            details: dict[str, Any] = {"seconds": round(time.monotonic() - self._lost_at, 1), "reconnects": self._source.reconnects}
            self._lost_at = None
            self._handle_event(Event(SOURCE_BACK, now, self._source.name, details))
        elif self._lost_at is None and (state == LOST or (state == ENDED and sentence)):
            self._lost_at = time.monotonic()
            self._handle_event(Event(SOURCE_LOST, now, self._source.name, {"error": sentence}))
        elif state == LOST:
            _log.debug("attempt %d failed: %s", retries, sentence)
        if self._context.systemd is not None:
            self._context.systemd.status(sentence or f"{self._source.name} is {state}")

    def _on_wait(self) -> None:
        """No frame comes."""
        if self._source.state == LOST:
            # It may come back in a minute or in a week: whoever waits for us waits for no camera.
            self._begin()
            self._forget_people()
        self._tick(waiting=True)
        if not self._going():
            self._source.stop()

    def _forget_people(self) -> None:
        """Keep what people look like no longer than promised, also where no frame comes by which to count the time."""
        tracker = self._detector.tracker
        if tracker is not None and tracker.tracks and self._lost_at is not None and time.monotonic() - self._lost_at > KEEP:
            tracker.forget()

    def _tick(self, *, waiting: bool = False) -> None:
        context, now = self._context, time.monotonic()
        if context.systemd is not None:
            context.systemd.alive()
        if now < self._due:
            return
        self._due = now + _TICK
        if self._stop.reload:
            self._stop.reload = False
            context.reload()
        if context.rate_limiter is not None:
            state = context.rate_limiter.changed_state()
            if state is not None:
                self._handle_event(Event(HEALTH, time.time(), self._source.name, state))
            self._state.set_rate_limits(context.rate_limiter.state())
        if waiting and context.alerts is not None:
            self._hand_on(self._act(context.alerts.tick()))
        self._hand_on(context.actions.problems() if context.actions is not None else [])
        while not context.event_queue.empty():
            self._hand_on([context.event_queue.get()])
        source = self._source
        self._state.count(captured=source.captured, dropped=source.dropped, reconnects=source.reconnects, skipped=source.skipped)
        if context.alerts is not None:
            self._state.set_alerts(self._published(context.alerts.active()))
        if waiting:
            self._show_still()

    def _show_still(self) -> None:
        """Say on the last picture that there is no newer one."""
        stills = [sink for sink in self._sinks if isinstance(sink, StillSink)]
        if not stills or self._answer is None:
            return
        if self._lost_at is not None and not self._answer.overlay.banner:
            self._answer = self._answer.with_banner(f"{self._source.name}: no picture since {time.strftime('%H:%M:%S')}")
        for sink in stills:
            self._go_on &= sink.still(self._answer)

    def _handle_event(self, event: Event) -> None:
        """Hand on what happened, and what alerts make of it."""
        self._hand_on([event])
        if self._context.alerts is not None:
            self._hand_on(self._act(self._context.alerts.handle_event(event)))

    def _hand_on(self, events: Iterable[Event]) -> None:
        for event in map(self._published, events):
            _say(event)
            for sink in list(self._sinks):
                self._guarded(sink, lambda own=sink, event=event: own.handle_event(event))  # type: ignore[misc]

    def _published(self, result: T) -> T:
        """Give an answer, an event or the state of alerts as outputs may know it."""
        return without_people(result) if self._context.stats_only else result

    def _sink_states(self) -> dict[str, dict[str, Any]]:
        states = {}
        for sink in self._all_sinks:
            if isinstance(sink, QueuedSink):
                states[sink.name] = sink.status()
            else:
                error = self._broken.get(sink.name)
                states[sink.name] = {
                    "written": self._written[sink.name], "dropped": 0, "state": "lost" if error else "ok", "error": error,
                }  # fmt: skip
        return states

    # The end.

    def _close(self, failure: MaskedgeError | None) -> MaskedgeError | None:
        """Close everything; what may hang side by side and with a bound."""
        context = self._context
        if context.systemd is not None:
            context.systemd.stopping()
        if context.health is not None:
            context.health.close()
        self._state.set_source(ENDED)
        end = time.monotonic() + _CLOSE
        failures: list[MaskedgeError] = []

        def close(thing: Any) -> None:
            try:
                thing.close()
            except MaskedgeError as error:
                failures.append(error)
            except Exception as error:  # noqa: BLE001  (the others must still be closed)
                failures.append(OutputError(f"{getattr(thing, 'name', 'an output')} could not be closed ({error!r})."))

        # What writes the user's files without a queue is completed, however long it takes; a live source has no such.
        apart = [sink for sink in self._all_sinks if self._source.live and not isinstance(sink, StillSink)]
        things: list[Any] = [self._source, *apart] + ([context.actions] if context.actions is not None else [])
        threads = [threading.Thread(target=close, args=(thing,), daemon=True) for thing in things]
        for thread in threads:
            thread.start()
        for sink in self._all_sinks:
            if sink not in apart:
                close(sink)
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        # What other threads said last: too late for the outputs, not for the log.
        while not context.event_queue.empty():
            _say(self._published(context.event_queue.get()))
        if self._source.live and self._stop.signal is not None:
            # Who stops a service asks how it was stopped, not which output was away just then.
            for error in failures:
                _log.warning("%s", error)
            return failure
        return failure or next(iter(failures), None)


_LEVELS = {SOURCE_LOST: logging.WARNING, ALERT: logging.WARNING, OUTPUT_LOST: logging.WARNING}
_QUIET = (FACE_APPEARED, FACE_LEFT, LABEL_CHANGED)


def _say(event: Event) -> None:
    """Log an event as one line."""
    level = logging.DEBUG if event.kind in _QUIET else _LEVELS.get(event.kind, logging.INFO)
    if event.kind == HEALTH and (event.details.get("throttled") or event.details.get("slowed_by")):
        level = logging.WARNING
    if _log.isEnabledFor(level):
        _log.log(level, "%s", _sentence(event), extra={"happening": event.to_json()})


def _sentence(event: Event) -> str:
    kind, details = event.kind, event.details
    match kind:
        case "source_lost":
            return f"lost: {details['error']}"
        case "source_back":
            return f"{event.source} is back after {details['seconds']} s"
        case "output_lost":
            return f"output {details['output']}: {details.get('error', 'lost')}"
        case "output_back":
            return f"output {details['output']} works again"
        case "alert" | "alert_ended":
            facts = ", ".join(f"{name} {value}" for name, value in details.items() if name not in ("rule", "when"))
            return f"{'alert' if kind == ALERT else 'alert ended'}: {details['rule']} ({facts})"
        case "health" if "slowed_by" in details:
            if not details["slowed_by"]:
                return "the loop goes at its full rate again"
            return f"the loop is held back to {details['rate_limit_fps']} frames/s ({', '.join(details['slowed_by'])})"
        case "health":
            slowed = ", ".join(details["throttled"] or ()) or "not throttled"
            return f"health: {details['temperature_c']} degrees Celsius ({details['temperature_band']}), {slowed}"
        case _:
            facts = ", ".join(f"{name} {value}" for name, value in details.items())
            return f"{kind.replace('_', ' ')}: {facts}"
