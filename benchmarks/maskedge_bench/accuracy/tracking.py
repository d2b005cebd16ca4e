"""Cost, losses and people counts of tracking, compared with detection in every frame.

Both pipelines process the same frames of a video, interleaved. The pipeline that detects in every
frame does not track; its faces are linked afterwards. A face is lost while detection in every frame
finds it and no tracked face overlaps it (IoU >= 0.4).
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
from maskedge_bench.conditions import unique_names
from maskedge_bench.speed.composed_frames import open_recorded

from .detection_counts import OVERLAP
from .frame_rates import measure_rate

SCHEMA = "maskedge.tracking/1"


@dataclass
class _Loss:
    """Number of frames in which one face was found, was covered by a track, and was lost."""

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
    """One track of the tracking pipeline."""

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
    """Comparison of both pipelines on one video."""

    def __init__(self) -> None:
        self._links = FaceTracker()
        self._losses: dict[int, _Loss] = {}
        self._people: dict[int, _Person] = {}
        self._confirmed: set[int] = set()

    def add(self, frame: Frame, found: Sequence[Face], tracked: Sequence[Face], tracker: FaceTracker) -> None:
        """Compare the faces of one frame.

        Args:
            frame: The frame.
            found: Faces by detection in every frame.
            tracked: Faces of the tracking pipeline.
            tracker: Its tracker.
        """
        self._links.advance(frame.moment, frame.image)
        for face, track in zip(found, self._links.update([face.box for face in found], frame.image), strict=True):
            covered = any(box_iou(face.box, other.box) >= OVERLAP for other in tracked)
            self._losses.setdefault(track.identity, _Loss()).add(covered)
        for face in tracked:
            if face.track is not None:
                self._people.setdefault(face.track, _Person(frame.index)).add(frame.index, face)
        self._confirmed.update(track.identity for track in tracker.tracks if track.confirmed)

    def figures(self) -> dict[str, Any]:
        """Return the figures of the video."""
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
        detect_every: Frames per detection.
        model: Classifier file; None for the bundled one.
        rates: Further frame rates to measure (`maskedge_bench.accuracy.frame_rates`).
        most: Maximum number of frames to read of each video; None for all.
        threads: Threads of ONNX Runtime and OpenCV.
        progress: Called after each frame with the number of frames of the video, if known.

    Returns:
        The report. For each video: milliseconds per frame of both pipelines and their ratio, the
        longest loss of a face, the people counted with their labels, and the contradictions at each
        of `rates`.

    Raises:
        SourceError: A video cannot be opened, is live, is no video or has no frame.
        UsageError: A video is given twice.
    """
    names = _check_videos(uris)
    single = MaskDetector(model, load_detector(detector), threads=threads)
    tracking = MaskDetector(model, load_detector(detector), detect_every=detect_every, threads=threads)
    rows = [
        {"source": name, **_measure(uri, single, tracking, rates, most, progress)} for name, uri in zip(names, uris, strict=True)
    ]
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


def _check_videos(uris: Sequence[str]) -> list[str]:
    """Return a name for each video, and check them all before the first one is measured."""
    paths = []
    for uri in uris:
        source = open_recorded(uri)
        source.close()
        if not source.video:
            raise SourceError(f"{source.name} is no video, and faces cannot be tracked in single pictures: give a video file.")
        paths.append(Path(source.name))
    return unique_names("video", paths)


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
            found: dict[int, list[Face]] = {}
            # Alternate the order, because the second pipeline has the picture in the processor's
            # cache.
            for detector in (single, tracking) if number % 2 else (tracking, single):
                found[id(detector)] = detector(frame.image, frame.moment)
                times[id(detector)].append(sum(detector.clock.last.values()))
                detections += detector is tracking and "detect" in detector.clock.last
                detector.clock.next_frame()
            assert tracking.tracker is not None  # noqa: S101  (start_tracking above)
            comparison.add(frame, found[id(single)], found[id(tracking)], tracking.tracker)
            by_itself.append(found[id(single)])
            size = frame.size
            progress(length)
    finally:
        source.close()
    frames = len(times[id(tracking)])
    if not frames or tracking.tracker is None:
        raise SourceError(f"{uri} has no frame: choose another --source.")
    every, own = mean(times[id(single)]), mean(times[id(tracking)])
    labels = tracking.classifier.labels
    row = {
        "size": list(size),
        "frames": frames,
        "detections": detections,
        "milliseconds_a_frame": {"detecting_every_frame": round(every, 3), "tracking": round(own, 3)},
        "cost_ratio": round(own / every, 4),
        **comparison.figures(),
        "people_by_label": {labels[index]: count for index, count in sorted(tracking.tracker.people.items())},
    }
    # This comes last, because these runs restart the tracker.
    return row | ({"rates": [measure_rate(uri, tracking, by_itself, rate, most) for rate in rates]} if rates else {})
