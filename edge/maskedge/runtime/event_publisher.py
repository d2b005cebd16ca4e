"""The second part of the loop. It passes results and events to alerts, log and outputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from maskedge.alerts.engine import AlertChange
from maskedge.errors import OutputError
from maskedge.events import OUTPUT_LOST, Event
from maskedge.privacy import without_people
from maskedge.results import FrameResult
from maskedge.sinks.base import Sink
from maskedge.sources import Source
from maskedge.support.timing import StageClock

from .context import RunContext
from .event_log import log_event
from .state import RunState

T = TypeVar("T")
R = TypeVar("R", FrameResult, Event)


@dataclass(eq=False)
class _Output:
    """A sink and its state in the loop.

    Attributes:
        sink: The sink.
        written: Number of results written.
        error: Message of the failure that removed the sink from the run; None while it works.
    """

    sink: Sink
    written: int = 0
    error: str | None = None

    def status(self) -> dict[str, Any]:
        """Return written, dropped, state and error, as in the state of the run."""
        return self.sink.status() or {
            "written": self.written, "dropped": 0, "state": "lost" if self.error else "ok", "error": self.error,
        }  # fmt: skip


class EventPublisher:
    """Publishes results, events and active alerts.

    All data leave the loop through this class. With `[privacy] stats_only`, it removes positions
    and identities from all data for sinks, actions, the log and the state of the run. Only the
    alert engine receives them, because zones need positions and durations need identities.

    If a sink fails, the run of a file ends, and a live run continues without the sink.

    Args:
        source: The source of the run.
        sinks: The outputs.
        context: Alerts, actions and privacy. A reload may change them.
        state: The state of the run.
        clock: Measures the time that each sink takes.
    """

    def __init__(self, source: Source, sinks: Sequence[Sink], context: RunContext, state: RunState, clock: StageClock) -> None:
        self._source = source
        self._outputs = [_Output(sink) for sink in sinks]
        self._context = context
        self._state = state
        self._clock = clock
        self._still: tuple[FrameResult, FrameResult] | None = None
        state.watch_sinks(lambda: {output.sink.name: output.status() for output in self._outputs})

    def publish_result(self, result: FrameResult) -> bool:
        """Publish the result of a frame, with the alerts that start or end in this frame.

        Returns:
            False if a sink requests the end of the run.

        Raises:
            OutputError: A sink failed and the source is not live.
        """
        changes = self._context.alerts.observe(result) if self._context.alerts is not None else []
        self._context.newest = published = self._published(result)
        self._still = None
        published.events = [*map(self._published, published.events), *self._perform(changes)]
        for event in published.events:
            log_event(event)
        go_on = True
        for output in self._working():
            with self._clock(output.sink.name):
                go_on &= self._guard(output, lambda sink=output.sink: sink.write(published))  # type: ignore[misc]
            output.written += output.error is None
        return go_on

    def publish_event(self, event: Event) -> None:
        """Publish an event between two frames, and the alerts that start or end at this time."""
        self._publish([event])
        if self._context.alerts is not None:
            self._publish(self._perform(self._context.alerts.handle_event(event)))

    def tick(self, *, waiting: bool) -> None:
        """Publish the events of other threads and the active alerts.

        Call it several times per second.

        Args:
            waiting: True while a live source delivers no frame. Alerts then depend only on time.
        """
        context = self._context
        if waiting and context.alerts is not None:
            self._publish(self._perform(context.alerts.tick()))
        self._publish(context.actions.problems() if context.actions is not None else [])
        while not context.event_queue.empty():
            self._publish([context.event_queue.get()])
        if context.alerts is not None:
            self._state.set_alerts(self._impersonal(context.alerts.active()))

    def show_still(self, banner: str) -> bool:
        """Show the newest picture again while no frame arrives.

        Args:
            banner: Text across the picture; empty for none.

        Returns:
            False if a sink asks to end the run.
        """
        newest = self._context.newest
        if newest is None:
            return True
        if self._still is not None and self._still[0] is not newest:
            self._still = None  # a reload has hidden the picture
        if banner and self._still is None:
            self._still = newest, newest.with_banner(banner)
        shown, go_on = self._still[1] if self._still is not None else newest, True
        for output in self._working():
            go_on &= self._guard(output, lambda sink=output.sink: sink.still(shown))  # type: ignore[misc]
        return go_on

    def log_remaining(self) -> None:
        """Log the events that other threads published after the outputs were closed."""
        while not self._context.event_queue.empty():
            log_event(self._published(self._context.event_queue.get()))

    def _publish(self, events: Iterable[Event]) -> None:
        for event in map(self._published, events):
            log_event(event)
            for output in self._working():
                self._guard(output, lambda sink=output.sink, event=event: sink.handle_event(event))  # type: ignore[misc]

    def _perform(self, changes: Iterable[AlertChange]) -> list[Event]:
        """Start the actions of alerts. Return the events that they publish."""
        events = []
        for rule, change in changes:
            event = self._published(change)
            if self._context.actions is None:
                events.append(event)
            else:
                events += self._context.actions.perform(rule, event, self._context.newest)
        return events

    def _published(self, value: R) -> R:
        """Return a result or an event with the names of camera and device, as privacy allows."""
        return replace(self._impersonal(value), camera=self._context.camera, device=self._context.device)

    def _impersonal(self, value: T) -> T:
        """Return a result, an event or the active alerts without data that privacy excludes."""
        return without_people(value) if self._context.stats_only else value

    def _working(self) -> list[_Output]:
        return [output for output in self._outputs if output.error is None]

    def _guard(self, output: _Output, work: Callable[[], bool | None]) -> bool:
        """Call a sink. If it fails, a live run continues without it, and the run of a file ends."""
        try:
            return work() is not False
        except Exception as error:
            if not self._source.live:
                raise
            name = output.sink.name
            output.error = str(error) if isinstance(error, OutputError) else f"the output {name} failed ({error!r})."
            details = {"output": name, "error": output.error}
            self._context.event_queue.put(Event(OUTPUT_LOST, time.time(), self._source.name, details))
            return True
