"""Faces of a video: tracks that follow every frame, and detections that correct them.

With a `DetectionWorker`, no frame waits for a detection. The result belongs to an earlier frame, so
the tracks return to their state at that frame, take up the result, and follow the frames since then
once more.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maskedge.boxes import IOU, box_iou, same_face
from maskedge.tracking.motion_gate import MotionGate, SearchPlan, is_inside
from maskedge.tracking.optical_flow import SmallPicture, shrink
from maskedge.tracking.track import Track
from maskedge.tracking.tracker import UNVERIFIED, FaceTracker
from maskedge.types import Box, Face, Image

from .analysis import Analysis, AnalysisRequest
from .schedule import DetectionSchedule
from .scoring import suppress_rows

if TYPE_CHECKING:
    from .pipeline import MaskDetector
    from .worker import WorkerClient

_COUNTED = 0.99
"""Minimum voted face probability to count a track as a person. A false alarm can persist, but its
probability varies."""
_WHOLE_AFTER = 1.0
"""Seconds after which a detection searches the whole picture again, whatever has changed."""
_FAR = 0.2
"""Seconds between two frames from which a frame waits for its result. The next frame is far, and
its picture is another."""
_LONGEST_WAIT = 1.0
"""Maximum seconds of that wait."""
_MOST_CUT = 0.3
"""Fraction of a face below the picture from which its mouth is outside: a label is a guess then. A mask
covers about the lower half of a face."""
_MOST_STEPS = 8
"""Maximum number of frames that are followed once more after a late result. If there are more,
every second one is left out."""


@dataclass(frozen=True, eq=False)
class _Job:
    """The analysis of a frame.

    Attributes:
        request: What is analysed.
        plan: The parts that the detection searches; None without a detection.
    """

    request: AnalysisRequest
    plan: SearchPlan | None


@dataclass(eq=False)
class _Pending:
    """A job that is not complete.

    Attributes:
        job: The job.
        saved: The tracker at that frame.
        moment: Time stamp of the frame.
        started: Time of the frame, in seconds of `time.perf_counter`.
        since: Time stamp and small picture of the frames since then.
    """

    job: _Job
    saved: FaceTracker
    moment: float
    started: float
    since: list[tuple[float, SmallPicture]] = field(default_factory=list)


class VideoDetector:
    """Tracks, detects and classifies the faces of one video.

    Args:
        detector: Networks, thresholds and labels. Several videos may share it.
        reidentify: See `MaskDetector`.

    Attributes:
        tracker: The tracks.
        motion_gate: True to search only the parts of the picture that have changed, if the detector
            can search a part.
    """

    def __init__(self, detector: MaskDetector, *, reidentify: bool = True) -> None:
        self.tracker = FaceTracker(reidentify=reidentify)
        self.motion_gate = True
        self._detector = detector
        self._client: WorkerClient | None = None
        self._gate = MotionGate()
        self._schedule = DetectionSchedule()
        self._since_whole = 0.0
        self._due = False
        self._size: tuple[int, int] | None = None
        self._pending: _Pending | None = None

    def set_client(self, client: WorkerClient | None) -> None:
        """Detect on the thread of `client`.

        None: each call waits for its detection, so the results do not depend on the speed of the
        machine.
        """
        self._drop_pending()
        self._client = client

    def __call__(self, image: Image, moment: float) -> list[Face]:
        """Return the faces of the next frame.

        Args:
            image: uint8 `[H, W, 3]`, BGR.
            moment: Time at which the frame was taken, in seconds of a steady clock.

        Raises:
            ModelError: A network fails, or the detection thread died twice.
        """
        clock, started = self._detector.clock, time.perf_counter()
        with clock("track"):
            small = shrink(image)
            if self._client is not None:
                self._take_up(moment, small.size)
            if self._size is not None and self._size != small.size:
                self.tracker.resize(small.size[0] / self._size[0], small.size[1] / self._size[1])
                self._due = True
            self._size = small.size
            dropped = self.tracker.advance(moment, small)
            if self._pending is not None:
                # The state to which the tracks will return must not bring anyone back.
                self._pending.saved.drop(dropped)
                self._remember(moment, small)
        self._since_whole += self.tracker.interval
        every = self._detector.detect_every
        self._due |= self._schedule.next_frame(self.tracker.interval, every, redetect_soon=self.tracker.redetect_soon)
        if self._client is None or self._client.accepts:
            job = self._next_job(image, small)
            if job is not None and self._client is None:
                self._analyze(job)
            elif job is not None and self._client is not None:
                self._submit(self._client, job, moment, started)
        return self._faces()

    def wait(self, seconds: float) -> bool:
        """Wait until the frame in progress is analysed. Return False if it is not after `seconds`."""
        return self._client is None or self._client.wait(seconds)

    def forget(self) -> None:
        """Drop all tracks except the count of people, and the result of the frame in progress."""
        self._drop_pending()
        self._due = True
        self._gate = MotionGate()
        self.tracker.forget()

    def recover(self) -> list[Face]:
        """Detect anew after a network failed and was replaced. Return the faces of the tracks."""
        self._drop_pending()
        self._due = True
        if self._client is not None:
            self._client.recover()
        return self._faces()

    def _drop_pending(self) -> None:
        if self._client is not None:
            self._client.cancel()
        self._due |= self._pending is not None
        self._pending = None

    def _next_job(self, image: Image, small: SmallPicture) -> _Job | None:
        """Return what to analyse in this frame, if anything."""
        visible = self.tracker.visible
        if self._pending is not None and self._pending.job.plan is not None:
            # A detection still waits for its turn. This frame takes its place.
            self._due = True
        if not self._due:
            unstable = [(track.identity, track.box) for track in visible if not track.is_stable]
            return _Job(AnalysisRequest(image, detect=False, places=unstable), None) if unstable else None
        self._due = False
        plan = SearchPlan(None, small)
        if self.motion_gate and self._detector.analyzer.searches_parts:
            # A track that does not count yet needs further detections, and a lost person may be
            # where nothing has changed: only the track was lost.
            always = [track.box for track in self.tracker.tracks if not (track.confirmed and track.is_visible)]
            plan = self._gate.plan(small, always, [track.box for track in visible])
            if self._since_whole >= _WHOLE_AFTER:
                plan = SearchPlan(None, small)
            if not plan.regions and plan.regions is not None and not visible:
                self._gate.mark_searched(plan)
                return None
        places = [(track.identity, track.box) for track in visible] if self._detector.rejects_non_faces else []
        return _Job(AnalysisRequest(image, regions=plan.regions, places=places), plan)

    def _analyze(self, job: _Job) -> None:
        try:
            analysis = self._detector.analyzer.analyze(job.request, self._detector.clock)
        except BaseException:
            self._due |= job.plan is not None
            raise
        self._apply(job, analysis)

    def _submit(self, client: WorkerClient, job: _Job, moment: float, started: float) -> None:
        """Submit a job to the thread. At a low frame rate, wait for it: the next frame is far."""
        # The caller may draw into its picture as soon as it has the faces.
        job = replace(job, request=replace(job.request, image=job.request.image.copy()))
        pending = _Pending(job, self.tracker.snapshot(), moment, started)
        if not client.submit(job.request):
            self._due |= job.plan is not None
            return
        self._pending = pending
        if self.tracker.interval >= _FAR and client.wait(min(self.tracker.interval / 2, _LONGEST_WAIT)):
            with self._detector.clock("track"):
                self._take_up(moment, (job.request.image.shape[1], job.request.image.shape[0]))

    def _take_up(self, moment: float, size: tuple[int, int]) -> None:
        """Take up the result of an earlier frame, if it is complete."""
        assert self._client is not None  # noqa: S101  (called with a worker alone)
        pending, result = self._pending, self._client.take()
        if pending is None or (result is None and not self._client.is_idle):
            return
        self._pending = None
        outdated = not 0 <= moment - pending.moment <= UNVERIFIED
        if result is None or outdated or pending.job.request.image.shape[1::-1] != size:
            # The thread died, or the boxes belong to another picture size or to a time long ago.
            self._due = True
            return
        analysis, stages = result
        self.tracker.restore(pending.saved)
        self._apply(pending.job, analysis)
        for moment, small in pending.since:
            self.tracker.advance(moment, small)
        last = self._detector.clock.last
        for stage, milliseconds in stages.items():
            last[stage] = last.get(stage, 0.0) + milliseconds
        last["detection_age"] = (time.perf_counter() - pending.started) * 1000

    def _remember(self, moment: float, small: SmallPicture) -> None:
        """Keep a frame for the time when the result is complete."""
        assert self._pending is not None  # noqa: S101  (called during an analysis alone)
        since = self._pending.since
        since.append((moment, small))
        if len(since) > _MOST_STEPS:
            del since[-2::-2]

    def _apply(self, job: _Job, analysis: Analysis) -> None:
        """Update the tracks by the result for the frame at which they are."""
        with self._detector.clock("track"):
            if job.plan is None:
                self._apply_verification(analysis)
                return
            self._detector.candidates = analysis.candidates
            self._gate.mark_searched(job.plan)
            if job.plan.regions is None:
                self._since_whole = 0.0
            self._apply_detection(job.request.image, job.plan, analysis)

    def _apply_detection(self, image: Image, plan: SearchPlan, analysis: Analysis) -> None:
        """Match the detections with the tracks.

        The classifier verifies tracks without a detection near their expected place.
        """
        tracker, thresholds, scored, count = self.tracker, self._detector.thresholds, analysis.scored, analysis.count
        boxes, visible = scored.boxes, tracker.visible
        faces = [
            row
            for row, (box, score) in enumerate(zip(boxes[:count], scored.face_scores[:count].tolist(), strict=True))
            if (
                thresholds.keeps(box, score)
                if any(box_iou(box, track.box) > IOU for track in visible)
                else thresholds.accepts(box, score)
            )
        ]
        kept = suppress_rows(scored, faces)
        missed = {identity: count + position for position, identity in enumerate(analysis.identities)}
        verified = {
            track.identity: missed[track.identity]
            for track in visible
            if track.identity in missed
            and thresholds.verifies(track.box, scored.face_scores[missed[track.identity]])
            and not any(same_face(track.box, boxes[row]) for row in kept)
            and not _is_on_another(boxes[missed[track.identity]], track, visible)
        }
        unseen = [
            track.identity
            for track in tracker.tracks
            if plan.regions is not None
            and not is_inside(track.box, plan.regions)
            and (track.identity in verified or track.identity not in missed)
        ]
        tracks = tracker.update([boxes[row] for row in kept], image, verified, unseen)
        restricted = self._detector.choice.restrict(scored.probabilities)
        for track, row in zip(tracks, kept, strict=True):
            self._vote(track, restricted[row])
        for track in visible:
            if track.identity in verified and track not in tracks and track.is_visible:
                row = verified[track.identity]
                track.correct(boxes[row])
                self._vote(track, restricted[row])

    def _apply_verification(self, analysis: Analysis) -> None:
        """Keep the tracks that the classifier confirms at their expected places."""
        scored, thresholds = analysis.scored, self._detector.thresholds
        restricted = self._detector.choice.restrict(scored.probabilities)
        tracks = {track.identity: track for track in self.tracker.visible}
        for identity, box, score, probabilities in zip(
            analysis.identities, scored.boxes, scored.face_scores.tolist(), restricted, strict=True
        ):
            track = tracks.get(identity)
            if track is None:
                # A result that took long: the track was dropped in the meantime.
                continue
            if not thresholds.verifies(track.box, score):
                self.tracker.lose(track)
            elif _is_on_another(box, track, self.tracker.visible):
                track.step_back()
                self.tracker.lose(track)
            else:
                track.correct(box)
                self._vote(track, probabilities)

    def _vote(self, track: Track, probabilities: npt.NDArray[np.float32]) -> None:
        unsure_below = math.inf if self._is_mouth_outside(track.box) else self._detector.unsure_below
        track.add_vote(probabilities, unsure_below, _COUNTED)
        if track.face_score < self._detector.thresholds.voted:
            self.tracker.lose(track)

    def _is_mouth_outside(self, box: Box) -> bool:
        """Return True if the lower edge of the picture cuts a face above its mouth, so that no mask could be seen."""
        return self._size is not None and box[3] - self._size[1] > _MOST_CUT * (box[3] - box[1])

    def _faces(self) -> list[Face]:
        labels: Sequence[str] = self._detector.classifier.labels
        return [
            Face(
                track.box,
                labels[track.voted_label],
                track.score,
                labels[track.latest],
                track.latest_score,
                track.identity,
                unsure=track.confidence < 0.5,
            )
            for track in self.tracker.visible
        ]


def _is_on_another(box: Box, track: Track, visible: Sequence[Track]) -> bool:
    """Return True if the face at `box`, found near a track's place, is more likely that of another visible track.

    A face that passes in front of another one is classified at both places. It must not keep the hidden one alive, nor move it.
    """
    own = max(box_iou(box, track.box), IOU)
    return any(box_iou(box, other.box) > own for other in visible if other is not track)
