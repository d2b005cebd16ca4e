"""Keeps identities between frames, carries faces over frames without detection, and votes the label of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import exp, hypot

import numpy as np
import numpy.typing as npt

from maskedge.boxes import IOU, as_box, box_iou, contained, same_face
from maskedge.types import Box, Image

from .appearance import Descriptor, describe, similarity
from .elapsed import Elapsed
from .optical_flow import Motion

CONFIRM = 0.3
"""Seconds from the first to the latest detection of a face from which it counts as a person."""
CONFIRM_FOUND = 2
"""Detections in which it must have been found, however far apart they are."""
KEEP = 5.0
"""Seconds for which a lost person is waited for."""
KEEP_UNCONFIRMED = 0.5
"""Seconds for which it is waited for before it counts as a person: it is a false alarm more likely than a face."""
CARRY = 3.0
"""Seconds for which a face that the classifier still sees is carried, though no detection finds it: longer, and it may be none."""
MEMORY = 0.65
"""Seconds after which an answer weighs a third (1/e) in the vote. A new label needs half a second of answers: while hands pull a
mask over a face, a classifier says `incorrect_mask` for a shorter time."""
_LEAST_MEMORY = 0.48
"""Weight of all earlier answers beside a new one at least, however long ago they were: of two answers that contradict the standing
label the second makes another, and no single one does."""
ASK = 0.2
"""Seconds after which the classifier is asked again for a face about which nothing is doubtful."""
SWITCH = 0.1
"""How far another label must lead in the vote before it replaces the standing one: a label that flickers helps no one."""
_REACH = 0.7
"""How far from its expected place a face may be found, as a fraction of its side."""
_REACH_GROWTH = 1.25
"""What is added for each second for which its place was not seen."""
_REACH_MOST = 2.5
_ALIKE = 0.7
"""Likeness from which a face may be the one that was lost a while ago. In a clip of four people, who put masks on, 95 of 100 pairs
of one person are over 0.87, and half of the pairs of two people are under 0.51."""
_IN_PLACE = 0.3
"""Part of the smaller of two boxes within the other, from which one face stands in the place of another."""
_BESIDE = 0.3
"""Distance from the expected place, as a fraction of the side, from which a face must be alike too."""
_FRESH = 0.2
"""Seconds after which a loss is a while ago."""
_SLOWING = 0.8
"""Seconds after which a face that is not seen has a third (1/e) of its speed left."""
_STEADY = 0.11
"""Seconds after which an observed movement weighs a third (1/e) in the speed."""
_SEARCH = 0.4
"""Seconds for which it is worth to look for a person who was just lost."""
_ROUNDING = 1e-6
"""Sums of seconds are equal up to this."""


@dataclass(eq=False)
class Track:
    """One face over time.

    Attributes:
        identity: Number of the track, from 1.
        box: Where the face is, or is expected (x1, y1, x2, y2 in pixels).
        velocity: Movement of the centre in pixels a second, x and y.
        is_visible: False while the face is lost.
        hits: Detections in which the face was found.
        missed: Detections in a row in which it was not.
        origin: Its box and velocity as the detection that found it last left them.
        interval: Seconds from the frame before to this one.
        since_first: Seconds since the first of these detections.
        since_found: Seconds since the detection that found it last.
        since_live: Seconds since it was lost; 0 while it is not.
        unseen: Seconds since its place was seen, by a detection, by its movement or by the classifier.
        trusted: False when its movement in this frame could not be seen.
        descriptor: What the face looks like; None before it is known.
        confirmed: True when the track counts as a person.
        answers: Frames in which the classifier was asked.
        since_answer: Seconds since the last of them.
        against: Answers in a row that were not for the standing label.
        label_probabilities: Voted probability of each label, float64 `[C]`; None before the first answer.
        voted_label: Index of the label that counts.
        latest: Index of the label of the latest answer.
        latest_score: Its probability.
        confidence: Share of the latest answers that were sure and of the standing label, 0 to 1.
    """

    identity: int
    box: Box
    velocity: tuple[float, float] = (0.0, 0.0)
    is_visible: bool = True
    hits: int = 0
    missed: int = 0
    origin: tuple[Box, tuple[float, float]] | None = None
    interval: float = 0.0
    since_first: float = 0.0
    since_found: float = 0.0
    since_live: float = 0.0
    unseen: float = 0.0
    trusted: bool = True
    descriptor: Descriptor | None = None
    confirmed: bool = False
    answers: int = 0
    since_answer: float = 0.0
    against: int = 0
    label_probabilities: npt.NDArray[np.float64] | None = None
    voted_label: int = 0
    latest: int = 0
    latest_score: float = 0.0
    confidence: float = 0.0

    @property
    def is_stable(self) -> bool:
        """Tell whether nothing is to be learnt by asking the classifier again now."""
        # Of all frames the one nearest to the time at which it is due again.
        due = self.since_answer + self.interval / 2 >= ASK - _ROUNDING
        return self.confirmed and self.trusted and self.latest == self.voted_label and not due

    @property
    def score(self) -> float:
        """Voted probability of the standing label."""
        return float(self.label_probabilities[self.voted_label]) if self.label_probabilities is not None else 0.0

    @property
    def face_score(self) -> float:
        """Voted probability of being a face."""
        return float(self.label_probabilities.sum()) if self.label_probabilities is not None else 1.0

    def advance(self, seconds: float, shift: tuple[float, float] | None) -> None:
        """Go on to the next frame, `seconds` later: by `shift` in pixels where it was seen, else as fast as before, but slowing."""
        self.interval = seconds
        self.since_first += seconds
        self.since_found += seconds
        self.since_answer += seconds
        self.unseen = 0.0 if shift is not None else self.unseen + seconds
        if not self.is_visible:
            self.since_live += seconds
        if shift is None:
            shift = _way(self.velocity, seconds)
            if not self.is_visible:
                left = exp(-seconds / _SLOWING)
                self.velocity = left * self.velocity[0], left * self.velocity[1]
        elif seconds:
            old = exp(-seconds / _STEADY)
            self.velocity = (
                old * self.velocity[0] + (1 - old) * shift[0] / seconds,
                old * self.velocity[1] + (1 - old) * shift[1] / seconds,
            )
        self.box = _moved(self.box, shift)

    def found(self, box: Box, descriptor: Descriptor | None) -> None:
        """Take `box` as this frame's place of the face, as a detection found it."""
        # The box is expected where the face would be had it moved on as before: what is left is a change of speed.
        if self.hits and self.trusted and self.since_found:
            (x, y), (expected_x, expected_y), (vx, vy) = _centre(box), _centre(self.box), self.velocity
            part = max(0.3, 1 - 0.7 ** (self.since_found / ASK)) / self.since_found
            self.velocity = vx + part * (x - expected_x), vy + part * (y - expected_y)
        if descriptor is not None:
            # Slowly, for the light may change; the length stays 1 nearly.
            self.descriptor = descriptor if self.descriptor is None else 0.9 * self.descriptor + 0.1 * descriptor
        if not self.hits:
            self.since_first = 0.0
        self.box, self.is_visible, self.origin = box, True, (box, self.velocity)
        self.missed, self.since_found, self.since_live, self.unseen = 0, 0.0, 0.0, 0.0
        self.hits += 1

    def step_back(self) -> None:
        """Go to where the face is expected from the last detection alone: since then a face that passes before it was followed."""
        if self.origin is not None:
            box, self.velocity = self.origin
            self.box = _moved(box, _way(self.velocity, self.since_found))

    def correct(self, box: Box) -> None:
        """Move halfway to `box`, where the classifier sees the face: a hand that passes takes the optical flow along."""
        if box_iou(self.box, box) > IOU:
            self.box = as_box((np.array(self.box) + np.array(box)) / 2)
            self.unseen = 0.0

    def add_answer(self, probabilities: npt.NDArray[np.float32], unsure_below: float = 0.0, face_threshold: float = 0.9) -> None:
        """Add an answer of the classifier to the vote.

        Args:
            probabilities: float32 `[C]`; 0 for labels that do not vote.
            unsure_below: Probability under which an answer by itself is unsure.
            face_threshold: Voted probability of being a face from which the track may count as a person.
        """
        self.latest = int(probabilities.argmax())
        self.latest_score = float(probabilities[self.latest])
        self.answers += 1
        if self.label_probabilities is None:
            self.label_probabilities = probabilities.astype(np.float64)
            self.voted_label = self.latest
        agrees = self.latest == self.voted_label
        self.against = 0 if agrees else self.against + 1
        # A face that was not asked for because nothing was new answers for the time in between too. The first answers count
        # alike: the very first would outweigh all others for long.
        seconds = self.since_answer if agrees else min(self.since_answer, self.interval)
        memory = max(exp(-seconds / MEMORY), _LEAST_MEMORY)
        if seconds or self.answers == 1:
            memory = min(memory, 1 - 1 / self.answers)
        self.label_probabilities = memory * self.label_probabilities + (1 - memory) * probabilities
        best = int(self.label_probabilities.argmax())
        if self.label_probabilities[best] > self.label_probabilities[self.voted_label] + SWITCH and self.against != 1:
            self.voted_label, self.against = best, 0
        confidence = self.latest == self.voted_label and self.latest_score >= unsure_below
        self.confidence = memory * self.confidence + (1 - memory) * confidence
        self.since_answer = 0.0
        found_for = self.since_first - self.since_found
        if self.hits >= CONFIRM_FOUND and found_for >= CONFIRM - _ROUNDING and self.face_score >= face_threshold:
            self.confirmed = True


class FaceTracker:
    """Gives the faces of consecutive frames identities that last.

    In each frame: `advance`, which carries every face on by the optical flow of its place, then, where a detector has looked for
    faces, `update`, which matches what it found with what is expected there: greedily, best pair first, by place, size and look. A
    person who was lost gets the old identity back when found near the place of the loss, soon, and alike. Memory is bounded: people
    who are gone are a count by label.

    Args:
        reidentify: Compute what faces look like, to give a person who comes back the old identity. Without it no descriptor is
            computed: a face that was missed for a moment continues by its place alone, and later it is a new person.
    """

    def __init__(self, *, reidentify: bool = True) -> None:
        self._reidentify = reidentify
        self.tracks: list[Track] = []
        """Faces that are live, and those that are waited for."""
        self.interval = 0.0
        """Seconds from the frame before to this one."""
        self._search = 0.0
        self._elapsed = Elapsed()
        self._next = 1
        self._gone: Counter[int] = Counter()
        self._motion = Motion()

    @property
    def visible(self) -> list[Track]:
        """The faces that are in the picture."""
        return [track for track in self.tracks if track.is_visible]

    @property
    def redetect_soon(self) -> bool:
        """Tell whether it is worth to look for a person who was just lost."""
        return self._search > _ROUNDING

    @property
    def people(self) -> Counter[int]:
        """Distinct people so far, by the index of the label that counts, or counted last."""
        return self._gone + Counter(track.voted_label for track in self.tracks if track.confirmed)

    def forget(self) -> None:
        """Wait for nobody any longer, and keep nothing of them but the count: the source has given no frame for `KEEP` seconds."""
        self._gone += Counter(track.voted_label for track in self.tracks if track.confirmed)
        self.tracks = []
        self._search = 0.0
        self._motion = Motion()

    def advance(self, moment: float, image: Image | None = None) -> None:
        """Go on to the next frame.

        Args:
            moment: When it was taken, in seconds of any clock that goes on evenly.
            image: The frame, uint8 `[H, W, 3]` BGR, to see in it how the faces have moved; without it they move on as before.
        """
        self.interval = seconds = self._elapsed.step(moment)
        self._search = max(0.0, self._search - seconds)
        live = self.visible
        shifts = self._motion.shifts(image, [track.box for track in live]) if image is not None and live else []
        if image is not None and not live:
            self._motion.forget()
        for track in self.tracks:
            track.trusted = True
            if not track.is_visible or not shifts:
                track.advance(seconds, None)
        for track, shift in zip(live, shifts, strict=False):
            track.trusted = shift is not None
            track.advance(seconds, shift)
        if image is not None:
            height, width = image.shape[:2]
            for track in live:
                x, y = _centre(track.box)
                if not (0 <= x < width and 0 <= y < height):
                    self.lose(track)
        self._retire()

    def update(self, boxes: Sequence[Box], image: Image | None = None, seen: Collection[int] = ()) -> list[Track]:
        """Match the N boxes that a detector found in the frame. What is live and matches none is lost, but for `seen`.

        Args:
            boxes: The boxes, at most one a face.
            image: The frame, uint8 `[H, W, 3]` BGR, to tell faces by their look.
            seen: Identities of tracks that the classifier still sees at their expected place.

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
            if t not in taken:
                track.missed += 1
                if track.is_visible and (track.identity not in seen or track.since_found > CARRY + _ROUNDING):
                    if any(same_face(track.box, box) for box in boxes):
                        track.step_back()
                    self.lose(track)
        for b, box in enumerate(boxes):
            if b not in matched:
                matched[b] = Track(self._next, box, interval=self.interval, since_answer=self.interval)
                self._next += 1
                self.tracks.append(matched[b])
            matched[b].found(box, descriptors[b])
        for b, track in matched.items():
            if not track.confirmed:
                matched[b] = self._reunited(track)
        self._retire()
        if image is not None and boxes and self._motion.blind:
            self._motion.see(image)
        return [matched[b] for b in range(len(boxes))]

    def lose(self, track: Track) -> None:
        """The face of `track` is not where it was expected: wait for it."""
        track.is_visible = False
        if track.confirmed:
            self._search = _SEARCH

    def _may_continue(self, track: Track) -> bool:
        """Tell whether a face that is found may be that of `track`."""
        return self._reidentify or track.since_live <= _FRESH

    def _reunited(self, young: Track) -> Track:
        """Give a face that was just found, and counts as nobody yet, to a person who was lost, where it can be that person.

        In the place of a face that was there before it is half of that face, an ear or a hand more likely than another person: as
        long as it stays there it is not counted.
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
        """Forget who is not waited for any longer."""
        waited = []
        for track in self.tracks:
            if (
                track.since_live <= KEEP + _ROUNDING
                if track.confirmed
                else not track.missed or track.since_found <= KEEP_UNCONFIRMED + _ROUNDING
            ):
                waited.append(track)
            elif track.confirmed:
                self._gone[track.voted_label] += 1
        self.tracks = waited


def _way(velocity: tuple[float, float], seconds: float) -> tuple[float, float]:
    """How far something comes that slows down: the way has an end, however long the time."""
    part = _SLOWING * (1 - exp(-seconds / _SLOWING))
    return part * velocity[0], part * velocity[1]


def _moved(box: Box, shift: tuple[float, float]) -> Box:
    return box[0] + shift[0], box[1] + shift[1], box[2] + shift[0], box[3] + shift[1]


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _affinity(track: Track, box: Box, descriptor: Descriptor | None) -> float:
    """How well `box` continues `track`: above 0 when it may, the greater the better."""
    size, expected_size = box[2] - box[0], track.box[2] - track.box[0]
    if min(size, expected_size) <= 0 or max(size, expected_size) > 2 * min(size, expected_size):
        return 0.0
    unseen = max(track.since_live, track.unseen) if track.confirmed else min(track.unseen, track.interval)
    reach = min(_REACH + _REACH_GROWTH * unseen, _REACH_MOST)
    (x, y), (expected_x, expected_y) = _centre(box), _centre(track.box)
    distance = hypot(x - expected_x, y - expected_y) / max(size, expected_size)
    if distance >= reach:
        return 0.0
    alike = similarity(track.descriptor, descriptor)
    if (track.since_live > _FRESH + _ROUNDING or distance > _BESIDE) and alike < _ALIKE:
        return 0.0
    # Who was lost longer ago comes after who is there.
    return (1 - distance / (reach + 0.3)) * min(size, expected_size) / max(size, expected_size) * alike
