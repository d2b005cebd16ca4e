"""The conditions of alert rules. Each condition is a class listed in `CONDITIONS`."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

from maskedge.types import Face

from .rules import AlertRule

Details: TypeAlias = dict[str, Any]
UNDECIDED: Details = {"undecided": True}
"""Result of a condition whose alert should neither start nor end."""
_GAP = 1.0
"""Maximum interruption that does not end a condition, in seconds, as for a missed face."""
_BUCKETS = 60
_MIN_WINDOW = 0.1
"""Minimum length of a window, in seconds."""


class Condition:
    """A situation during which an alert is active. One object holds the state of one rule.

    Args:
        rule: The rule.

    Attributes:
        name: Value of `when`.
        default_seconds: Value of `seconds` if the rule does not set it.
        uses_labels: True if the condition depends on `labels`.
        uses_threshold: True if the condition depends on `threshold`.
        watches_source: True if the condition depends on the camera instead of the faces. Such a
            condition has no zone, and `observe_source` is called instead of `observe`.
        rule_class: Rule class with the keys of the condition.
    """

    name: ClassVar[str]
    default_seconds: ClassVar[float] = 0.0
    uses_labels: ClassVar[bool] = False
    uses_threshold: ClassVar[bool] = False
    watches_source: ClassVar[bool] = False
    rule_class: ClassVar[type[AlertRule]] = AlertRule

    def __init__(self, rule: AlertRule) -> None:
        self.rule = rule
        self.seconds = self.duration(rule)

    @classmethod
    def duration(cls, rule: AlertRule) -> float:
        """Return the length of the window, or the time the condition must last, in seconds."""
        return cls.default_seconds if rule.seconds is None else rule.seconds

    @classmethod
    def check(cls, rule: AlertRule) -> str | None:
        """Return the error in a rule as part of a message, or None if the rule is valid."""
        return None

    @property
    def memory_s(self) -> float:
        """Maximum absence of the camera after which earlier frames still count, in seconds."""
        return _GAP

    def observe(self, now: float, faces: Sequence[Face]) -> Details | None:
        """Watch the faces of a frame.

        Args:
            now: Time of the frame in seconds.
            faces: Faces in the zone of the rule.

        Returns:
            Details for the alert if the condition is met, None if it is not met, or `UNDECIDED` if
            neither is certain.
        """
        raise NotImplementedError

    def observe_source(self, now: float, *, lost: bool) -> Details | None:
        """Watch the state of the camera. Arguments and result are as in `observe`."""
        raise NotImplementedError


class _Duration:
    """The time for which a condition has been true. Interruptions up to `_GAP` do not count."""

    def __init__(self) -> None:
        self.since: float | None = None
        self._last = 0.0

    def update(self, now: float, *, true: bool) -> float:
        """Return the number of seconds for which the condition has been true."""
        if true:
            self.since, self._last = now if self.since is None else self.since, now
        elif self.since is not None and now - self._last > _GAP:
            self.since = None
        return 0.0 if self.since is None else self._last - self.since


class NoMaskFraction(Condition):
    """The share of faces without a mask in a window. It is undefined before the window is full."""

    name = "no_mask_fraction"
    default_seconds = 60.0
    uses_labels = uses_threshold = True

    def __init__(self, rule: AlertRule) -> None:
        super().__init__(rule)
        self._width = self.seconds / _BUCKETS
        self._buckets: deque[tuple[int, int, int]] = deque()  # number, faces without a mask, faces
        self._first: float | None = None

    @classmethod
    def check(cls, rule: AlertRule) -> str | None:
        """Refuse a rule without a threshold from 0 to 1, or without a window."""
        if not (rule.threshold is not None and 0 < rule.threshold <= 1):
            return "no_mask_fraction needs a threshold above 0 and up to 1"
        if cls.duration(rule) < _MIN_WINDOW:
            return f"no_mask_fraction needs a window: seconds of {_MIN_WINDOW} or more"
        return None

    @property
    def memory_s(self) -> float:
        """The length of the window."""
        return self.seconds

    def observe(self, now: float, faces: Sequence[Face]) -> Details | None:
        """Watch the faces of a frame."""
        without = sum(face.label in self.rule.labels and not face.unsure for face in faces)
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
        if now - self._first < self.seconds or fraction < (self.rule.threshold or 0.0) or not total:
            return None
        return {"fraction": round(fraction, 3), "faces": total, "window_s": self.seconds}


class PersonWithoutMask(Condition):
    """A person, identified by a track, has worn no mask for a given time."""

    name = "person_without_mask"
    default_seconds = 10.0
    uses_labels = True

    def __init__(self, rule: AlertRule) -> None:
        super().__init__(rule)
        self._people: dict[int, _Duration] = {}

    def observe(self, now: float, faces: Sequence[Face]) -> Details | None:
        """Watch the faces of a frame."""
        seen = {face.track: face for face in faces if face.track is not None and not face.unsure}
        bare = {track for track, face in seen.items() if face.label in self.rule.labels}
        # A person seen with a mask is removed. A person who is not seen or has no certain label may
        # still be without a mask.
        for track in (seen.keys() - bare) & self._people.keys():
            del self._people[track]
        for track in bare - self._people.keys():
            self._people[track] = _Duration()
        lasted = {track: duration.update(now, true=track in bare) for track, duration in self._people.items()}
        self._people = {track: duration for track, duration in self._people.items() if duration.since is not None}
        long = {track for track in self._people if lasted[track] >= self.seconds}
        if not long & bare:
            return UNDECIDED if long else None
        return {"tracks": sorted(long), "longest_s": round(max(lasted[track] for track in long), 1)}


class TooManyPeople(Condition):
    """More people are in view than allowed."""

    name = "too_many_people"
    uses_threshold = True

    def __init__(self, rule: AlertRule) -> None:
        super().__init__(rule)
        self._duration = _Duration()

    @classmethod
    def check(cls, rule: AlertRule) -> str | None:
        """Refuse a rule without a threshold."""
        if not (rule.threshold is not None and rule.threshold >= 0):
            return "too_many_people needs a threshold: the highest number of people that is allowed"
        return None

    def observe(self, now: float, faces: Sequence[Face]) -> Details | None:
        """Watch the faces of a frame."""
        too_many = len(faces) > (self.rule.threshold or 0.0)
        seconds = self._duration.update(now, true=too_many)
        if not too_many:
            return None if self._duration.since is None else UNDECIDED
        return {"people": len(faces)} if seconds >= self.seconds else None


class CameraLost(Condition):
    """The camera delivers no frames."""

    name = "camera_lost"
    watches_source = True

    def __init__(self, rule: AlertRule) -> None:
        super().__init__(rule)
        self._since: float | None = None

    @classmethod
    def check(cls, rule: AlertRule) -> str | None:
        """Refuse a rule with a zone."""
        return None if rule.zone is None else "camera_lost has no zone"

    @property
    def memory_s(self) -> float:
        """Infinite, because this condition is the absence of the camera."""
        return math.inf

    def observe_source(self, now: float, *, lost: bool) -> Details | None:
        """Watch the state of the camera."""
        self._since = (now if self._since is None else self._since) if lost else None
        return {} if self._since is not None and now - self._since >= self.seconds else None


CONDITIONS: list[type[Condition]] = [NoMaskFraction, PersonWithoutMask, TooManyPeople, CameraLost]
"""All conditions."""
