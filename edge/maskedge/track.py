"""Keeps identities between frames, carries faces over frames without detection, and votes the label of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import hypot

import numpy as np
import numpy.typing as npt

from maskedge.appearance import Look, likeness, look_of
from maskedge.motion import Motion
from maskedge.overlap import IOU, as_box, box_iou, contained
from maskedge.types import Box, Image

CONFIRM = 5
"""Frames in which a face must have been answered for before it counts as a person."""
CONFIRM_FOUND = 3
"""Detections in which it must have been found."""
KEEP = 125
"""Frames for which a lost person is waited for, five seconds of a video of 25 frames/s."""
KEEP_UNCONFIRMED = 2
"""Detections for which it is waited for before it counts as a person: it is a false alarm more likely than a face."""
CARRY = 75
"""Frames for which a face that the classifier still sees is carried, though no detection finds it: longer, and it may be none."""
MEMORY = 0.94
"""Weight of the earlier answers in the vote: a new label needs 13 answers in a row, half a second. While hands pull a mask over a
face, a classifier says `incorrect_mask` for a shorter time."""
SWITCH = 0.1
"""How far another label must lead in the vote before it replaces the standing one: a label that flickers helps no one."""
_REACH = 0.7
"""How far from its expected place a face may be found, as a fraction of its side."""
_REACH_GROWTH = 0.05
"""What is added for each frame since it was lost."""
_REACH_MOST = 2.5
_ALIKE = 0.7
"""Likeness from which a face may be the one that was lost a while ago. In a clip of four people, who put masks on, 95 of 100 pairs
of one person are over 0.87, and half of the pairs of two people are under 0.51."""
_IN_PLACE = 0.3
"""Part of the smaller of two boxes within the other, from which one face stands in the place of another."""
_BESIDE = 0.3
"""Distance from the expected place, as a fraction of the side, from which a face must be alike too."""
_FRESH = 5
"""Frames after which a loss is a while ago."""
_SLOWING = 0.95
"""What is left of the speed of a lost face after a frame."""


@dataclass(eq=False)
class Track:
    """One face over time.

    Attributes:
        identity: Number of the track, from 1.
        box: Where the face is, or is expected (x1, y1, x2, y2 in pixels).
        velocity: Movement of the centre in pixels a frame, x and y.
        live: False while the face is lost.
        hits: Detections in which the face was found.
        missed: Detections in a row in which it was not.
        since_found: Frames since the detection that found it last.
        since_live: Frames since it was lost; 0 while it is not.
        trusted: False when its movement in this frame could not be seen.
        look: What the face looks like; None before it is known.
        confirmed: True when the track counts as a person.
        answers: Frames in which the classifier was asked.
        since_answer: Frames since the last of them.
        vote: Voted probability of each label, float64 `[C]`; None before the first answer.
        standing: Index of the label that counts.
        latest: Index of the label of the latest answer.
        latest_score: Its probability.
        sure: Share of the latest answers that were sure and of the standing label, 0 to 1.
    """

    identity: int
    box: Box
    velocity: tuple[float, float] = (0.0, 0.0)
    live: bool = True
    hits: int = 0
    missed: int = 0
    since_found: int = 0
    since_live: int = 0
    trusted: bool = True
    look: Look | None = None
    confirmed: bool = False
    answers: int = 0
    since_answer: int = 0
    vote: npt.NDArray[np.float64] | None = None
    standing: int = 0
    latest: int = 0
    latest_score: float = 0.0
    sure: float = 0.0

    @property
    def settled(self) -> bool:
        """Tell whether nothing is to be learnt by asking the classifier again now."""
        return self.confirmed and self.trusted and self.latest == self.standing

    @property
    def score(self) -> float:
        """Voted probability of the standing label."""
        return float(self.vote[self.standing]) if self.vote is not None else 0.0

    @property
    def face_score(self) -> float:
        """Voted probability of being a face."""
        return float(self.vote.sum()) if self.vote is not None else 1.0

    def advance(self, shift: tuple[float, float] | None) -> None:
        """Go on to the next frame: by `shift` in pixels where it was seen, else as fast as before."""
        self.since_found += 1
        self.since_answer += 1
        if shift is not None:
            self.velocity = 0.7 * self.velocity[0] + 0.3 * shift[0], 0.7 * self.velocity[1] + 0.3 * shift[1]
        elif not self.live:
            self.since_live += 1
            self.velocity = _SLOWING * self.velocity[0], _SLOWING * self.velocity[1]
        dx, dy = self.velocity if shift is None else shift
        x1, y1, x2, y2 = self.box
        self.box = x1 + dx, y1 + dy, x2 + dx, y2 + dy

    def found(self, box: Box, look: Look | None) -> None:
        """Take `box` as this frame's place of the face, as a detection found it."""
        # The box is expected where the face would be had it moved on as before: what is left is a change of speed.
        if self.hits and self.trusted and self.since_found:
            (x, y), (expected_x, expected_y), (vx, vy) = _centre(box), _centre(self.box), self.velocity
            part = 0.3 / self.since_found
            self.velocity = vx + part * (x - expected_x), vy + part * (y - expected_y)
        if look is not None:
            # Slowly, for the light may change; the length stays 1 nearly.
            self.look = look if self.look is None else 0.9 * self.look + 0.1 * look
        self.box, self.live = box, True
        self.missed = self.since_found = self.since_live = 0
        self.hits += 1

    def correct(self, box: Box) -> None:
        """Move halfway to `box`, where the classifier sees the face: a hand that passes takes the optical flow along."""
        if box_iou(self.box, box) > IOU:
            self.box = as_box((np.array(self.box) + np.array(box)) / 2)

    def add_answer(self, probabilities: npt.NDArray[np.float32], unsure_below: float = 0.0, least_face: float = 0.9) -> None:
        """Add an answer of the classifier to the vote.

        Args:
            probabilities: float32 `[C]`; 0 for labels that do not vote.
            unsure_below: Probability under which an answer by itself is unsure.
            least_face: Voted probability of being a face from which the track may count as a person.
        """
        self.latest = int(probabilities.argmax())
        self.latest_score = float(probabilities[self.latest])
        self.answers += 1
        if self.vote is None:
            self.vote = probabilities.astype(np.float64)
            self.standing = self.latest
        # A face that was not asked for because nothing was new answers for the frames in between too. The first answers count
        # alike: the very first would outweigh all others for long.
        frames = max(1, self.since_answer) if self.latest == self.standing else 1
        memory = min(MEMORY**frames, 1 - 1 / self.answers)
        self.vote = memory * self.vote + (1 - memory) * probabilities
        best = int(self.vote.argmax())
        if self.vote[best] > self.vote[self.standing] + SWITCH:
            self.standing = best
        sure = self.latest == self.standing and self.latest_score >= unsure_below
        self.sure = memory * self.sure + (1 - memory) * sure
        self.since_answer = 0
        if self.hits >= CONFIRM_FOUND and self.answers >= CONFIRM and self.face_score >= least_face:
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
        self.restless = 0
        """Frames for which it is worth to look for a person who was just lost."""
        self._next = 1
        self._gone: Counter[int] = Counter()
        self._motion = Motion()

    @property
    def live(self) -> list[Track]:
        """The faces that are in the picture."""
        return [track for track in self.tracks if track.live]

    @property
    def people(self) -> Counter[int]:
        """Distinct people so far, by the index of the label that counts, or counted last."""
        return self._gone + Counter(track.standing for track in self.tracks if track.confirmed)

    def advance(self, image: Image | None = None) -> None:
        """Go on to the next frame.

        Args:
            image: The frame, uint8 `[H, W, 3]` BGR, to see in it how the faces have moved; without it they move on as before.
        """
        self.restless = max(0, self.restless - 1)
        live = self.live
        shifts = self._motion.shifts(image, [track.box for track in live]) if image is not None and live else []
        if image is not None and not live:
            self._motion.forget()
        for track in self.tracks:
            track.trusted = True
            if not track.live or not shifts:
                track.advance(None)
        for track, shift in zip(live, shifts, strict=False):
            track.trusted = shift is not None
            track.advance(shift)
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
        looks = [look_of(image, box) if image is not None and self._reidentify else None for box in boxes]
        pairs = sorted(
            (
                (score, t, b)
                for t, track in enumerate(self.tracks)
                if self._may_continue(track)
                for b, box in enumerate(boxes)
                if (score := _affinity(track, box, looks[b])) > 0
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
                if track.live and (track.identity not in seen or track.since_found > CARRY):
                    self.lose(track)
        for b, box in enumerate(boxes):
            if b not in matched:
                matched[b] = Track(self._next, box)
                self._next += 1
                self.tracks.append(matched[b])
            matched[b].found(box, looks[b])
        for b, track in matched.items():
            if not track.confirmed:
                matched[b] = self._reunited(track)
        self._retire()
        if image is not None and boxes and self._motion.blind:
            self._motion.see(image)
        return [matched[b] for b in range(len(boxes))]

    def lose(self, track: Track) -> None:
        """The face of `track` is not where it was expected: wait for it."""
        track.live = False
        if track.confirmed:
            self.restless = 10

    def _may_continue(self, track: Track) -> bool:
        """Tell whether a face that is found may be that of `track`."""
        return self._reidentify or track.since_live <= _FRESH

    def _reunited(self, young: Track) -> Track:
        """Give a face that was just found, and counts as nobody yet, to a person who was lost, where it can be that person.

        In the place of a face that was there before it is half of that face, an ear or a hand more likely than another person: as
        long as it stays there it is not counted.
        """
        before = [track for track in self.tracks if track.identity < young.identity]
        if any(track.live and contained(young.box, track.box) > _IN_PLACE for track in before):
            young.hits = 0
            return young
        waiting = [track for track in before if track.confirmed and not track.live and self._may_continue(track)]
        lost = [(_affinity(track, young.box, young.look), track) for track in waiting]
        score, person = max(lost, key=lambda pair: pair[0], default=(0.0, young))
        if score <= 0:
            return young
        person.found(young.box, young.look)
        self.tracks.remove(young)
        return person

    def _retire(self) -> None:
        """Forget who is not waited for any longer."""
        waited = []
        for track in self.tracks:
            if track.since_live <= KEEP if track.confirmed else track.missed <= KEEP_UNCONFIRMED:
                waited.append(track)
            elif track.confirmed:
                self._gone[track.standing] += 1
        self.tracks = waited


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _affinity(track: Track, box: Box, look: Look | None) -> float:
    """How well `box` continues `track`: above 0 when it may, the greater the better."""
    size, expected_size = box[2] - box[0], track.box[2] - track.box[0]
    if min(size, expected_size) <= 0 or max(size, expected_size) > 2 * min(size, expected_size):
        return 0.0
    reach = min(_REACH + _REACH_GROWTH * track.since_live, _REACH_MOST) if track.confirmed else _REACH
    (x, y), (expected_x, expected_y) = _centre(box), _centre(track.box)
    distance = hypot(x - expected_x, y - expected_y) / max(size, expected_size)
    if distance >= reach:
        return 0.0
    alike = likeness(track.look, look)
    if (track.since_live > _FRESH or distance > _BESIDE) and alike < _ALIKE:
        return 0.0
    # Who was lost longer ago comes after who is there.
    return (1 - distance / (reach + 0.3)) * min(size, expected_size) / max(size, expected_size) * alike
