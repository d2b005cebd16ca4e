"""`FaceTracker`: identities of faces from frame to frame, and the vote on each face's label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import dataclass
from math import copysign, exp, hypot, log

import numpy as np
import numpy.typing as npt

from maskedge.boxes import IOU, as_box, box_iou, contained, same_face
from maskedge.types import Box, Image

from .appearance import Descriptor, describe, similarity
from .elapsed import Elapsed
from .optical_flow import Movement, SmallPicture, movements, shrink

CONFIRM = 0.3
"""Minimum number of seconds from the first to the latest detection of a face that counts as a
person."""
CONFIRM_FOUND = 2
"""Minimum number of detections of a face that counts as a person."""
KEEP = 5.0
"""Seconds for which the track of a lost person is kept."""
KEEP_UNCONFIRMED = 0.5
"""Seconds for which an unconfirmed track is kept. It is more likely a false alarm than a face."""
CARRY = 3.0
"""Seconds for which the classifier alone keeps a face that no detection finds."""
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
_REACH = 0.7
"""Maximum distance of a matching face from the expected place, as a fraction of the side."""
_REACH_GROWTH = 1.25
"""Growth of `_REACH` per second in which the place was not observed."""
_REACH_MAX = 2.5
"""Upper bound of `_REACH` after its growth."""
_SIMILAR = 0.7
"""Minimum similarity of a face to a person who was lost a while ago. In a clip of four people who
put masks on, 95 of 100 pairs of one person are over 0.87, and half of the pairs of two people are
under 0.51."""
_IN_PLACE = 0.3
"""Fraction of the smaller box inside the other from which two faces are in the same place."""
_BESIDE = 0.3
"""Distance from the expected place, as a fraction of the side, from which the descriptors of a face
must also be similar."""
_FRESH = 0.2
"""Seconds up to which a loss is recent. Position alone then identifies the face."""
_SLOWING = 0.8
"""Time constant in seconds with which an unobserved face slows down."""
_STEADY = 0.11
"""Time constant in seconds of the speed, an exponential mean of observed movements."""
_STEADY_SIZE = 0.08
"""Relative change of size per second that is ignored. The measurement is not more exact than that."""
_SEARCH = 0.4
"""Seconds after a loss in which an early detection is wanted."""
_ROUNDING = 1e-6
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
        due = self.since_classified + self.interval / 2 >= RECLASSIFY - _ROUNDING
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
            self.growth = old * self.growth + (1 - old) * log(movement.growth) / seconds
            growth = exp(copysign(max(0.0, abs(self.growth) - _STEADY_SIZE), self.growth) * seconds)
        self.box = _moved(self.box, shift, growth)

    def found(self, box: Box, descriptor: Descriptor | None) -> None:
        """Set the place of the face to `box`, the result of a detection."""
        # The distance from the expected place is a change of speed.
        if self.hits and self.trusted and self.since_found:
            (x, y), (expected_x, expected_y), (vx, vy) = _centre(box), _centre(self.box), self.velocity
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
        lasting = self.hits >= CONFIRM_FOUND and found_for >= CONFIRM - _ROUNDING
        if lasting and self.face_score >= face_threshold:
            self.confirmed = True


class FaceTracker:
    """Assigns identities to the faces of consecutive frames.

    Call `advance` in each frame: it moves every track by optical flow. Call `update` after each
    detection: it matches detections with tracks greedily, best pair first, by position, size and
    descriptor. A lost person gets the old identity back if found soon, near the place of the loss
    and with a similar descriptor. Memory is bounded: only a count by label remains of people who
    left.

    Args:
        reidentify: Compute descriptors, for the re-identification of people who come back. False:
            a face that was missed for a moment continues by its position alone. A face that comes
            back later is a new person.
    """

    def __init__(self, *, reidentify: bool = True) -> None:
        self._reidentify = reidentify
        self.tracks: list[Track] = []
        """Visible faces, and lost ones that may come back."""
        self.interval = 0.0
        """Seconds from the previous frame to this one."""
        self._search = 0.0
        self._elapsed = Elapsed()
        self._next = 1
        self._gone: Counter[int] = Counter()
        self._last: SmallPicture | None = None

    @property
    def visible(self) -> list[Track]:
        """The tracks of the faces in the picture."""
        return [track for track in self.tracks if track.is_visible]

    @property
    def redetect_soon(self) -> bool:
        """True if an early detection is wanted: a person was just lost."""
        return self._search > _ROUNDING

    @property
    def people(self) -> Counter[int]:
        """Distinct people so far, by the index of their current or last label."""
        return self._gone + Counter(track.voted_label for track in self.tracks if track.confirmed)

    def forget(self) -> None:
        """Drop all tracks except the count of people, after `KEEP` seconds without a frame."""
        self._gone += Counter(track.voted_label for track in self.tracks if track.confirmed)
        self.tracks = []
        self._search = 0.0
        self._last = None

    def snapshot(self) -> FaceTracker:
        """Return a copy of this tracker in its present state, for `restore`."""
        saved = copy(self)
        saved.tracks = [copy(track) for track in self.tracks]
        saved._elapsed, saved._gone = copy(self._elapsed), self._gone.copy()
        return saved

    def restore(self, saved: FaceTracker) -> None:
        """Return to the state of a snapshot. The snapshot may be used once."""
        self.__dict__.update(saved.__dict__)

    def advance(self, moment: float, picture: Image | SmallPicture | None = None, *, keep_lost: bool = False) -> None:
        """Advance to the next frame.

        Args:
            moment: Time at which the frame was taken, in seconds of a steady clock.
            picture: The frame, uint8 `[H, W, 3]` BGR, or its small picture, for optical flow. None:
                the faces move on at their last speed.
            keep_lost: Do not drop tracks that were lost for too long. A snapshot that will be
                restored may find them again.
        """
        small = shrink(picture) if isinstance(picture, np.ndarray) else picture
        self.interval = seconds = self._elapsed.step(moment)
        self._search = max(0.0, self._search - seconds)
        visible, last, self._last = self.visible, self._last, small
        observed: list[Movement | None] = []
        if visible and small is not None:
            boxes = [track.box for track in visible]
            observed = [None] * len(boxes) if last is None else movements(last, small, boxes)
        for track in self.tracks:
            track.trusted = True
            if not track.is_visible or not observed:
                track.advance(seconds, None)
        for track, movement in zip(visible, observed, strict=False):
            track.trusted = movement is not None
            track.advance(seconds, movement)
        if small is not None:
            width, height = small.size
            for track in visible:
                x, y = _centre(track.box)
                if not (0 <= x < width and 0 <= y < height):
                    self.lose(track)
        if not keep_lost:
            self._retire()

    def update(
        self,
        boxes: Sequence[Box],
        image: Image | None = None,
        verified: Collection[int] = (),
        unseen: Collection[int] = (),
    ) -> list[Track]:
        """Match the N detections of a frame with the tracks.

        Visible tracks without a match are lost, except the tracks in `verified` and `unseen`.

        Args:
            boxes: N boxes, at most one per face.
            image: The frame, uint8 `[H, W, 3]` BGR, for descriptors.
            verified: Identities of tracks that the classifier has confirmed at their expected
                place.
            unseen: Identities of tracks in parts of the picture that the detector did not search.

        Returns:
            The track of each box, in the order of `boxes`.
        """
        descriptors = [describe(image, box) if image is not None and self._reidentify else None for box in boxes]
        pairs = sorted(
            (
                (score, t, b)
                for t, track in enumerate(self.tracks)
                if self._may_continue(track)
                for b, box in enumerate(boxes)
                if (score := _affinity(track, box, descriptors[b])) > 0
            ),
            reverse=True,
        )
        matched: dict[int, Track] = {}
        taken: set[int] = set()
        for _, t, b in pairs:
            if t not in taken and b not in matched:
                taken.add(t)
                matched[b] = self.tracks[t]
        for t, track in enumerate(self.tracks):
            if t not in taken and track.identity not in unseen:
                track.missed += 1
                outdated = track.since_found > CARRY + _ROUNDING
                if track.is_visible and (track.identity not in verified or outdated):
                    if any(same_face(track.box, box) for box in boxes):
                        track.step_back()
                    self.lose(track)
        for b, box in enumerate(boxes):
            if b not in matched:
                matched[b] = Track(self._next, box, interval=self.interval, since_classified=self.interval)
                self._next += 1
                self.tracks.append(matched[b])
            matched[b].found(box, descriptors[b])
        for b, track in matched.items():
            if not track.confirmed:
                matched[b] = self._reidentified(track)
        self._retire()
        return [matched[b] for b in range(len(boxes))]

    def lose(self, track: Track) -> None:
        """Mark the face of `track` as lost: it is not at its expected place."""
        track.is_visible = False
        if track.confirmed:
            self._search = _SEARCH

    def _may_continue(self, track: Track) -> bool:
        """Return True if a detection may continue `track`."""
        return self._reidentify or track.since_visible <= _FRESH

    def _reidentified(self, young: Track) -> Track:
        """Merge an unconfirmed track into the track of a lost person, if it may be that person.

        At the place of an older visible face, a new track is more likely a part of that face, an
        ear or a hand than another person. The new track is not counted as long as it stays there.
        """
        before = [track for track in self.tracks if track.identity < young.identity]
        if any(track.is_visible and contained(young.box, track.box) > _IN_PLACE for track in before):
            young.hits = 0
            return young
        waiting = [track for track in before if track.confirmed and not track.is_visible and self._may_continue(track)]
        lost = [(_affinity(track, young.box, young.descriptor), track) for track in waiting]
        score, person = max(lost, key=lambda pair: pair[0], default=(0.0, young))
        if score <= 0:
            return young
        person.found(young.box, young.descriptor)
        self.tracks.remove(young)
        return person

    def _retire(self) -> None:
        """Drop tracks that were lost for too long, and count their people."""
        kept = []
        for track in self.tracks:
            if (
                track.since_visible <= KEEP + _ROUNDING
                if track.confirmed
                else not track.missed or track.since_found <= KEEP_UNCONFIRMED + _ROUNDING
            ):
                kept.append(track)
            elif track.confirmed:
                self._gone[track.voted_label] += 1
        self.tracks = kept


def _slowing_distance(velocity: tuple[float, float], seconds: float) -> tuple[float, float]:
    """Return the distance that a face covers while it slows down exponentially."""
    part = _SLOWING * (1 - exp(-seconds / _SLOWING))
    return part * velocity[0], part * velocity[1]


def _moved(box: Box, shift: tuple[float, float], growth: float = 1.0) -> Box:
    x, y = (growth - 1) * (box[2] - box[0]) / 2, (growth - 1) * (box[3] - box[1]) / 2
    return box[0] + shift[0] - x, box[1] + shift[1] - y, box[2] + shift[0] + x, box[3] + shift[1] + y


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _affinity(track: Track, box: Box, descriptor: Descriptor | None) -> float:
    """Return a score of `box` as the next place of `track`: 0 if impossible, greater if better."""
    size, expected_size = box[2] - box[0], track.box[2] - track.box[0]
    if min(size, expected_size) <= 0 or max(size, expected_size) > 2 * min(size, expected_size):
        return 0.0
    lost_for = max(track.since_visible, track.unobserved)
    unobserved = lost_for if track.confirmed else min(track.unobserved, track.interval)
    reach = min(_REACH + _REACH_GROWTH * unobserved, _REACH_MAX)
    (x, y), (expected_x, expected_y) = _centre(box), _centre(track.box)
    distance = hypot(x - expected_x, y - expected_y) / max(size, expected_size)
    if distance >= reach:
        return 0.0
    similar = similarity(track.descriptor, descriptor)
    uncertain = track.since_visible > _FRESH + _ROUNDING or distance > _BESIDE
    if uncertain and similar < _SIMILAR:
        return 0.0
    # The margin damps the advantage of lost tracks, whose reach is larger.
    nearness = 1 - distance / (reach + 0.3)
    return nearness * min(size, expected_size) / max(size, expected_size) * similar
