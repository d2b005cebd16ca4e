"""The base class of alert actions."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeAlias

from maskedge.errors import UsageError
from maskedge.events import OUTPUT_BACK, OUTPUT_LOST, PERSONAL_KEYS, Event
from maskedge.results import FrameResult
from maskedge.sinks.base import Sink
from maskedge.support.workers import WAITS, Worker

from .rules import AlertRule

ActionWorker: TypeAlias = Worker[Callable[[], None]]


class ActionThreads:
    """The threads on which the actions of a camera run.

    A reload keeps those of which the new rules have the output with the same target, and what waits
    in them.

    Args:
        source: Display name of the source, without user name and password.
        waits: Seconds between two attempts.
    """

    def __init__(self, source: str = "", waits: Sequence[float] = WAITS) -> None:
        self._source = source
        self._waits = waits
        self._workers: dict[tuple[str, Hashable], ActionWorker] = {}
        self._problems: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._pictures_from = 0.0
        self._people_until = 0.0

    def open(
        self, output: str, name: str, *, target: Hashable = None, capacity: int = 16, threads: int = 1, retry: bool = True
    ) -> ActionWorker:
        """Return the worker of an output and target, which is there already after a reload.

        Args:
            output: Name of the output in events.
            name: Name of the worker, for messages about dropped work.
            target: Where the output goes. Work for a new one does not wait behind failing attempts at the
                one before.
            capacity: Maximum amount of waiting work.
            threads: Number of threads.
            retry: Attempt failing work again.
        """
        key = output, target
        if key not in self._workers:
            # Its failure is over when the new target works.
            problem = next((worker.problem for worker in self._of(output)), None)
            waits, publish = self._waits if retry else (), self.report(output)

            def report(problem: str | None) -> None:
                # A worker that ends may fail after the next one has begun, which then is the one to recover.
                for worker in self._of(output):
                    worker.problem = problem
                publish(problem)

            self._workers[key] = Worker(
                name, lambda work: work(), report, capacity=capacity, threads=threads, waits=waits, problem=problem
            )
        return self._workers[key]

    def close(self, kept: Collection[ActionWorker] = ()) -> None:
        """End the workers within about a second. Running work may finish, without further attempts.

        Args:
            kept: The workers that go on.
        """
        closing = {key: worker for key, worker in self._workers.items() if worker not in kept}
        end = time.monotonic() + 1.0
        for worker in closing.values():
            worker.stopping.set()
        for key, worker in closing.items():
            worker.close(max(0.0, end - time.monotonic()))
            del self._workers[key]

    def _of(self, output: str) -> list[ActionWorker]:
        return [worker for (known, _), worker in list(self._workers.items()) if known == output]

    def report(self, output: str) -> Callable[[str | None], None]:
        """Return a function that publishes a failure of an output (called with a message) and its recovery (with None)."""

        def report(problem: str | None) -> None:
            details = {"output": output} | ({"error": problem} if problem else {})
            self._problems.put(Event(OUTPUT_LOST if problem else OUTPUT_BACK, time.time(), self._source, details))

        return report

    def problems(self) -> list[Event]:
        """Return the events `output_lost` and `output_back` since the last call."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._problems.get_nowait())
        return found

    def forget_pictures(self) -> None:
        """Discard the pictures that wait."""
        self._pictures_from = time.perf_counter()

    def forget_identities(self) -> None:
        """Remove positions and identities from the events that wait."""
        self._people_until = time.perf_counter()

    def may_use(self, result: FrameResult) -> bool:
        """Return True if the picture of a frame is not discarded."""
        return result.frame.arrival >= self._pictures_from

    def deferred(self, send: Callable[[Event], None], event: Event) -> Callable[[], None]:
        """Return work that sends an event as privacy allows when it is sent."""
        queued = time.perf_counter()

        def work() -> None:
            removed = PERSONAL_KEYS if queued <= self._people_until else ()
            send(replace(event, details={name: value for name, value in event.details.items() if name not in removed}))

        return work


@dataclass(frozen=True)
class ActionContext:
    """The parts of a run that the actions of alerts may use.

    Attributes:
        sinks: The open outputs, by name.
        settings: Sections of the configuration, by name.
        threads: The threads of the actions.
    """

    sinks: Mapping[str, Sink] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    threads: ActionThreads = field(default_factory=ActionThreads)

    def sink(self, name: str, key: str, action: str, rule: AlertRule) -> Any:
        """Return an output of the run.

        Raises:
            UsageError: The output is not open. The message names the key that opens it.
        """
        if name not in self.sinks:
            raise UsageError(f"alert rule {rule.name!r} has the action {action!r}: set [{name}] {key}.")
        return self.sinks[name]


class Action:
    """A reaction to the start or end of an alert. One object serves all rules that name the action.

    The constructor only checks the rules, and touches no file. `open` opens what the action writes
    to, and `start` starts the threads.

    Args:
        rules: The rules that name this action, at least one.
        context: The run.

    Attributes:
        name: Value in `actions`.
        section: Section of edge.toml that belongs to the action; empty if there is none.
        settings_class: Dataclass of that section.
        rule_class: Rule class with the keys of the action.
        workers: Workers of the action, from `context.threads`. `Actions` closes them.

    Raises:
        UsageError: A rule requests something that is not possible.
    """

    name: ClassVar[str]
    section: ClassVar[str] = ""
    settings_class: ClassVar[type[Any] | None] = None
    rule_class: ClassVar[type[AlertRule]] = AlertRule

    def __init__(self, rules: Sequence[Any], context: ActionContext) -> None:
        self.rules = rules
        self.context = context
        self.workers: list[ActionWorker] = []

    def open(self) -> None:
        """Open what the action writes to. Called after all actions are checked.

        Raises:
            OutputError: It cannot be written.
        """

    def start(self) -> None:
        """Start the threads of the action."""

    def perform(self, rule: AlertRule, event: Event, result: FrameResult | None) -> list[Event]:
        """Perform the action. Must not block.

        Args:
            rule: The rule.
            event: Event `alert` or `alert_ended` of the rule.
            result: The newest frame as published; None before the first.

        Returns:
            Events for the outputs of the run.
        """
        raise NotImplementedError
