"""`FaceTracker`: identities of faces from frame to frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from copy import copy
from math import hypot

import numpy as np

from maskedge.boxes import contained, same_face
from maskedge.types import Box, Image

from .appearance import Descriptor, describe, similarity
from .elapsed import Elapsed
from .optical_flow import Movement, SmallPicture, movements, shrink
from .track import ROUNDING, Track, centre

KEEP = 5.0
"""Seconds for which the track of a lost person is kept."""
KEEP_UNCONFIRMED = 0.5
"""Seconds for which an unconfirmed track is kept. It is more likely a false alarm than a face."""
UNVERIFIED = 10.0
"""Seconds without a classification after which a face is lost. The detection is far too slow, or
hangs."""
CARRY = 3.0
"""Seconds for which the classifier alone keeps a face that no detection finds."""
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
_SEARCH = 0.4
"""Seconds after a loss in which an early detection is wanted."""


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
        return self._search > ROUNDING

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

    def drop(self, identities: Collection[int]) -> None:
        """Drop some tracks, and count their people."""
        self._gone += Counter(track.voted_label for track in self.tracks if track.identity in identities and track.confirmed)
        self.tracks = [track for track in self.tracks if track.identity not in identities]

    def resize(self, across: float, down: float) -> None:
        """Scale all places, because the frames have another size from now on."""
        for track in self.tracks:
            x1, y1, x2, y2 = track.box
            track.box = x1 * across, y1 * down, x2 * across, y2 * down
            track.velocity = track.velocity[0] * across, track.velocity[1] * down
            track.origin = None
        self._last = None

    def advance(self, moment: float, picture: Image | SmallPicture | None = None) -> list[int]:
        """Advance to the next frame.

        Args:
            moment: Time at which the frame was taken, in seconds of a steady clock.
            picture: The frame, uint8 `[H, W, 3]` BGR, or its small picture, for optical flow. None:
                the faces move on at their last speed.

        Returns:
            Identities of the tracks that are dropped, because they were lost for too long.
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
                x, y = centre(track.box)
                if not (0 <= x < width and 0 <= y < height):
                    self.lose(track)
        for track in visible:
            if track.since_classified > UNVERIFIED:
                self.lose(track)
        return self._retire()

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
                outdated = track.since_found > CARRY + ROUNDING
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

    def _retire(self) -> list[int]:
        """Drop tracks that were lost for too long, and count their people. Return them."""
        kept, dropped = [], []
        for track in self.tracks:
            if (
                track.since_visible <= KEEP + ROUNDING
                if track.confirmed
                else not track.missed or track.since_found <= KEEP_UNCONFIRMED + ROUNDING
            ):
                kept.append(track)
            else:
                dropped.append(track.identity)
                self._gone[track.voted_label] += track.confirmed
        self.tracks = kept
        return dropped


def _affinity(track: Track, box: Box, descriptor: Descriptor | None) -> float:
    """Return a score of `box` as the next place of `track`: 0 if impossible, greater if better."""
    size, expected_size = box[2] - box[0], track.box[2] - track.box[0]
    if min(size, expected_size) <= 0 or max(size, expected_size) > 2 * min(size, expected_size):
        return 0.0
    lost_for = max(track.since_visible, track.unobserved)
    unobserved = lost_for if track.confirmed else min(track.unobserved, track.interval)
    reach = min(_REACH + _REACH_GROWTH * unobserved, _REACH_MAX)
    (x, y), (expected_x, expected_y) = centre(box), centre(track.box)
    distance = hypot(x - expected_x, y - expected_y) / max(size, expected_size)
    if distance >= reach:
        return 0.0
    similar = similarity(track.descriptor, descriptor)
    uncertain = track.since_visible > _FRESH + ROUNDING or distance > _BESIDE
    if uncertain and similar < _SIMILAR:
        return 0.0
    # The margin damps the advantage of lost tracks, whose reach is larger.
    nearness = 1 - distance / (reach + 0.3)
    return nearness * min(size, expected_size) / max(size, expected_size) * similar
