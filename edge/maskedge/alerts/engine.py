"""The alert engine. It decides from results and events when each alert starts and ends."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from maskedge.events import ALERT, ALERT_ENDED, SOURCE_BACK, SOURCE_LOST, Event
from maskedge.results import FrameResult
from maskedge.types import Face
from maskedge.zones import Zone, Zones

from .conditions import UNDECIDED, Condition, Details
from .registry import check_rules, find_condition
from .rules import AlertRule


@dataclass
class _Alert:
    """The state of a rule.

    Attributes:
        rule: The rule.
        condition: Condition of the rule.
        active: True between the start and the end of the alert.
        since: Start of the alert in seconds since the epoch.
        started_at: Start of the alert in the engine's time.
        details: Newest details of the condition.
        next: Earliest next start of the alert, in the engine's time.
    """

    rule: AlertRule
    condition: Condition
    active: bool = False
    since: float = 0.0
    started_at: float = 0.0
    details: Details = field(default_factory=dict)
    next: float = float("-inf")


class AlertChange(NamedTuple):
    """An alert that starts or ends.

    Attributes:
        rule: Rule of the alert.
        event: `alert` or `alert_ended`.
    """

    rule: AlertRule
    event: Event


class AlertEngine:
    """Watches results and events, and returns the alerts that start and end.

    Args:
        rules: The rules.
        zones: The zones that the rules name.
        source: Display name of the source, without user name and password.
        live: True if the engine's time is that of the clock. Otherwise it is the time of the frames
            (`Frame.moment`).

    Raises:
        UsageError: A rule is invalid.
    """

    def __init__(self, rules: Sequence[AlertRule], zones: Zones, source: str, *, live: bool = True) -> None:
        check_rules(rules, zones)
        self._zones = zones
        self._source = source
        self._live = live
        self._alerts = [_Alert(rule, find_condition(rule.when)(rule)) for rule in rules]
        self._lost = False
        self._lost_at: float | None = None
        self._now = 0.0
        self._time_of_day = 0.0
        self._film_s: float | None = None

    def observe(self, result: FrameResult) -> list[AlertChange]:
        """Watch a frame.

        Args:
            result: Result of the frame, with the faces in the zones.

        Returns:
            The alerts that start or end with this frame.
        """
        self._lost = False
        self._now, self._film_s = result.frame.moment, result.film_s
        if self._lost_at is not None:
            self._reset_after(self._now - self._lost_at)
            self._lost_at = None
        return self._evaluate(result.frame.time, result)

    def handle_event(self, event: Event) -> list[AlertChange]:
        """Watch an event between frames. Only `source_lost` and `source_back` have an effect."""
        if event.kind in (SOURCE_LOST, SOURCE_BACK):
            self._lost = event.kind == SOURCE_LOST
            if self._lost and self._lost_at is None:
                self._lost_at = time.perf_counter() if self._live else self._now
        return self.tick(event.time)

    def hand_over(self, following: AlertEngine | None) -> list[AlertChange]:
        """Pass the state on to the engine that follows after a reload.

        A rule that stays the same, with the same zone, keeps its state: its alert goes on, and its
        cooldown and durations count. The alerts of other rules end.

        Args:
            following: The engine with the new rules; None if there are none any more.

        Returns:
            The alerts that end.
        """
        ending = {alert.rule.name: alert for alert in self._alerts}
        if following is not None:
            following._lost, following._lost_at = self._lost, self._lost_at
            following._now, following._film_s = self._now, self._film_s
            for place, alert in enumerate(following._alerts):
                old = ending.get(alert.rule.name)
                if old is not None and old.rule == alert.rule and self._zone(old.rule) == following._zone(alert.rule):
                    following._alerts[place] = ending.pop(alert.rule.name)
        now = time.time() if self._live else self._time_of_day
        events = [(alert.rule, self._update(alert, None, now)) for alert in ending.values()]
        return [AlertChange(rule, event) for rule, event in events if event is not None]

    def _zone(self, rule: AlertRule) -> Zone | None:
        return next((zone for zone in self._zones.zones if zone.name == rule.zone), None)

    def _reset_after(self, seconds: float) -> None:
        """Reset each condition whose memory is shorter than the absence of the camera."""
        for alert in self._alerts:
            if seconds > alert.condition.memory_s:
                alert.condition = type(alert.condition)(alert.rule)

    def tick(self, now: float | None = None) -> list[AlertChange]:
        """Evaluate the rules without a frame, while a live source delivers none.

        Args:
            now: Seconds since the epoch; None for the current time.

        Returns:
            The alerts that start or end.
        """
        if self._live:
            self._now = time.perf_counter()
        return self._evaluate(time.time() if now is None else now, None)

    def active(self) -> list[dict[str, Any]]:
        """Return rule, since and details of the active alerts, as in the state of the run."""
        return [
            {"rule": alert.rule.name, "since": alert.since, "details": dict(alert.details)}
            for alert in self._alerts
            if alert.active
        ]

    def _evaluate(self, time_of_day: float, result: FrameResult | None) -> list[AlertChange]:
        self._time_of_day = time_of_day
        changes = []
        for alert in self._alerts:
            if alert.condition.watches_source:
                details = alert.condition.observe_source(self._now, lost=self._lost)
            elif result is not None:
                details = alert.condition.observe(self._now, self._in_zone(alert.rule, result))
            elif self._lost and alert.active:
                # Without a camera, there is no evidence for the alert.
                details = None
            else:
                continue
            event = self._update(alert, details, time_of_day)
            if event is not None:
                changes.append(AlertChange(alert.rule, event))
        return changes

    def _in_zone(self, rule: AlertRule, result: FrameResult) -> list[Face]:
        if rule.zone is None:
            return result.located
        return [face for face in result.located if rule.zone in self._zones.of(face.box, result.frame.size)]

    def _update(self, alert: _Alert, details: Details | None, time_of_day: float) -> Event | None:
        """Start or end an alert, and return its event."""
        rule = alert.rule
        if details is UNDECIDED:
            return None
        if details is not None:
            alert.details = details
            if alert.active or self._now < alert.next:
                return None
            alert.active, alert.since, alert.started_at = True, time_of_day, self._now
            alert.next = self._now + rule.cooldown
            return Event(ALERT, time_of_day, self._source, self._facts(rule) | details, self._film_s)
        if not alert.active:
            return None
        alert.active = False
        lasted = {"lasted_s": round(max(0.0, self._now - alert.started_at), 1)}
        return Event(ALERT_ENDED, time_of_day, self._source, self._facts(rule) | lasted, self._film_s)

    @staticmethod
    def _facts(rule: AlertRule) -> Details:
        return {"rule": rule.name, "when": rule.when} | ({"zone": rule.zone} if rule.zone else {})
