"""Keeps identities between frames and votes the label of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from maskedge.types import Box

CONFIRM = 5
"""Detections in which a face must have been found before it counts as a person."""
KEEP = 30
"""Frames for which a lost person is waited for."""
KEEP_UNCONFIRMED = 2
"""Detections for which it is waited for before it counts as a person: it is a false alarm more likely than a face."""
MEMORY = 0.8
"""Weight of the earlier frames in the vote."""
SWITCH = 0.1
"""How far another label must lead in the vote before it replaces the standing one: a label that flickers helps no one."""


@dataclass
class Track:
    """One face over time.

    Attributes:
        identity: Number of the track, from 1.
        box: Last box (x1, y1, x2, y2 in pixels).
        seen: Box at which the face was found last.
        velocity: Movement of the centre in pixels a frame, float64 `[2]`.
        hits: Detections in which the face was found.
        missed: Detections in a row in which it was not.
        elapsed: Frames since it was found last.
        vote: Voted probability of each label, float64 `[C]`; None before the first answer.
        standing: Index of the label that counts.
    """

    identity: int
    box: Box
    seen: Box
    velocity: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    hits: int = 0
    missed: int = 0
    elapsed: int = 0
    vote: npt.NDArray[np.float64] | None = None
    standing: int = 0

    @property
    def confirmed(self) -> bool:
        """Tell whether the track counts as a person."""
        return self.hits >= CONFIRM

    def advance(self) -> None:
        """Go on to the next frame: move the box to where the face is expected, had it moved on as before."""
        self.elapsed += 1
        dx, dy = (float(value) for value in self.velocity * self.elapsed)
        x1, y1, x2, y2 = self.seen
        self.box = x1 + dx, y1 + dy, x2 + dx, y2 + dy

    def found(self, box: Box) -> None:
        """Take `box` as this frame's place of the face."""
        if self.hits:
            moved = (_centre(box) - _centre(self.seen)) / self.elapsed
            self.velocity = 0.7 * self.velocity + 0.3 * moved
        self.box = self.seen = box
        self.missed = self.elapsed = 0
        self.hits += 1

    def add_vote(self, probabilities: npt.NDArray[np.float32]) -> tuple[int, float]:
        """Add this frame's answer, float32 `[C]`; give the index of the label that counts, and its voted probability."""
        if self.vote is None:
            self.vote = probabilities.astype(np.float64)
            self.standing = int(self.vote.argmax())
        else:
            self.vote = MEMORY * self.vote + (1 - MEMORY) * probabilities
            best = int(self.vote.argmax())
            if self.vote[best] > self.vote[self.standing] + SWITCH:
                self.standing = best
        return self.standing, float(self.vote[self.standing])


class FaceTracker:
    """Gives the faces of consecutive frames identities that last.

    Greedy matching, best pair first, of found boxes with the boxes that constant velocity predicts.
    """

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self._next = 1
        self.people: dict[int, Track] = {}
        """Every track that was ever confirmed, by identity."""

    def update(self, boxes: Sequence[Box]) -> list[Track]:
        """Match the N boxes that a detector found in a new frame.

        Returns:
            The track of each box, in the order of `boxes`.
        """
        for track in self._tracks:
            track.advance()
        pairs = sorted(
            (
                (score, t, b)
                for t, expected in enumerate(track.box for track in self._tracks)
                for b, box in enumerate(boxes)
                if (score := _affinity(expected, box)) > 0
            ),
            reverse=True,
        )
        matched: dict[int, Track] = {}
        taken: set[int] = set()
        for _, t, b in pairs:
            if t not in taken and b not in matched:
                taken.add(t)
                matched[b] = self._tracks[t]
        for t, track in enumerate(self._tracks):
            if t not in taken:
                track.missed += 1
        for b, box in enumerate(boxes):
            if b not in matched:
                matched[b] = Track(self._next, box, box)
                self._next += 1
                self._tracks.append(matched[b])
            matched[b].found(box)
            if matched[b].confirmed:
                self.people[matched[b].identity] = matched[b]
        self._tracks = [
            track for track in self._tracks if (track.elapsed <= KEEP if track.confirmed else track.missed <= KEEP_UNCONFIRMED)
        ]
        return [matched[b] for b in range(len(boxes))]

    def coast(self) -> list[Track]:
        """Pass over a frame without detection.

        Returns:
            The tracks that the last detection found, each with its box where it is expected now.
        """
        for track in self._tracks:
            track.advance()
        return [track for track in self._tracks if track.missed == 0]


def box_iou(one: Box, other: Box) -> float:
    """Overlap of two boxes: area of the intersection by area of the union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - both)


def _centre(box: Box) -> npt.NDArray[np.float64]:
    return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])


def _affinity(expected: Box, box: Box) -> float:
    """How well `box` continues a track expected at `expected`: above 0 when it may, the greater the better."""
    size, expected_size = box[2] - box[0], expected[2] - expected[0]
    if min(size, expected_size) <= 0 or max(size, expected_size) > 2 * min(size, expected_size):
        return 0.0
    distance = float(np.linalg.norm(_centre(box) - _centre(expected))) / max(size, expected_size)
    return max(0.0, 1 - distance) * min(size, expected_size) / max(size, expected_size) if distance < 0.7 else 0.0
