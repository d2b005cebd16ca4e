"""All actions of the rules of a run. They do not delay the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maskedge.events import Event
from maskedge.results import FrameResult
from maskedge.sinks.base import Sink
from maskedge.support.workers import WAITS

from .action import ActionContext, ActionThreads, ActionWorker
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
        before: The actions before a reload. Their threads go on, with what waits in them.

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
        before: Actions | None = None,
    ) -> None:
        self._threads: ActionThreads = ActionThreads(source, waits) if before is None else before._threads
        context = ActionContext(sinks or {}, settings or {}, self._threads)
        wanted = {action: [rule for rule in rules if action.name in rule.actions] for action in ACTIONS}
        # The first thread starts after all actions are checked and open.
        self._actions = [action(own, context) for action, own in wanted.items() if own]
        hide_variables(name for rule in rules if (name := getattr(rule, "webhook_header_env", None)))
        for action in self._actions:
            action.open()
        try:
            for action in self._actions:
                action.start()
        except BaseException:
            # The system may allow no further thread.
            self._threads.close(() if before is None else before._workers())
            raise

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
        return self._threads.problems()

    def forget_pictures(self) -> None:
        """Discard the pictures that wait, because a reload has made privacy stricter."""
        self._threads.forget_pictures()

    def forget_identities(self) -> None:
        """Remove positions and identities from the events that wait, because a reload has made privacy stricter."""
        self._threads.forget_identities()

    def close(self, following: Actions | None = None) -> None:
        """End all actions within about a second.

        Running work may finish, without further attempts.

        Args:
            following: The actions after a reload. The threads that they use go on.
        """
        self._threads.close(() if following is None else following._workers())

    def _workers(self) -> set[ActionWorker]:
        return {worker for action in self._actions for worker in action.workers}
