"""Label stability at several frame rates.

The tracking pipeline processes a video at several rates: a lower rate drops frames, a higher rate
repeats them. The published label of each face is compared with the label of a pipeline without
tracking, in frames where that label is confident.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from maskedge.boxes import box_iou
from maskedge.sources import open_source
from maskedge.types import Face, Frame
from maskedge.vision.pipeline import MaskDetector

from .detection_counts import CONFIDENT, OVERLAP

_ROUNDING = 1e-6


def resampled(frames: Iterable[Frame], rate: float) -> Iterator[Frame]:
    """Yield the frames of a video at another frame rate.

    Each instant gets the newest frame, with a new `moment`.

    Args:
        frames: The frames. Their `moment` starts at 0 and increases.
        rate: Frames per second.
    """
    count, newest = 0, None
    for frame in frames:
        while newest is not None and count / rate < frame.moment - _ROUNDING:
            yield replace(newest, moment=count / rate)
            count += 1
        newest = frame
    if newest is not None and count / rate <= newest.moment + _ROUNDING:
        yield replace(newest, moment=count / rate)


@dataclass
class Contradictions:
    """Counts of published labels that a confident single-frame label contradicts.

    Attributes:
        compared: Published faces with a confident single-frame label.
        contradicted: Compared faces whose single-frame label differs.
        longest: Seconds of the longest contradiction. It ends when a single-frame label agrees with
            the published one or the published label changes.
    """

    compared: int = 0
    contradicted: int = 0
    longest: float = 0.0
    _open: dict[int | None, tuple[str, float]] = field(default_factory=dict)

    def add(self, moment: float, published: Sequence[Face], single: Sequence[Face]) -> None:
        """Compare the faces of one frame.

        Args:
            moment: Time of the frame in seconds.
            published: Faces of the tracking pipeline.
            single: Faces of the pipeline without tracking.
        """
        for face in published:
            label, since = self._open.get(face.track, (face.label, moment))
            self.longest = max(self.longest, moment - since)
            if label != face.label:
                del self._open[face.track]
            near = max(single, key=lambda other: box_iou(other.box, face.box), default=None)
            if near is None or near.unsure or near.score < CONFIDENT or box_iou(near.box, face.box) < OVERLAP:
                continue
            self.compared += 1
            if near.label != face.label:
                self.contradicted += 1
                self._open.setdefault(face.track, (face.label, moment))
            else:
                self._open.pop(face.track, None)


def measure_rate(
    uri: str, tracking: MaskDetector, single: Sequence[Sequence[Face]], rate: float, most: int | None
) -> dict[str, Any]:
    """Process a video at a frame rate and count contradictions.

    Args:
        uri: The video.
        tracking: The tracking pipeline. It forgets the faces of earlier calls.
        single: Faces of each frame from a pipeline without tracking.
        rate: Frames per second.
        most: Maximum number of frames to read; None for all.

    Returns:
        Rate, frames, detections, compared faces, share contradicted, longest contradiction in
        seconds, number of people, and label changes of each person.
    """
    tracking.start_tracking()
    counts = Contradictions()
    labels: dict[int, list[str]] = {}
    persons: set[int] = set()
    frames = detections = 0
    source = open_source(uri)
    try:
        for frame in resampled(islice(source.frames(), most), rate):
            published = tracking(frame.image, frame.moment)
            frames += 1
            detections += "detect" in tracking.clock.last
            tracking.clock.next_frame()
            counts.add(frame.moment, published, single[frame.index])
            persons |= {track.identity for track in tracking.tracker.tracks if track.confirmed} if tracking.tracker else set()
            for face in published:
                own = labels.setdefault(face.track or 0, [])
                if own[-1:] != [face.label]:
                    own.append(face.label)
    finally:
        source.close()
    return {
        "rate": rate,
        "frames": frames,
        "detections": detections,
        "compared": counts.compared,
        "contradicted": round(counts.contradicted / counts.compared, 4) if counts.compared else None,
        "longest_contradiction_s": round(counts.longest, 2),
        "people": tracking.tracker.people.total() if tracking.tracker else 0,
        "label_changes": [len(own) - 1 for track, own in labels.items() if track in persons],
    }
