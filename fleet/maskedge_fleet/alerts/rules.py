"""Alert rules of the fleet: the tables `[[alert]]` of fleet.toml (docs/fleet-alerts.md)."""

from __future__ import annotations

from dataclasses import dataclass, field

from maskedge.errors import UsageError
from maskedge.settings import Range, check_name, check_settings, shown

KINDS = (
    *("device_silent", "camera_lost", "duplicate_device", "clock_wrong"),
    *("share_below", "model_disagreement", "rollout_halted"),
)
"""Conditions of alert rules of the fleet."""
UNITS = ("site", "group", "fleet")
"""Parts of the fleet that a rule about shares judges one by one."""
_WITH_THRESHOLD = ("share_below", "model_disagreement")
_SECONDS = {
    "device_silent": 300.0,
    "camera_lost": 60.0,
    "duplicate_device": 3600.0,
    "clock_wrong": 60.0,
    "share_below": 3600.0,
    "model_disagreement": 86400.0,
    "rollout_halted": 0.0,
}


@dataclass(frozen=True)
class FleetRule:
    """A table `[[alert]]`: a rule of the fleet."""

    name: str = field(default="", metadata={"help": "name of the rule; each rule has its own"})
    when: str = field(default="", metadata={"help": f"condition: {', '.join(KINDS)}"})
    threshold: float | None = field(
        default=None,
        metadata={"help": "share_below: lowest good share; model_disagreement: difference of shares", "range": Range(0, 1)},
    )
    seconds: float | None = field(
        default=None,
        metadata={
            "help": "duration; share_below and model_disagreement: the window; clock_wrong: error of the clock",
            "range": Range(1, 31_536_000),
        },
    )
    site: str | None = field(default=None, metadata={"help": "only devices of this site"})
    group: str | None = field(default=None, metadata={"help": "only devices of this group"})
    per: str = field(default="site", metadata={"help": f"part that a share is of: {', '.join(UNITS)}"})
    min_face_s: float = field(
        default=60.0, metadata={"help": "seconds of labelled faces that a window needs to be judged", "range": Range(0, 1e9)}
    )
    hysteresis: float = field(
        default=0.02, metadata={"help": "distance of a share from the threshold at which an alert ends", "range": Range(0, 1)}
    )

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: A value is missing or not valid.
        """
        check_settings(self, "alert")
        check_name(self.name, "alert.name")
        where = f"the alert {shown(self.name)}"
        if self.when not in KINDS:
            raise UsageError(f"{where}: when is one of {', '.join(KINDS)}; got {shown(self.when)}.")
        if self.threshold is None and self.when in _WITH_THRESHOLD:
            raise UsageError(f"{where} has no threshold: {self.when} needs one, from 0 to 1.")
        if self.threshold is not None and self.when not in _WITH_THRESHOLD:
            raise UsageError(f"{where} has a threshold, but {self.when} has none: remove it, or choose another condition (when).")
        if self.per not in UNITS:
            raise UsageError(f"{where}: per is one of {', '.join(UNITS)}; got {shown(self.per)}.")

    @property
    def duration(self) -> float:
        """`seconds`, or the default of the condition."""
        return _SECONDS[self.when] if self.seconds is None else self.seconds


DEFAULT_RULES = tuple(
    FleetRule(name, when)
    for name, when in (
        ("device silent", "device_silent"),
        ("camera lost", "camera_lost"),
        ("two devices of one name", "duplicate_device"),
        ("clock wrong", "clock_wrong"),
        ("roll-out halted", "rollout_halted"),
    )
)
"""Rules that apply if fleet.toml has no table `[[alert]]`."""
