"""Alert rules: the tables `[[alerts]]` of edge.toml (docs/alerts.md)."""

from __future__ import annotations

from dataclasses import dataclass, field

from maskedge.settings import Range, check_settings


@dataclass(frozen=True)
class AlertRule:
    """The keys of a rule that conditions and actions share.

    A condition or an action adds its keys in a subclass (`rule_class`).
    `maskedge.alerts.registry.rule_class` combines all subclasses.
    """

    name: str = field(default="", metadata={"help": "name of the rule; each rule has its own"})
    when: str = field(default="", metadata={"help": "condition"})
    threshold: float | None = field(
        default=None,
        metadata={
            "help": "no_mask_fraction: 0 to 1, reached or exceeded; too_many_people: more people than this",
            "range": Range(0, 10_000),
        },
    )
    seconds: float | None = field(
        default=None,
        metadata={"help": "window of no_mask_fraction; duration of any other condition", "range": Range(0, 86400)},
    )
    zone: str | None = field(default=None, metadata={"help": "name of a zone; only faces in it count"})
    labels: tuple[str, ...] = field(default=("without_mask",), metadata={"help": "labels that count as no mask"})
    cooldown: float = field(
        default=60.0,
        metadata={"help": "seconds from the start of an alert to the next alert of this rule", "range": Range(0, 31_536_000)},
    )
    actions: tuple[str, ...] = field(default=("event",), metadata={"help": "actions"})

    def __post_init__(self) -> None:
        check_settings(self, "alerts")
