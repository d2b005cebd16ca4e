"""The registries of conditions and actions, and the checks of rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field, make_dataclass

from maskedge.errors import UsageError
from maskedge.settings import is_plain_name, shown
from maskedge.support.files import slug
from maskedge.zones import Zones

from .action import Action
from .command import CommandAction
from .conditions import CONDITIONS, Condition
from .media import ClipAction, SnapshotAction
from .messages import EventAction, MqttAction
from .notification import NotifyAction
from .rules import AlertRule
from .webhook import WebhookAction

ACTIONS: list[type[Action]] = [EventAction, MqttAction, WebhookAction, CommandAction, NotifyAction, SnapshotAction, ClipAction]
"""All actions."""
_LONGEST_NAME = 60
_classes: dict[tuple[type[AlertRule], ...], type[AlertRule]] = {}


def condition_names() -> tuple[str, ...]:
    """Return the values of `when`."""
    return tuple(condition.name for condition in CONDITIONS)


def action_names() -> tuple[str, ...]:
    """Return the values of `actions`."""
    return tuple(action.name for action in ACTIONS)


def find_condition(name: str) -> type[Condition]:
    """Return the condition with a name.

    Raises:
        StopIteration: The condition does not exist. `check_rules` refuses such a rule.
    """
    return next(condition for condition in CONDITIONS if condition.name == name)


def rule_class() -> type[AlertRule]:
    """Return the dataclass of a table `[[alerts]]`.

    It has the shared keys and the keys of every condition and action.
    """
    owners: list[type[Condition] | type[Action]] = [*CONDITIONS, *ACTIONS]
    own = tuple(dict.fromkeys(owner.rule_class for owner in owners if owner.rule_class is not AlertRule))
    if own not in _classes:
        shared = [
            ("when", str, field(default="", metadata={"help": f"condition: {', '.join(condition_names())}"})),
            (
                "actions",
                tuple[str, ...],
                field(default=("event",), metadata={"help": f"actions: {', '.join(action_names())}"}),
            ),
        ]
        # The fields of a dataclass begin with those of its last base class.
        _classes[own] = make_dataclass("AlertRule", shared, bases=(*reversed(own), AlertRule), frozen=True)
    return _classes[own]


def check_rules(rules: Iterable[AlertRule], zones: Zones) -> None:
    """Check that the rules are valid.

    Raises:
        UsageError: A rule is invalid. The message names the rule.
    """
    for problem in rule_problems(rules, zones):
        raise UsageError(problem)


def rule_problems(rules: Iterable[AlertRule], zones: Zones) -> Iterator[str]:
    """Yield a message for each invalid rule. The message names the rule."""
    names: set[str] = set()
    for number, rule in enumerate(rules, 1):
        if not is_plain_name(rule.name, _LONGEST_NAME):
            allowed = f"{_LONGEST_NAME} letters, digits, '_', '-', '.' or blanks at most"
            got = f", got {shown(rule.name)}" if rule.name else ""
            yield f'alert rule {number} needs a name of {allowed}{got}: name = "no masks at the door".'
            continue
        problem = _problem(rule, zones)
        if problem:
            yield f"alert rule {rule.name!r}: {problem}."
        # The name is used in a topic and in file names. There, every character except letters,
        # digits and '-' is replaced by '_'.
        name = slug(rule.name)
        if name in names:
            yield (
                f"two alert rules have the name {rule.name!r}, or names that differ from it only in other signs than A-Z, a-z, 0-9 "
                "and '-': give each its own."
            )
        names.add(name)


def unused_settings(rules: Sequence[AlertRule]) -> list[tuple[str, str]]:
    """Return problem and remedy for each setting of a rule that has no effect.

    That is what an action does if the rule does not name the action, and a threshold if the
    condition has none.
    """
    found = [
        (
            f"alert rule {rule.name!r} has a threshold, but {rule.when} has none",
            "remove threshold, or choose another condition (when)",
        )
        for rule in rules
        if rule.threshold is not None and not find_condition(rule.when).uses_threshold
    ]
    return found + [
        (
            f"alert rule {rule.name!r} has {action.name}, but its actions lack it",
            f"add {action.name!r} to actions, or remove {action.name}",
        )
        for rule in rules
        for action in ACTIONS
        if getattr(rule, action.name, None) and action.name not in rule.actions
    ]


def check_labels(rules: Iterable[AlertRule], labels: Sequence[str]) -> None:
    """Check that every label of the rules can occur. Otherwise an alert would never start.

    Raises:
        UsageError: A label cannot occur. The message names its rule.
    """
    for rule in rules:
        unknown = [label for label in rule.labels if label not in labels]
        if unknown and find_condition(rule.when).uses_labels:
            raise UsageError(
                f"alert rule {rule.name!r} waits for the label {unknown[0]!r}, which no face gets here: the labels are "
                f"{', '.join(labels)}. Change the rule's labels, or what leaves it out (the model, model.labels)."
            )


def _problem(rule: AlertRule, zones: Zones) -> str | None:
    """Return the error in a rule, or None if the rule is valid."""
    if rule.when not in condition_names():
        return f"when = {rule.when!r} is unknown: use one of {', '.join(condition_names())}"
    wrong = [action for action in rule.actions if action not in action_names()]
    if wrong:
        return f"the action {wrong[0]!r} is unknown: use {', '.join(action_names())}"
    problem = find_condition(rule.when).check(rule)
    if problem:
        return problem
    if rule.zone is not None and rule.zone not in zones.names:
        return f"there is no zone {rule.zone!r}; zones: {', '.join(zones.names) or 'none'}"
    return None if rule.labels else "labels must name at least one label"
