"""Whether what is shown follows what is seen, whatever the rate of the frames.

A video is shown to the tracking detector at several rates: at a lower one frames are left out, at a higher one they are shown
again. The label that is shown for a face is compared with the answer of a detector that takes each frame by itself, where that one
is sure.
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

OVERLAP = 0.4
"""Overlap from which two boxes are taken for the same face."""
SURE = 0.9
"""Probability from which an answer for a single frame is taken for the truth."""
_ROUNDING = 1e-6


def resampled(frames: Iterable[Frame], rate: float) -> Iterator[Frame]:
    """Show a video at another rate: at each time the newest frame until then, with that time as its `moment`.

    Args:
        frames: The frames; their `moment` begins at 0 and grows.
        rate: Frames a second.
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
    """Counts the shown labels that a sure answer for the single frame contradicts.

    Attributes:
        compared: Shown faces for which there was a sure answer.
        contradicted: Those of them with another label.
        longest: Seconds of the longest contradiction: from the first answer that contradicts a label to the next that agrees with
            what is shown, or until another label is shown.
    """

    compared: int = 0
    contradicted: int = 0
    longest: float = 0.0
    _open: dict[int | None, tuple[str, float]] = field(default_factory=dict)

    def add(self, moment: float, shown: Sequence[Face], single: Sequence[Face]) -> None:
        """Take the faces that are shown at a time, and those that were found in the frame by itself."""
        for face in shown:
            label, since = self._open.get(face.track, (face.label, moment))
            self.longest = max(self.longest, moment - since)
            if label != face.label:
                del self._open[face.track]
            near = max(single, key=lambda other: box_iou(other.box, face.box), default=None)
            if near is None or near.unsure or near.score < SURE or box_iou(near.box, face.box) < OVERLAP:
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
    """Show a video at a rate.

    Args:
        uri: The video.
        tracking: Follows the faces; those of earlier calls are forgotten.
        single: The faces of each of its frames by itself.
        rate: Frames a second.
        most: Frames to take of the video; None for all.

    Returns:
        The rate, frames, detections, compared faces, the share that was contradicted, the longest contradiction in seconds, people,
        and how often the label of each changed.
    """
    tracking.start_tracking()
    counts = Contradictions()
    labels: dict[int, list[str]] = {}
    persons: set[int] = set()
    frames = detections = 0
    source = open_source(uri)
    try:
        for frame in resampled(islice(source.frames(), most), rate):
            shown = tracking(frame.image, frame.moment)
            frames += 1
            detections += "detect" in tracking.clock.last
            tracking.clock.next_frame()
            counts.add(frame.moment, shown, single[frame.index])
            persons |= {track.identity for track in tracking.tracker.tracks if track.confirmed} if tracking.tracker else set()
            for face in shown:
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


def rates_table(reports: Sequence[dict[str, Any]]) -> str:
    """Give the rates of tracking reports as a Markdown table."""
    lines = [
        "| video | detector | frames/s | detections a second | contradicted | longest contradiction | people | label changes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for report in reports:
        for source in report["sources"]:
            for row in source.get("rates", ()):
                share = "-" if row["contradicted"] is None else f"{row['contradicted']:.1%} of {row['compared']}"
                cells = [
                    f"`{source['source']}`",
                    report["detector"],
                    f"{row['rate']:g}",
                    f"{row['detections'] / row['frames'] * row['rate']:.1f}",
                    share,
                    f"{row['longest_contradiction_s']:.2f} s",
                    str(row["people"]),
                    ", ".join(map(str, row["label_changes"])) or "-",
                ]
                lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"Contradicted: share of the shown faces whose label differs from the answer for that frame by itself, where that one is "
        f"sure (probability {SURE:g} and more); longest contradiction: until one agrees, or another label is shown. At lower rates "
        f"frames are left out, at higher ones shown again. `--detect-every {reports[0]['detect_every']}`.",
    ]
    return "\n".join(lines)
