"""Simulated people in front of one camera: who is in view, and the events of it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from maskedge.events import (
    ALERT,
    ALERT_ENDED,
    FACE_APPEARED,
    FACE_LEFT,
    HEALTH,
    LABEL_CHANGED,
    LINE_CROSSED,
    SOURCE_BACK,
    SOURCE_LOST,
    Event,
)
from maskedge.tracking.lines import DIRECTIONS
from maskedge.types import Face

LABELS = ("with_mask", "without_mask", "incorrect_mask")
LINE, ZONE, RULE = "door", "till", "no mask"
EVENTS_A_PERSON = 2.9
"""Mean number of events that a person causes: appears, changes, crosses, leaves, alerts."""
_STAY_S = (4.0, 20.0)
_MOST_FACES = 40
_CHANGES, _CROSSES, _ALERTS = 0.25, 0.5, 0.3
"""Share of the people who change their label, who cross the line, and of the unmasked who cause an alert."""
_LOST_A_SECOND, _LOST_S = 1 / 1800, (2.0, 20.0)
"""How often the camera is lost, and for how long."""
_HEALTH_A_SECOND = 1 / 900


@dataclass
class _Person:
    track: int
    label: str
    appeared: float
    leaves: float
    changes: float | None
    crosses: float | None


@dataclass
class Moment:
    """Contents of a step.

    Attributes:
        faces: Faces in view.
        zones: Faces by zone and label.
        people: New people by zone and label.
        events: Events since the last step.
        is_open: False while the camera is lost.
    """

    faces: list[Face] = field(default_factory=list)
    zones: dict[str, dict[str, int]] = field(default_factory=dict)
    people: dict[str, dict[str, int]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    is_open: bool = True


class Scene:
    """People who come and go.

    Args:
        device: Name of the device.
        events_per_s: Mean number of events a second.
        masked: Share of the people with a mask, 0 to 1.
        seed: Start of the random numbers.

    Attributes:
        totals: People so far, by label.
        lines: Crossings so far, by line, direction and label.
        alert: Since when the alert is active, in seconds since the epoch; None if it is not.
        temperature_c: Temperature of the processor.
    """

    def __init__(self, device: str, events_per_s: float, masked: float, seed: str) -> None:
        self._device = device
        self._rate = events_per_s / EVENTS_A_PERSON
        self._weights = (masked, 0.8 * (1 - masked), 0.2 * (1 - masked))
        self._chance = random.Random(seed)  # noqa: S311  (no secret)
        self._people: list[_Person] = []
        self._track = 0
        self._last: float | None = None
        self._lost_until: float | None = None
        self._lost_at = 0.0
        self._reconnects = 0
        self._alert_ends = 0.0
        self.totals: Counter[str] = Counter(dict.fromkeys(LABELS, 0))
        self.lines: dict[str, dict[str, Counter[str]]] = {LINE: {one: Counter() for one in DIRECTIONS}}
        self.alert: float | None = None
        self.temperature_c = self._chance.uniform(42, 60)

    def step(self, now: float) -> Moment:
        """Advance to a time.

        Args:
            now: Seconds since the epoch.
        """
        span, self._last = now - (self._last or now), now
        moment = Moment()
        self.temperature_c += self._chance.uniform(-0.3, 0.3) + (52 - self.temperature_c) * 0.01
        if self._lost_until is not None:
            moment.is_open = self._recover(now, moment)
        elif self._chance.random() < _LOST_A_SECOND * span:
            self._lose(now, moment)
        if not moment.is_open:
            return moment
        if self._chance.random() < _HEALTH_A_SECOND * span:
            self._add(moment, HEALTH, now, temperature_c=round(self.temperature_c, 1), temperature_band="warm", throttled=False)
        for _ in range(self._arrivals(span)):
            self._appear(now, moment)
        for person in list(self._people):
            self._advance(person, now, moment)
        if self.alert is not None and now >= self._alert_ends:
            self._add(moment, ALERT_ENDED, now, rule=RULE, lasted_s=round(now - self.alert, 1))
            self.alert = None
        self._fill(moment)
        return moment

    def _arrivals(self, span: float) -> int:
        """Return a random number of arrivals in `span` seconds (Poisson)."""
        count, left = 0, self._rate * span
        while (left := left - self._chance.expovariate(1.0)) > 0:
            count += 1
        return count if len(self._people) + count < _MOST_FACES else max(0, _MOST_FACES - len(self._people))

    def _appear(self, now: float, moment: Moment) -> None:
        chance = self._chance
        self._track += 1
        (label,) = chance.choices(LABELS, self._weights)
        stay = chance.uniform(*_STAY_S)
        self._people.append(
            _Person(
                self._track,
                label,
                now,
                now + stay,
                now + stay * chance.uniform(0.3, 0.7) if chance.random() < _CHANGES else None,
                now + stay * chance.uniform(0.1, 0.9) if chance.random() < _CROSSES else None,
            )
        )
        self.totals[label] += 1
        new = moment.people.setdefault("", {})
        new[label] = new.get(label, 0) + 1
        self._add(moment, FACE_APPEARED, now, track=self._track, label=label, score=self._score())
        if label == LABELS[1] and self.alert is None and chance.random() < _ALERTS:
            self.alert, self._alert_ends = now, now + stay
            self._add(
                moment, ALERT, now, rule=RULE, when="person_without_mask", zone=ZONE, longest_s=round(chance.uniform(2, 8), 1)
            )

    def _advance(self, person: _Person, now: float, moment: Moment) -> None:
        if person.changes is not None and now >= person.changes:
            person.changes, before = None, person.label
            person.label = LABELS[1] if before == LABELS[0] else LABELS[0]
            self.totals[before] -= 1
            self.totals[person.label] += 1
            details = {"track": person.track, "label": person.label, "before": before, "score": self._score()}
            self._add(moment, LABEL_CHANGED, now, **details)
        if person.crosses is not None and now >= person.crosses:
            person.crosses = None
            direction = self._chance.choice(DIRECTIONS)
            self.lines[LINE][direction][person.label] += 1
            self._add(moment, LINE_CROSSED, now, line=LINE, direction=direction, track=person.track, label=person.label)
        if now >= person.leaves:
            self._people.remove(person)
            self._leave(person, now, moment)

    def _leave(self, person: _Person, now: float, moment: Moment) -> None:
        seconds = round(now - person.appeared, 1)
        self._add(moment, FACE_LEFT, now, track=person.track, label=person.label, seconds=seconds)

    def _lose(self, now: float, moment: Moment) -> None:
        """Lose the camera. Its people are dropped later, as by the tracker."""
        self._lost_at, self._lost_until = now, now + self._chance.uniform(*_LOST_S)
        moment.is_open = False
        self._add(moment, SOURCE_LOST, now, error="the camera delivers no frames")

    def _recover(self, now: float, moment: Moment) -> bool:
        if self._lost_until is None or now < self._lost_until:
            return False
        self._lost_until = None
        self._reconnects += 1
        self._add(moment, SOURCE_BACK, now, seconds=round(now - self._lost_at, 1), reconnects=self._reconnects)
        return True

    def _fill(self, moment: Moment) -> None:
        inside: Counter[str] = Counter()
        for place, person in enumerate(self._people):
            x = 40.0 * (place % 12)
            moment.faces.append(Face((x, 80, x + 36, 116), person.label, 0.97, person.label, 0.97, person.track))
            if place % 2:
                inside[person.label] += 1
        moment.zones = {ZONE: dict(inside)}

    def _score(self) -> float:
        return round(self._chance.uniform(0.85, 0.999), 4)

    def _add(self, moment: Moment, kind: str, now: float, **details: Any) -> None:
        moment.events.append(Event(kind, now, "simulated", details, device=self._device))

    @property
    def reconnects(self) -> int:
        """How often the camera was opened again."""
        return self._reconnects
