"""Alert rules: when what is seen asks for somebody's attention, and when that is over (docs/alerts.md)."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from maskedge.errors import UsageError
from maskedge.events import ALERT, ALERT_ENDED, SOURCE_BACK, SOURCE_LOST, Event
from maskedge.settings import Range, check_settings
from maskedge.support.files import slug
from maskedge.types import Face
from maskedge.zones import Zones

if TYPE_CHECKING:
    from maskedge.results import FrameResult

_OF_LABELS = ("no_mask_fraction", "person_without_mask")
KINDS = (*_OF_LABELS, "too_many_people", "camera_lost")
ACTIONS = ("event", "mqtt", "webhook", "command", "snapshot", "clip")
_GAP = 1.0
"""Seconds for which a face may be missed, or a condition be doubted, without an end."""
_BUCKETS = 60
_SHORTEST = 0.1
"""Seconds of a window at least."""


@dataclass(frozen=True)
class AlertRule:
    """One table `[[alerts]]`. Its fields are described in docs/alerts.md."""

    name: str = field(default="", metadata={"help": "name of the rule; each has its own"})
    when: str = field(default="", metadata={"help": f"what it watches: {', '.join(KINDS)}"})
    threshold: float | None = field(
        default=None,
        metadata={
            "help": "no_mask_fraction: 0 to 1, reached or above; too_many_people: more people than this",
            "range": Range(0, 10_000),
        },
    )
    seconds: float | None = field(
        default=None, metadata={"help": "window of the fraction; how long anything else must last", "range": Range(0, 86400)}
    )
    zone: str | None = field(default=None, metadata={"help": "name of a zone; only what is in it counts"})
    labels: tuple[str, ...] = field(default=("without_mask",), metadata={"help": "labels that count as no mask"})
    cooldown: float = field(
        default=60.0,
        metadata={"help": "seconds from the beginning of an alert to the next one of this rule", "range": Range(0, 31_536_000)},
    )
    actions: tuple[str, ...] = field(default=("event",), metadata={"help": f"what to do: {', '.join(ACTIONS)}"})
    webhook: str | None = field(default=None, metadata={"help": "http(s) URL that takes a POST of JSON", "secret": True})
    webhook_header: str | None = field(
        default=None, metadata={"help": "header to send along, 'NAME: VALUE'", "secret": True, "free": True}
    )
    webhook_header_env: str | None = field(default=None, metadata={"help": "environment variable that holds that header"})
    webhook_header_file: Path | None = field(default=None, metadata={"help": "file that holds that header"})
    webhook_timeout: float = field(default=5.0, metadata={"help": "seconds for one attempt", "range": Range(0.01, 60)})
    command: tuple[str, ...] = field(
        default=(), metadata={"help": "program and arguments; gets the JSON on standard input", "free": True}
    )
    command_timeout: float = field(
        default=10.0, metadata={"help": "seconds after which the program is killed", "range": Range(0.01, 3600)}
    )

    def __post_init__(self) -> None:
        check_settings(self, "alerts")

    @property
    def lasts(self) -> float:
        """Seconds of the window, or for which the condition must last."""
        return (
            self.seconds
            if self.seconds is not None
            else {"no_mask_fraction": 60.0, "person_without_mask": 10.0}.get(self.when, 0.0)
        )


def check_rules(rules: Iterable[AlertRule], zones: Zones) -> None:
    """Make sure that the rules make sense.

    Raises:
        UsageError: One does not; the text names it.
    """
    names: set[str] = set()
    for number, rule in enumerate(rules, 1):
        if not re.fullmatch(r"[\w. -]{1,60}", rule.name):
            raise UsageError(
                f"alert rule {number} needs a name of letters, digits, '_', '-', '.': name = \"no masks at the door\"."
            )
        complaint = _complaint(rule, zones)
        if complaint:
            raise UsageError(f"alert rule {rule.name!r}: {complaint}.")
        # The name becomes a topic and a file name, in which what is no letter becomes '_'.
        name = slug(rule.name)
        if name in names:
            raise UsageError(
                f"two alert rules have the name {rule.name!r}, or names that differ from it only in other signs than A-Z, a-z, 0-9 "
                "and '-': give each its own."
            )
        names.add(name)


def check_labels(rules: Iterable[AlertRule], labels: Sequence[str]) -> None:
    """Make sure that no rule waits for a label that no face gets: it would stay silent for ever.

    Raises:
        UsageError: One does; the text names it.
    """
    for rule in rules:
        if rule.when in _OF_LABELS and (unknown := [label for label in rule.labels if label not in labels]):
            raise UsageError(
                f"alert rule {rule.name!r} waits for the label {unknown[0]!r}, which no face gets here: the labels are "
                f"{', '.join(labels)}. Change the rule's labels, or what leaves it out (the model, model.labels)."
            )


def _complaint(rule: AlertRule, zones: Zones) -> str | None:
    """Say what is wrong with a rule."""
    if rule.when not in KINDS:
        return f"when = {rule.when!r} is unknown: use one of {', '.join(KINDS)}"
    wrong = [action for action in rule.actions if action not in ACTIONS]
    if wrong:
        return f"the action {wrong[0]!r} is unknown: use {', '.join(ACTIONS)}"
    if rule.when == "no_mask_fraction" and not (rule.threshold is not None and 0 < rule.threshold <= 1):
        return "no_mask_fraction needs a threshold above 0 and up to 1"
    if rule.when == "no_mask_fraction" and rule.lasts < _SHORTEST:
        return f"no_mask_fraction needs a window: seconds of {_SHORTEST} or more"
    if rule.when == "too_many_people" and not (rule.threshold is not None and rule.threshold >= 0):
        return "too_many_people needs a threshold: the number of people that is still well"
    if rule.zone is not None and rule.zone not in zones.names:
        return f"there is no zone {rule.zone!r}; zones: {', '.join(zones.names) or 'none'}"
    if rule.zone is not None and rule.when == "camera_lost":
        return "camera_lost has no zone"
    if not rule.labels:
        return "labels names at least one label"
    return None


Details: TypeAlias = dict[str, Any]
_DOUBT: Details = {"doubt": True}
"""The answer of a watch that can tell neither that its alert should begin nor that it should end."""


class _Held:
    """Something that is true for some time; gaps shorter than `_GAP` are forgiven."""

    def __init__(self) -> None:
        self.since: float | None = None
        self._last = 0.0

    def update(self, now: float, *, true: bool) -> float:
        """Give the seconds for which it has been true."""
        if true:
            self.since, self._last = now if self.since is None else self.since, now
        elif self.since is not None and now - self._last > _GAP:
            self.since = None
        return 0.0 if self.since is None else self._last - self.since


class _Fraction:
    """Share of the faces of a window that wear no mask. It says nothing before the window is full."""

    def __init__(self, rule: AlertRule) -> None:
        self._rule = rule
        self._width = rule.lasts / _BUCKETS
        self._buckets: deque[tuple[int, int, int]] = deque()  # number, faces without, faces
        self._first: float | None = None

    def observe(self, now: float, faces: Sequence[Face]) -> Details | None:
        without = sum(face.label in self._rule.labels and not face.unsure for face in faces)
        decided = sum(not face.unsure for face in faces)
        bucket = int(now / self._width)
        self._first = now if self._first is None else self._first
        if self._buckets and self._buckets[-1][0] == bucket:
            _, earlier_without, earlier = self._buckets.pop()
            without, decided = without + earlier_without, decided + earlier
        self._buckets.append((bucket, without, decided))
        while self._buckets[0][0] <= bucket - _BUCKETS:
            self._buckets.popleft()
        without, total = (sum(bucket[place] for bucket in self._buckets) for place in (1, 2))
        fraction = without / total if total else 0.0
        if now - self._first < self._rule.lasts or fraction < (self._rule.threshold or 0.0) or not total:
            return None
        return {"fraction": round(fraction, 3), "faces": total, "window_s": self._rule.lasts}


class _WithoutMask:
    """People who have been without a mask for long, by their tracks."""

    def __init__(self, rule: AlertRule) -> None:
        self._rule = rule
        self._people: dict[int, _Held] = {}

    def observe(self, now: float, faces: Sequence[Face]) -> Details | None:
        seen = {face.track: face for face in faces if face.track is not None and not face.unsure}
        bare = {track for track, face in seen.items() if face.label in self._rule.labels}
        # Who is seen with a mask wears one; who is not seen, or not clearly, may still wear none.
        for track in (seen.keys() - bare) & self._people.keys():
            del self._people[track]
        for track in bare - self._people.keys():
            self._people[track] = _Held()
        lasted = {track: held.update(now, true=track in bare) for track, held in self._people.items()}
        self._people = {track: held for track, held in self._people.items() if held.since is not None}
        long = {track for track in self._people if lasted[track] >= self._rule.lasts}
        if not long & bare:
            return _DOUBT if long else None
        return {"tracks": sorted(long), "longest_s": round(max(lasted[track] for track in long), 1)}


class _TooMany:
    """More people than there should be."""

    def __init__(self, rule: AlertRule) -> None:
        self._rule = rule
        self._held = _Held()

    def observe(self, now: float, faces: Sequence[Face]) -> Details | None:
        too_many = len(faces) > (self._rule.threshold or 0.0)
        seconds = self._held.update(now, true=too_many)
        if not too_many:
            return None if self._held.since is None else _DOUBT
        return {"people": len(faces)} if seconds >= self._rule.lasts else None


class _Lost:
    """No camera."""

    def __init__(self, rule: AlertRule) -> None:
        self._rule = rule
        self._since: float | None = None

    def observe(self, now: float, lost: bool) -> Details | None:
        self._since = (now if self._since is None else self._since) if lost else None
        return {} if self._since is not None and now - self._since >= self._rule.lasts else None


@dataclass
class _Alert:
    """The state of a rule.

    Attributes:
        rule: The rule.
        watch: What it watches.
        begun: Whether its alert lasts.
        since: When that began, in seconds since the epoch.
        begun_at: The same in the engine's time.
        details: What it said last.
        next: When it may begin again, in the engine's time.
    """

    rule: AlertRule
    watch: _Fraction | _WithoutMask | _TooMany | _Lost
    begun: bool = False
    since: float = 0.0
    begun_at: float = 0.0
    details: Details = field(default_factory=dict)
    next: float = float("-inf")


_WATCHES: dict[str, Callable[[AlertRule], _Fraction | _WithoutMask | _TooMany | _Lost]] = {
    "no_mask_fraction": _Fraction,
    "person_without_mask": _WithoutMask,
    "too_many_people": _TooMany,
    "camera_lost": _Lost,
}


class AlertChange(NamedTuple):
    """An alert that begins or ends.

    Attributes:
        rule: Its rule.
        event: `alert` or `alert_ended`.
    """

    rule: AlertRule
    event: Event


class AlertEngine:
    """Watches the answers, and says when an alert begins and ends.

    Args:
        rules: The rules.
        zones: The zones that they name.
        source: What the user called the source, without name and password.
        live: True where time goes on without frames, by the clock; of a file it is that of its frames (`Frame.moment`).

    Raises:
        UsageError: A rule makes no sense.
    """

    def __init__(
        self,
        rules: Sequence[AlertRule],
        zones: Zones,
        source: str,
        *,
        live: bool = True,
    ) -> None:
        check_rules(rules, zones)
        self._zones = zones
        self._source = source
        self._live = live
        self._alerts = [_Alert(rule, _WATCHES[rule.when](rule)) for rule in rules]
        self._lost = False
        self._lost_at: float | None = None
        self._now = 0.0
        self._film_s: float | None = None

    def observe(self, answer: FrameResult) -> list[AlertChange]:
        """Watch a frame.

        Args:
            answer: The frame with the faces that count.

        Returns:
            The alerts that begin or end with it.
        """
        self._lost = False
        self._now, self._film_s = answer.frame.moment, answer.film_s
        if self._lost_at is not None:
            self._forget(self._now - self._lost_at)
            self._lost_at = None
        return self._watch(answer.frame.time, answer)

    def handle_event(self, event: Event) -> list[AlertChange]:
        """Watch what happens beside the frames: `source_lost` and `source_back`."""
        if event.kind in (SOURCE_LOST, SOURCE_BACK):
            self._lost = event.kind == SOURCE_LOST
            if self._lost and self._lost_at is None:
                self._lost_at = time.perf_counter() if self._live else self._now
        return self.tick(event.time)

    def _forget(self, seconds: float) -> None:
        """Begin anew where nobody knows what was the case while the camera was lost for so long."""
        for alert in self._alerts:
            longest = alert.rule.lasts if isinstance(alert.watch, _Fraction) else _GAP
            if not isinstance(alert.watch, _Lost) and seconds > longest:
                alert.watch = _WATCHES[alert.rule.when](alert.rule)

    def tick(self, now: float | None = None) -> list[AlertChange]:
        """Let time go by without a frame. To be called while a live source gives none.

        Args:
            now: Seconds since the epoch, None for now.

        Returns:
            The alerts that begin or end.
        """
        if self._live:
            self._now = time.perf_counter()
        return self._watch(time.time() if now is None else now, None)

    def active(self) -> list[dict[str, Any]]:
        """Give the alerts that last, as they stand in the state of the run: rule, since, details."""
        return [
            {"rule": alert.rule.name, "since": alert.since, "details": dict(alert.details)} for alert in self._alerts if alert.begun
        ]

    def _watch(self, time_of_day: float, answer: FrameResult | None) -> list[AlertChange]:
        changes = []
        for alert in self._alerts:
            if isinstance(alert.watch, _Lost):
                details = alert.watch.observe(self._now, self._lost)
            elif answer is not None:
                details = alert.watch.observe(self._now, self._of_zone(alert.rule, answer))
            elif self._lost and alert.begun:
                # Nobody knows any more.
                details = None
            else:
                continue
            event = self._turn(alert, details, time_of_day)
            if event is not None:
                changes.append(AlertChange(alert.rule, event))
        return changes

    def _of_zone(self, rule: AlertRule, answer: FrameResult) -> list[Face]:
        if rule.zone is None:
            return answer.located
        return [face for face in answer.located if rule.zone in self._zones.of(face.box, answer.frame.size)]

    def _turn(self, alert: _Alert, details: Details | None, time_of_day: float) -> Event | None:
        """Begin or end an alert."""
        rule = alert.rule
        if details is _DOUBT:
            return None
        if details is not None:
            alert.details = details
            if alert.begun or self._now < alert.next:
                return None
            alert.begun, alert.since, alert.begun_at, alert.next = True, time_of_day, self._now, self._now + rule.cooldown
            return Event(ALERT, time_of_day, self._source, self._facts(rule) | details, self._film_s)
        if not alert.begun:
            return None
        alert.begun = False
        lasted = {"lasted_s": round(max(0.0, self._now - alert.begun_at), 1)}
        return Event(ALERT_ENDED, time_of_day, self._source, self._facts(rule) | lasted, self._film_s)

    @staticmethod
    def _facts(rule: AlertRule) -> Details:
        return {"rule": rule.name, "when": rule.when} | ({"zone": rule.zone} if rule.zone else {})
