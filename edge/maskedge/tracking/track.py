"""`Track`: one face over time, and the vote on its label."""

from __future__ import annotations

from dataclasses import dataclass
from math import copysign, exp, log

import numpy as np
import numpy.typing as npt

from maskedge.boxes import IOU, as_box, box_iou
from maskedge.types import Box

from .appearance import Descriptor
from .optical_flow import Movement

CONFIRM = 0.3
"""Minimum number of seconds from the first to the latest detection of a face that counts as a
person."""
CONFIRM_FOUND = 2
"""Minimum number of detections of a face that counts as a person."""
MEMORY = 0.65
"""Time constant of the vote in seconds: a classification of this age has a weight of 1/e. A new
label needs half a second of classifications. While hands pull a mask over a face, a classifier
returns `incorrect_mask` for a shorter time."""
_LEAST_MEMORY = 0.48
"""Minimum total weight of all earlier classifications, at any age, when a new one is added. A
single contradiction never changes the voted label; the second does."""
RECLASSIFY = 0.2
"""Seconds after which a stable face is classified again."""
SWITCH = 0.1
"""Lead in the vote from which another label replaces the voted one. It prevents flickering labels.
"""
_SLOWING = 0.8
"""Time constant in seconds with which an unobserved face slows down."""
_STEADY = 0.11
"""Time constant in seconds of the speed, an exponential mean of observed movements."""
_FASTEST_SIZE = 1.0
"""Maximum relative change of size per second of a person who walks up. A face that is hidden step by
step seems to shrink faster."""
_STEADY_SIZE = 0.08
"""Relative change of size per second that is ignored. The measurement is not more exact than that."""
ROUNDING = 1e-6
"""Tolerance in seconds for sums of durations."""


@dataclass(eq=False)
class Track:
    """One face over time.

    Attributes:
        identity: Number of the track, from 1.
        box: Place or expected place of the face (x1, y1, x2, y2 in pixels).
        velocity: Movement of the centre in pixels per second, x and y.
        growth: Relative change of the size per second, smoothed.
        is_visible: False while the face is lost.
        hits: Detections that found the face.
        missed: Consecutive detections that did not find it.
        origin: Box and velocity at the last detection that found it.
        interval: Seconds from the previous frame to this one.
        since_first: Seconds since the first detection that found it.
        since_found: Seconds since the last detection that found it.
        since_visible: Seconds since it was lost; 0 while it is visible.
        unobserved: Seconds since its place was observed: by a detection, by optical flow or by the
            classifier.
        trusted: False if optical flow failed in this frame.
        descriptor: Descriptor of the face; None before it is known.
        confirmed: True if the track counts as a person.
        classified: Frames in which the face was classified.
        since_classified: Seconds since the latest classification.
        against: Consecutive classifications that were not for the voted label.
        label_probabilities: Voted probability of each label, float64 `[C]`; None before the first
            classification.
        voted_label: Index of the label that counts.
        latest: Index of the label of the latest classification.
        latest_score: Probability of the label `latest`.
        confidence: Weighted share of the latest classifications that were for the voted label and
            not unsure, 0 to 1.
    """

    identity: int
    box: Box
    velocity: tuple[float, float] = (0.0, 0.0)
    growth: float = 0.0
    is_visible: bool = True
    hits: int = 0
    missed: int = 0
    origin: tuple[Box, tuple[float, float]] | None = None
    interval: float = 0.0
    since_first: float = 0.0
    since_found: float = 0.0
    since_visible: float = 0.0
    unobserved: float = 0.0
    trusted: bool = True
    descriptor: Descriptor | None = None
    confirmed: bool = False
    classified: int = 0
    since_classified: float = 0.0
    against: int = 0
    label_probabilities: npt.NDArray[np.float64] | None = None
    voted_label: int = 0
    latest: int = 0
    latest_score: float = 0.0
    confidence: float = 0.0

    @property
    def is_stable(self) -> bool:
        """True if the face need not be classified in this frame."""
        # Due in the frame that is nearest to `RECLASSIFY` seconds after the last classification.
        due = self.since_classified + self.interval / 2 >= RECLASSIFY - ROUNDING
        return self.confirmed and self.trusted and self.latest == self.voted_label and not due

    @property
    def score(self) -> float:
        """Voted probability of the voted label."""
        if self.label_probabilities is None:
            return 0.0
        return float(self.label_probabilities[self.voted_label])

    @property
    def face_score(self) -> float:
        """Voted probability of being a face."""
        return float(self.label_probabilities.sum()) if self.label_probabilities is not None else 1.0

    def advance(self, seconds: float, movement: Movement | None) -> None:
        """Advance to the next frame.

        Args:
            seconds: Seconds since the previous frame.
            movement: Observed movement. None: the face moves on at its last speed and slows down.
        """
        self.interval = seconds
        self.since_first += seconds
        self.since_found += seconds
        self.since_classified += seconds
        self.unobserved = 0.0 if movement is not None else self.unobserved + seconds
        if not self.is_visible:
            self.since_visible += seconds
        shift = _slowing_distance(self.velocity, seconds) if movement is None else movement.shift
        growth = 1.0
        if movement is None:
            self.growth = 0.0
            if not self.is_visible:
                left = exp(-seconds / _SLOWING)
                self.velocity = left * self.velocity[0], left * self.velocity[1]
        elif seconds:
            old = exp(-seconds / _STEADY)
            self.velocity = (
                old * self.velocity[0] + (1 - old) * shift[0] / seconds,
                old * self.velocity[1] + (1 - old) * shift[1] / seconds,
            )
            rate = log(movement.growth) / seconds
            self.growth = old * self.growth + (1 - old) * (rate if abs(rate) <= _FASTEST_SIZE else 0.0)
            growth = exp(copysign(max(0.0, abs(self.growth) - _STEADY_SIZE), self.growth) * seconds)
        self.box = _moved(self.box, shift, growth)

    def found(self, box: Box, descriptor: Descriptor | None) -> None:
        """Set the place of the face to `box`, the result of a detection."""
        # The distance from the expected place is a change of speed.
        if self.hits and self.trusted and self.since_found:
            (x, y), (expected_x, expected_y), (vx, vy) = centre(box), centre(self.box), self.velocity
            part = max(0.3, 1 - 0.7 ** (self.since_found / RECLASSIFY)) / self.since_found
            self.velocity = vx + part * (x - expected_x), vy + part * (y - expected_y)
        if descriptor is not None:
            # A slow mean, since the light may change; its norm stays close to 1.
            known = self.descriptor
            self.descriptor = descriptor if known is None else 0.9 * known + 0.1 * descriptor
        if not self.hits:
            self.since_first = 0.0
        self.box, self.is_visible, self.origin = box, True, (box, self.velocity)
        self.missed, self.since_found, self.since_visible, self.unobserved = 0, 0.0, 0.0, 0.0
        self.hits += 1

    def step_back(self) -> None:
        """Move to the place expected from the last detection alone.

        Since that detection, optical flow has tracked another face that passed in front of this
        one.
        """
        if self.origin is not None:
            box, self.velocity = self.origin
            self.box = _moved(box, _slowing_distance(self.velocity, self.since_found))

    def correct(self, box: Box) -> None:
        """Move halfway to `box`, where the classifier locates the face.

        This corrects optical flow that has followed a passing hand.
        """
        if box_iou(self.box, box) > IOU:
            self.box = as_box((np.array(self.box) + np.array(box)) / 2)
            self.unobserved = 0.0

    def add_vote(
        self,
        probabilities: npt.NDArray[np.float32],
        unsure_below: float = 0.0,
        face_threshold: float = 0.9,
    ) -> None:
        """Add a classification to the vote.

        Args:
            probabilities: float32 `[C]`; 0 for labels that do not vote.
            unsure_below: Probability below which a single classification is unsure.
            face_threshold: Voted probability of a face from which the track may count as a person.
        """
        self.latest = int(probabilities.argmax())
        self.latest_score = float(probabilities[self.latest])
        self.classified += 1
        if self.label_probabilities is None:
            self.label_probabilities = probabilities.astype(np.float64)
            self.voted_label = self.latest
        agrees = self.latest == self.voted_label
        self.against = 0 if agrees else self.against + 1
        # A classification that confirms the label also counts for the stable frames before it. The
        # first classifications have equal weights. Otherwise the very first one would dominate for
        # a long time.
        seconds = self.since_classified if agrees else min(self.since_classified, self.interval)
        memory = max(exp(-seconds / MEMORY), _LEAST_MEMORY)
        if seconds or self.classified == 1:
            memory = min(memory, 1 - 1 / self.classified)
        self.label_probabilities = memory * self.label_probabilities + (1 - memory) * probabilities
        best = int(self.label_probabilities.argmax())
        voted = self.label_probabilities[self.voted_label]
        if self.label_probabilities[best] > voted + SWITCH and self.against != 1:
            self.voted_label, self.against = best, 0
        confidence = self.latest == self.voted_label and self.latest_score >= unsure_below
        self.confidence = memory * self.confidence + (1 - memory) * confidence
        self.since_classified = 0.0
        found_for = self.since_first - self.since_found
        lasting = self.hits >= CONFIRM_FOUND and found_for >= CONFIRM - ROUNDING
        if lasting and self.face_score >= face_threshold:
            self.confirmed = True


def _slowing_distance(velocity: tuple[float, float], seconds: float) -> tuple[float, float]:
    """Return the distance that a face covers while it slows down exponentially."""
    part = _SLOWING * (1 - exp(-seconds / _SLOWING))
    return part * velocity[0], part * velocity[1]


def _moved(box: Box, shift: tuple[float, float], growth: float = 1.0) -> Box:
    x, y = (growth - 1) * (box[2] - box[0]) / 2, (growth - 1) * (box[3] - box[1]) / 2
    return box[0] + shift[0] - x, box[1] + shift[1] - y, box[2] + shift[0] + x, box[3] + shift[1] + y


def centre(box: Box) -> tuple[float, float]:
    """Return the centre of a box, x and y in pixels."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
