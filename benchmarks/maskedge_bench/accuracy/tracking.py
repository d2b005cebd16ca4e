"""What tracks save, what they lose, and whom they count: detection every so many frames beside detection in every frame.

Both see the same frames of a video, in turn, frame by frame. The one that detects in every frame does not track; its faces are
linked from frame to frame afterwards. A face is lost while it is found by detecting every frame and no tracked face overlaps it by
IoU >= 0.4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

from maskedge.boxes import box_iou
from maskedge.errors import SourceError
from maskedge.sources import open_source
from maskedge.system.host import host_facts
from maskedge.tracking.tracker import FaceTracker
from maskedge.types import Face, Frame
from maskedge.vision.detectors import load_detector
from maskedge.vision.pipeline import MaskDetector

from .frame_rates import OVERLAP, measure_rate

SCHEMA = "maskedge.tracking/1"


@dataclass
class _Loss:
    """How long one face was lost, in frames in which detecting every frame found it."""

    found: int = 0
    covered: int = 0
    before: int = 0
    running: int = 0
    longest: int = 0

    def add(self, covered: bool) -> None:
        self.found += 1
        if covered:
            self.covered += 1
            self.running = 0
        elif self.covered:
            self.running += 1
            self.longest = max(self.longest, self.running)
        else:
            self.before += 1


@dataclass
class _Person:
    """One track of the run that is measured."""

    first: int
    last: int = 0
    frames: int = 0
    labels: list[tuple[int, str]] = field(default_factory=list)

    def add(self, frame: int, face: Face) -> None:
        self.last = frame
        self.frames += 1
        if not self.labels or self.labels[-1][1] != face.label:
            self.labels.append((frame, face.label))


class _Comparison:
    """Follows both runs through one video."""

    def __init__(self) -> None:
        self._links = FaceTracker()
        self._losses: dict[int, _Loss] = {}
        self._people: dict[int, _Person] = {}
        self._confirmed: set[int] = set()

    def add(self, frame: Frame, found: Sequence[Face], tracked: Sequence[Face], tracker: FaceTracker) -> None:
        """Take the answers for one frame: of detecting every frame, and of tracking."""
        self._links.advance(frame.moment, frame.image)
        for face, track in zip(found, self._links.update([face.box for face in found], frame.image), strict=True):
            covered = any(box_iou(face.box, other.box) >= OVERLAP for other in tracked)
            self._losses.setdefault(track.identity, _Loss()).add(covered)
        for face in tracked:
            if face.track is not None:
                self._people.setdefault(face.track, _Person(frame.index)).add(frame.index, face)
        self._confirmed.update(track.identity for track in tracker.tracks if track.confirmed)

    def figures(self) -> dict[str, Any]:
        """Give the figures of the video."""
        losses = list(self._losses.values())
        found = sum(loss.found for loss in losses)
        people = [
            {
                "track": identity,
                "first": person.first,
                "last": person.last,
                "frames": person.frames,
                "labels": [{"from": frame, "label": label} for frame, label in person.labels],
                "label_changes": len(person.labels) - 1,
            }
            for identity, person in self._people.items()
            if identity in self._confirmed
        ]
        return {
            "faces_found_by_detecting": found,
            "covered": round(sum(loss.covered for loss in losses) / found, 4) if found else None,
            "longest_loss": max((loss.longest for loss in losses), default=0),
            "longest_wait": max((loss.before for loss in losses), default=0),
            "people": people,
        }


def measure_tracking(
    uris: Sequence[str],
    detector: str,
    detect_every: int,
    *,
    model: Path | None = None,
    rates: Sequence[float] = (),
    most: int | None = None,
    threads: int = 1,
    progress: Callable[[int | None], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure tracking on videos.

    Args:
        uris: The videos; `demo` is the built-in clip.
        detector: Name or file of the detector (`load_detector`).
        detect_every: Frames to a detection.
        model: Classifier file; None for the bundled one.
        rates: Frames a second at which the videos are also shown (`maskedge_bench.accuracy.frame_rates`).
        most: Frames to take of each video; None for all.
        threads: Threads of ONNX Runtime and OpenCV.
        progress: Called after each frame with the number of all frames of the video, where it is known.

    Returns:
        The report: for each video milliseconds a frame of both runs and their ratio, frames that a face was lost for, and the
        people counted with the labels that each had; and how well the labels follow at each of `rates`.

    Raises:
        SourceError: A video cannot be opened or gives no frame.
    """
    single = MaskDetector(model, load_detector(detector), threads=threads)
    tracking = MaskDetector(model, load_detector(detector), detect_every=detect_every, threads=threads)
    rows = [_measure(uri, single, tracking, rates, most, progress) for uri in uris]
    return {
        "schema": SCHEMA,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "detector": Path(detector).name,
        "detect_every": detect_every,
        "model": tracking.classifier.path.name,
        "threads": threads,
        "facts": host_facts(),
        "sources": rows,
    }


def _measure(
    uri: str,
    single: MaskDetector,
    tracking: MaskDetector,
    rates: Sequence[float],
    most: int | None,
    progress: Callable[[int | None], None],
) -> dict[str, Any]:
    source = open_source(uri)
    length = source.length if most is None or source.length is None else min(most, source.length)
    tracking.start_tracking()
    comparison = _Comparison()
    times: dict[int, list[float]] = {id(single): [], id(tracking): []}
    by_itself: list[list[Face]] = []
    detections = 0
    size = (0, 0)
    try:
        for number, frame in enumerate(islice(source.frames(), most)):
            answers: dict[int, list[Face]] = {}
            # In turn the first: who comes second finds the picture in the processor's cache.
            for detector in (single, tracking) if number % 2 else (tracking, single):
                answers[id(detector)] = detector(frame.image, frame.moment)
                times[id(detector)].append(sum(detector.clock.last.values()))
                detections += detector is tracking and "detect" in detector.clock.last
                detector.clock.next_frame()
            assert tracking.tracker is not None  # noqa: S101  (followed above)
            comparison.add(frame, answers[id(single)], answers[id(tracking)], tracking.tracker)
            by_itself.append(answers[id(single)])
            size = frame.size
            progress(length)
    finally:
        source.close()
    frames = len(times[id(tracking)])
    if not frames or tracking.tracker is None:
        raise SourceError(f"{uri} gave no frame: choose another --source.")
    every, own = mean(times[id(single)]), mean(times[id(tracking)])
    labels = tracking.classifier.labels
    row = {
        "source": Path(source.name).name,
        "size": list(size),
        "frames": frames,
        "detections": detections,
        "milliseconds_a_frame": {"detecting_every_frame": round(every, 3), "tracking": round(own, 3)},
        "cost_ratio": round(own / every, 4),
        **comparison.figures(),
        "people_by_label": {labels[index]: count for index, count in sorted(tracking.tracker.people.items())},
    }
    # Behind them, since they begin anew.
    return row | ({"rates": [measure_rate(uri, tracking, by_itself, rate, most) for rate in rates]} if rates else {})


def tracking_table(report: dict[str, Any]) -> str:
    """Give the report as a Markdown table."""
    lines = [
        "| video | frames | detections | ms a frame, detecting each | ms a frame, tracking | ratio | longest loss | people | "
        "label changes of each |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in report["sources"]:
        cost = row["milliseconds_a_frame"]
        changes = ", ".join(str(person["label_changes"]) for person in row["people"])
        cells = [
            f"`{row['source']}`",
            str(row["frames"]),
            str(row["detections"]),
            f"{cost['detecting_every_frame']:.2f}",
            f"{cost['tracking']:.2f}",
            f"{row['cost_ratio']:.2f}",
            _count(max(row["longest_loss"], row["longest_wait"]), "frame"),
            str(len(row["people"])),
            changes or "-",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    facts = report["facts"]
    lines += [
        "",
        f"Detector {report['detector']}, `--detect-every {report['detect_every']}`, {report['threads']} thread(s), both runs on "
        f"the same frames in turn; longest loss: frames in a row in which detecting each frame found a face and tracking had none, "
        f"the wait for the first detection included; {facts['machine']}, Python {facts['python']}, OpenCV {facts['opencv']}, "
        f"onnxruntime {facts['onnxruntime']}.",
    ]
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
