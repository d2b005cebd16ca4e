"""The base class of alert actions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from maskedge.errors import UsageError
from maskedge.events import Event
from maskedge.results import FrameResult
from maskedge.sinks.base import Sink
from maskedge.support.workers import WAITS, Worker

from .rules import AlertRule


def _ignore(output: str) -> Callable[[str | None], None]:
    return lambda problem: None


@dataclass(frozen=True)
class ActionContext:
    """The parts of a run that the actions of alerts may use.

    Attributes:
        sinks: The open outputs, by name.
        settings: Sections of the configuration, by name.
        report: Takes the name of an output. Returns a function that publishes a failure of the
            output (called with a message) and its recovery (called with None).
        waits: Seconds between two attempts.
    """

    sinks: Mapping[str, Sink] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    report: Callable[[str], Callable[[str | None], None]] = _ignore
    waits: Sequence[float] = WAITS

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
        workers: Threads of the action. `Actions` closes them.

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
        self.workers: list[Worker[Any]] = []
        self._forgotten = 0.0

    def open(self) -> None:
        """Open what the action writes to. Called after all actions are checked.

        Raises:
            OutputError: It cannot be written.
        """

    def start(self) -> None:
        """Start the threads of the action."""

    def forget_pictures(self) -> None:
        """Discard the pictures that wait, because a reload has made privacy stricter."""
        self._forgotten = time.perf_counter()

    def may_use(self, result: FrameResult) -> bool:
        """Return True if the picture of a frame is not discarded."""
        return result.frame.arrival >= self._forgotten

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
