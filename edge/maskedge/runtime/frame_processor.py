"""The first part of the loop. It computes the result of a frame."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from maskedge.counts import count_labels
from maskedge.events import FACE_APPEARED, Event
from maskedge.privacy import hidden_boxes
from maskedge.rendering.draw import Overlay
from maskedge.results import FrameResult
from maskedge.sources import Source
from maskedge.tracking.transitions import ChangeWatcher
from maskedge.types import Face, Frame
from maskedge.vision.pipeline import MaskDetector

from .context import RunContext
from .state import RunState
from .summary import Summary

_STATUS_INTERVAL = 0.25
"""Seconds for which the status line of the picture is kept."""


class FrameProcessor:
    """Detects faces in frames, and counts them in the state and the summary of the run.

    Args:
        source: The source of the frames.
        detector: The detector. Its clock measures every stage.
        context: Zones, lines and anonymisation. A reload may change them.
        state: The state of the run.

    Attributes:
        summary: Counts of the run so far.
    """

    def __init__(self, source: Source, detector: MaskDetector, context: RunContext, state: RunState) -> None:
        self.summary = Summary(source.name, source.video)
        self._source = source
        self._detector = detector
        self._context = context
        self._state = state
        self._changes = ChangeWatcher()
        self._status = ""
        self._status_due = 0.0

    def process(self, frame: Frame) -> FrameResult:
        """Return the result of a frame.

        The result contains positions and identities. `EventPublisher` removes them if the user
        requests that.
        """
        zones, lines, detector = self._context.zones, self._context.lines, self._detector
        found = detector(frame.image, frame.moment)
        film_s = frame.moment if self._source.video and not self._source.live else None
        faces = zones.keep(found, frame.size)
        tracks = detector.tracker.tracks if detector.tracker is not None else []
        events = [replace(event, film_s=film_s) for event in self._changes.observe(frame, faces, tracks)]
        crossings = [replace(event, film_s=film_s) for event in lines.observe(frame, faces, tracks)]
        if crossings:
            self._state.set_lines(lines.counts)
        stages = detector.clock.close_frame(frame.arrival)
        self.summary.add(faces)
        people = self.people() if tracks or events else None
        in_zones = zones.counts(faces, frame.size)
        self._state.add_frame(faces, stages, frame.size, people=people, zones=in_zones)
        return FrameResult(
            frame,
            faces,
            stages,
            self._status_line(stages),
            [*events, *crossings],
            hidden_boxes(found, tracks) if self._context.anonymize else None,
            Overlay(zones.outlines(frame.size), lines.drawn(frame.size)),
            film_s=film_s,
            zones=in_zones,
            people=self._new_people(faces, events, frame.size),
        )

    def people(self) -> Counter[str]:
        """Return the number of distinct people so far, by label."""
        people = Counter(dict.fromkeys(self._detector.labels, 0))
        people.update(self._changes.people)
        return people

    def _new_people(self, faces: Sequence[Face], events: Sequence[Event], size: tuple[int, int]) -> dict[str, dict[str, int]]:
        """Return the number of people who appeared, by zone and label."""
        tracks = {event.details["track"] for event in events if event.kind == FACE_APPEARED}
        if not tracks:
            return {}
        new = [face for face in faces if face.track in tracks]
        return {"": dict(count_labels(new)), **self._context.zones.counts(new, size)}

    def _status_line(self, stages: dict[str, float]) -> str:
        now = time.monotonic()
        if self._source.video and now >= self._status_due:
            self._status_due = now + _STATUS_INTERVAL
            dropped = f"  {self._source.dropped} dropped" if self._source.dropped else ""
            self._status = f"{self._state.rate():.0f} frames/s  {stages['total']:.0f} ms{dropped}"
        return self._status
