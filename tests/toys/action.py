"""An alert action: a note in a file, whose name is a key of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from maskedge.alerts.action import Action
from maskedge.alerts.rules import AlertRule
from maskedge.events import Event
from maskedge.results import FrameResult


@dataclass(frozen=True)
class ToyRule(AlertRule):
    """A rule with the action's key."""

    note: Path | None = field(default=None, metadata={"help": "toy: file for a line per alert"})


class ToyAction(Action):
    """Append the kind of event and the name of the rule to the file `note`."""

    name = "toy"
    rule_class = ToyRule

    def perform(self, rule: AlertRule, event: Event, result: FrameResult | None) -> list[Event]:
        """Write one line."""
        assert isinstance(rule, ToyRule)
        assert rule.note is not None
        with rule.note.open("a", encoding="utf-8") as file:
            file.write(f"{event.kind} {rule.name}\n")
        return []
