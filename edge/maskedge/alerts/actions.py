"""All actions of the rules of a run. They do not delay the loop."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from maskedge.events import OUTPUT_BACK, OUTPUT_LOST, Event
from maskedge.results import FrameResult
from maskedge.sinks.base import Sink
from maskedge.support.workers import WAITS

from .action import ActionContext
from .command import hide_variables
from .registry import ACTIONS
from .rules import AlertRule


class Actions:
    """Opens the actions that the rules name, and performs them on separate threads.

    Args:
        rules: The rules.
        source: Display name of the source, without user name and password.
        sinks: The open outputs, by name. The run closes them.
        settings: Sections of the configuration, by name.
        waits: Seconds between two attempts.

    Raises:
        UsageError: A rule has an action that cannot be performed.
        OutputError: An action cannot write to its folder.
    """

    def __init__(
        self,
        rules: Sequence[AlertRule],
        source: str,
        *,
        sinks: Mapping[str, Sink] | None = None,
        settings: Mapping[str, Any] | None = None,
        waits: Sequence[float] = WAITS,
    ) -> None:
        self._source = source
        self._problems: queue.SimpleQueue[Event] = queue.SimpleQueue()
        context = ActionContext(sinks or {}, settings or {}, self._reporter, waits)
        wanted = {action: [rule for rule in rules if action.name in rule.actions] for action in ACTIONS}
        # The first thread starts after all actions are checked and open.
        self._actions = [action(own, context) for action, own in wanted.items() if own]
        hide_variables(name for rule in rules if (name := getattr(rule, "webhook_header_env", None)))
        for action in self._actions:
            action.open()
        for action in self._actions:
            action.start()

    def perform(self, rule: AlertRule, event: Event, result: FrameResult | None) -> list[Event]:
        """Start the actions of a rule, and return at once.

        Args:
            rule: The rule.
            event: Event `alert` or `alert_ended` of the rule.
            result: The newest frame, for the snapshot.

        Returns:
            Events for the outputs of the run.
        """
        events = []
        for action in self._actions:
            if action.name in rule.actions:
                events += action.perform(rule, event, result)
        return events

    def problems(self) -> list[Event]:
        """Return the events `output_lost` and `output_back` since the last call."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._problems.get_nowait())
        return found

    def forget_pictures(self) -> None:
        """Discard the pictures that wait, because a reload has made privacy stricter."""
        for action in self._actions:
            action.forget_pictures()

    def close(self) -> None:
        """End all actions within about a second.

        Running work may finish, without further attempts.
        """
        end = time.monotonic() + 1.0
        workers = [worker for action in self._actions for worker in action.workers]
        for worker in workers:
            worker.stopping.set()
        for worker in workers:
            worker.close(max(0.0, end - time.monotonic()))

    def _reporter(self, output: str) -> Callable[[str | None], None]:
        def report(problem: str | None) -> None:
            details = {"output": output} | ({"error": problem} if problem else {})
            self._problems.put(Event(OUTPUT_LOST if problem else OUTPUT_BACK, time.time(), self._source, details))

        return report
