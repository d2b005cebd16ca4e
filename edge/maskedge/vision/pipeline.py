"""`MaskDetector`, the public API.

It detects and classifies faces, tracks them, and decides each label by a vote.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.boxes import IOU, box_iou, same_face, suppress
from maskedge.config import DetectConfig, LimitsConfig
from maskedge.errors import UsageError
from maskedge.support.timing import StageClock
from maskedge.tracking.elapsed import CallTimes
from maskedge.tracking.tracker import FaceTracker, Track
from maskedge.types import Box, Face, Image

from .classifier import MaskClassifier
from .detectors import BoxDetector, Detections, FaceDetector, adapt_detector, is_detector_file, load_detector
from .schedule import DetectionSchedule
from .scoring import LabelChoice, ScoredBoxes, Thresholds, may_be_face, score_boxes
from .standalone import default_detector_name, rejects_non_faces, standalone_notice

DETECT_EVERY: int = DetectConfig.every
"""Default of `edge-run`: frames between detections, 5 detections per second at 25 frames/s.
Tracking a frame takes about 1/20 of the time of the cascade."""
MOST_CANDIDATES = 256
"""Maximum number of detections classified per frame. It limits the processing time."""
_COUNTED = 0.99
"""Minimum voted face probability to count a track as a person. A false alarm can persist, but its
probability varies."""
_NEAR = 0.6
"""Overlap (IoU) with a detection from which a track is not classified at its expected place. The
crop would be the same."""


@dataclass(frozen=True, slots=True)
class ScoredFace:
    """A face of a picture and its scores.

    Attributes:
        face: The face.
        face_score: Score of being a face, 0 to 1; compared with `face_threshold`.
        probabilities: float32 `[C]`, the classifier's probability of each label of the model.
    """

    face: Face
    face_score: float
    probabilities: npt.NDArray[np.float32]


class MaskDetector:
    """Finds the faces of a picture and classifies which of them wear a mask.

    >>> detector = MaskDetector()
    >>> [face.label for face in detector(np.zeros((480, 640, 3), np.uint8))]
    []

    Args:
        model: Classifier file; None for the bundled one.
        detector: Name or file of a detector (`load_detector`), a `FaceDetector`, or any object
            with a method `detect(image)` that returns a list of boxes (x1, y1, x2, y2 in pixels).
            None: `haar`, or `cnn` for a model without the label `not_a_face`.
        detector_model: Detector file (.onnx); replaces `detector`.
        tracking: Track faces from call to call and vote their labels. The calls are the frames of
            one video, in order.
        detect_every: With tracking, the number of frames between detections. Tracks follow the
            faces in between. At less than 25 frames/s, a detection runs after `detect_every` / 25
            s. It runs in two consecutive frames only if they are at least 2 x `detect_every` / 25 s
            apart. After a person is lost, it may run earlier.
        face_threshold: Lowest face score, 0 to 1: the classifier's probability, fused with the
            detector's score if it gives one. None for the detector's default. A tracked face is
            kept down to 0.7 times this score. For a model without the label `not_a_face` the
            threshold applies to the detector's score alone; all detections without scores are
            accepted.
        min_face_size: Side in pixels of the smallest face (geometric mean of the box's sides);
            smaller ones are dropped. A detector given by name resizes the picture accordingly.
            None: every face that the detector finds.
        labels: Labels to choose from, two or more of the model's: each face gets the most probable
            of these. Default: all labels.
        threads: Threads that ONNX Runtime and OpenCV may use. Default: 1 for ONNX Runtime, since
            the networks are too small to benefit from more threads, and 2 for OpenCV if there are
            as many cores.
        reidentify: With tracking, a person who was lost for some seconds gets the same number
            again. False: descriptors of faces are not computed, and the person gets a new number.

    Raises:
        ModelError: A model file is refused.
        UsageError: No detector has that name, the model lacks a label, or a number is out of
            range.
    """

    def __init__(
        self,
        model: Path | str | None = None,
        detector: str | Path | FaceDetector | BoxDetector | None = None,
        *,
        detector_model: Path | str | None = None,
        tracking: bool = False,
        detect_every: int = 1,
        face_threshold: float | None = None,
        min_face_size: int | None = None,
        labels: Sequence[str] | None = None,
        threads: int | None = None,
        reidentify: bool = True,
    ) -> None:
        # Creating the sections checks the ranges.
        DetectConfig(every=detect_every, face_threshold=face_threshold, min_face_size=min_face_size)
        LimitsConfig(threads=threads)
        cv2.setNumThreads(threads or min(2, os.cpu_count() or 1))
        self.classifier = MaskClassifier(Path(model) if model is not None else None, threads or 1)
        if detector is None:
            detector = default_detector_name(self.classifier.labels)
        network = Path(detector_model) if detector_model is not None else None
        self.detector_name = _detector_name(network or detector)
        chosen = network or detector
        if isinstance(chosen, str | Path):
            file_type = None if network is None else ".onnx"
            chosen = load_detector(chosen, file_type=file_type, min_face_size=min_face_size, threads=threads or 1)
        self.detector = adapt_detector(chosen)
        self._rejects_non_faces = rejects_non_faces(self.classifier.labels)
        if not self._rejects_non_faces:
            self.detector = self.detector.standalone()
        self.detect_every = detect_every
        self.min_face_size = min_face_size
        self.set_face_threshold(face_threshold)
        self._reidentify = reidentify
        bound = self.classifier.contract.card.get("unsure_below")
        self._unsure_below = float(bound) if isinstance(bound, int | float) else 0.0
        self._choice = LabelChoice(self.classifier, labels)
        self.candidates = 0
        """Boxes that the detector returned in its last run."""
        self.tracker: FaceTracker | None = None
        self._schedule = DetectionSchedule()
        self._times = CallTimes()
        self.clock = StageClock()
        if tracking:
            self.start_tracking()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that faces get, in the model's order."""
        return self._choice.labels

    @property
    def notice(self) -> str | None:
        """A message about the model for the user, in one sentence; None if there is none."""
        if self._rejects_non_faces:
            return None
        return standalone_notice(self.classifier.path.name, self.detector)

    @property
    def face_threshold(self) -> float:
        """Lowest face score of a face, 0 to 1."""
        return self._thresholds.face_threshold

    def set_face_threshold(self, face_threshold: float | None) -> None:
        """Set the lowest face score of a face; None for the detector's default."""
        self._thresholds = Thresholds(
            self.detector.default_threshold if face_threshold is None else face_threshold,
            self.detector.score_weights is not None,
            self.min_face_size,
        )

    def start_tracking(self) -> None:
        """Track faces from the next call on. The faces of earlier calls are forgotten."""
        self.tracker = FaceTracker(reidentify=self._reidentify)
        self._schedule = DetectionSchedule()

    def __call__(self, image: Image, moment: float | None = None) -> list[Face]:
        """Find and classify the faces of a picture, or of the next frame with tracking.

        Args:
            image: uint8 `[H, W, 3]`, BGR; grey `[H, W]` and BGRA `[H, W, 4]` are accepted too.
            moment: With tracking, the time at which the frame was taken, in seconds of a steady
                clock: the position in the video, or `time.perf_counter()` at the arrival of a
                camera frame. Votes and waits are measured with this clock. Defaults to the time of
                the call, at least 1/25 s after the previous one. This suits a live camera; a video
                that is read faster is treated as 25 frames/s.

        Returns:
            The faces, each with its box in pixels of `image` and its label.

        Raises:
            UsageError: `image` is not a picture, or `moment` is not finite.
        """
        image = as_bgr(image)
        if self.tracker is not None:
            return self._next_frame(image, self._times.stamp(moment), self.tracker)
        return [scored.face for scored in self.detect(image)]

    def detect(self, image: Image, face_threshold: float | None = None) -> list[ScoredFace]:
        """Find and classify the faces of one picture without tracking, with their scores.

        Args:
            image: uint8 `[H, W, 3]`, BGR.
            face_threshold: Replaces the detector's own threshold for this call.
        """
        detections = self._run_detector(image)
        with self.clock("classify"):
            scored = self._score(image, detections)
            faces = [
                row
                for row, box in enumerate(scored.boxes)
                if self._thresholds.accepts(box, scored.face_scores[row], face_threshold)
            ]
            kept = _suppress_rows(scored, faces)
        return [
            ScoredFace(
                self.label_face(scored.boxes[row], scored.probabilities[row]),
                float(scored.face_scores[row]),
                scored.probabilities[row],
            )
            for row in kept
        ]

    def label_face(self, box: Box, probabilities: npt.NDArray[np.float32]) -> Face:
        """Return a face with the most probable of `labels`.

        Args:
            box: x1, y1, x2, y2 in pixels.
            probabilities: float32 `[C]`, the classifier's result for the box.
        """
        restricted = self._choice.restrict(probabilities[None])[0]
        best = int(restricted.argmax())
        label, score = self.classifier.labels[best], float(restricted[best])
        return Face(box, label, score, label, score, unsure=score < self._unsure_below)

    def _next_frame(self, image: Image, moment: float, tracker: FaceTracker) -> list[Face]:
        """Process the next frame of a video and return its faces."""
        with self.clock("track"):
            tracker.advance(moment, image)
        if self._schedule.next_frame(tracker.interval, self.detect_every, redetect_soon=tracker.redetect_soon):
            self._run_detection(image, tracker)
        else:
            self._verify_tracks(image, tracker)
        labels = self.classifier.labels
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
            for track in tracker.visible
        ]

    def _run_detection(self, image: Image, tracker: FaceTracker) -> None:
        """Detect, classify and update the tracks.

        The classifier verifies tracks without a detection near their expected place, if it rejects
        non-faces.
        """
        detections = self._run_detector(image)
        count = len(detections)
        missed = [
            track
            for track in tracker.visible
            if self._rejects_non_faces and all(box_iou(track.box, box) < _NEAR for box in detections.boxes)
        ]
        with self.clock("classify"):
            scored = self._score(image, detections, [track.box for track in missed])
        with self.clock("track"):
            thresholds, boxes = self._thresholds, scored.boxes
            faces = [
                row
                for row, (box, score) in enumerate(zip(boxes[:count], scored.face_scores[:count].tolist(), strict=True))
                if (
                    thresholds.keeps(box, score)
                    if any(box_iou(box, track.box) > IOU for track in tracker.visible)
                    else thresholds.accepts(box, score)
                )
            ]
            kept = _suppress_rows(scored, faces)
            verified = {
                track.identity: count + position
                for position, track in enumerate(missed)
                if thresholds.verifies(track.box, scored.face_scores[count + position])
                and not any(same_face(track.box, boxes[row]) for row in kept)
            }
            tracks = tracker.update([boxes[row] for row in kept], image, verified)
            restricted = self._choice.restrict(scored.probabilities)
            for track, row in zip(tracks, kept, strict=True):
                self._vote(tracker, track, restricted[row])
            for track in missed:
                if track.is_visible and track.missed and track.identity in verified:
                    row = verified[track.identity]
                    track.correct(boxes[row])
                    self._vote(tracker, track, restricted[row])

    def _verify_tracks(self, image: Image, tracker: FaceTracker) -> None:
        """Classify the tracks that are not stable at their expected places, without detection."""
        unstable = [track for track in tracker.visible if not track.is_stable]
        with self.clock("classify"):
            scored = self._score(image, Detections(()), [track.box for track in unstable])
        with self.clock("track"):
            restricted = self._choice.restrict(scored.probabilities)
            for track, box, score, probabilities in zip(
                unstable, scored.boxes, scored.face_scores.tolist(), restricted, strict=True
            ):
                if self._thresholds.verifies(track.box, score):
                    track.correct(box)
                    self._vote(tracker, track, probabilities)
                else:
                    tracker.lose(track)

    def _vote(self, tracker: FaceTracker, track: Track, probabilities: npt.NDArray[np.float32]) -> None:
        track.add_vote(probabilities, self._unsure_below, _COUNTED)
        if track.face_score < self._thresholds.voted:
            tracker.lose(track)

    def _run_detector(self, image: Image) -> Detections:
        """Run the detector and return its plausible detections, at most `MOST_CANDIDATES`."""
        with self.clock("detect"):
            detections = self.detector.detect(image)
        self.candidates = len(detections)
        height, width = image.shape[:2]
        plausible = [row for row, box in enumerate(detections.boxes) if may_be_face(box, width, height)]
        return detections.select(plausible[:MOST_CANDIDATES])

    def _score(self, image: Image, detections: Detections, places: Sequence[Box] = ()) -> ScoredBoxes:
        return score_boxes(self.classifier, image, detections, self.detector.score_weights, places)


def _suppress_rows(scored: ScoredBoxes, rows: list[int]) -> list[int]:
    """Return the rows that non-maximum suppression keeps."""
    kept = suppress([scored.boxes[row] for row in rows], scored.face_scores[rows])
    return [rows[position] for position in kept]


def _detector_name(detector: str | Path | FaceDetector | BoxDetector) -> str:
    """Return the name of a detector, the file name without its folder, or the name of a class."""
    if isinstance(detector, Path):
        return detector.name
    if isinstance(detector, str):
        return Path(detector).name if is_detector_file(detector) else detector
    return type(detector).__name__


def as_bgr(image: Image) -> Image:
    """Convert a grey `[H, W]` or BGRA `[H, W, 4]` picture to uint8 `[H, W, 3]`, BGR.

    Raises:
        UsageError: The array is not a picture: its dtype or shape is wrong, or it is empty.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        got = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise UsageError(f"a picture is a uint8 array [H, W, 3] in BGR order, got {got}.")
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    if image.shape[2] == 4:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), np.uint8)
    if image.shape[2] != 3:
        raise UsageError(f"a picture has 1, 3 or 4 channels, got {image.shape[2]}.")
    return image
