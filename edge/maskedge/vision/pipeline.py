"""Frame in, faces out: detect, track, classify, vote. The public API."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.boxes import IOU, as_box, box_iou, same_face, side, suppress
from maskedge.config import DetectConfig, LimitsConfig
from maskedge.errors import UsageError
from maskedge.support.timing import StageClock
from maskedge.tracking.elapsed import USUAL, CallTimes
from maskedge.tracking.tracker import FaceTracker, Track
from maskedge.types import Box, Face, Image

from . import precise_detectors as precise
from .classifier import MaskClassifier
from .detectors import CnnDetector, FaceDetector, build_detector

NOT_A_FACE = precise.NOT_A_FACE
DETECT_EVERY = 5
"""Frames of a video to a detection: five a second of a usual camera. Tracks in between cost a twentieth of a cascade."""
FACE_THRESHOLD = 0.94
"""How surely a candidate must be a face by the classifier alone.

On pictures that no net learned from (edge-bench accuracy --held-out) it is the lowest bound whose F1 is within 0.005 of the best.
"""
SCORED_FACE_THRESHOLD = 0.8
"""The same by network and classifier together."""
_SCORE_WEIGHT, _PROBABILITY_WEIGHT = 0.75, 0.5
"""What the log-odds of a network's score and of the classifier's probability weigh: the score is the less sure of itself."""
_AGAIN = 0.3
"""How surely a candidate must be a face to be looked at again."""
_SUREST = 1e-6
"""Scores and probabilities are taken to be this far from 0 and 1 at least."""
_STAY = 0.7
"""Part of that bound from which a face that was there before is still taken for one: what moves or is half hidden stays."""
_COUNTED = 0.99
"""Probability of a face, by the classifier over time, of who is counted as a person: false alarms last, but they waver."""
_STAY_SIZE = 0.8
"""The same for the smallest face."""
MOST_CANDIDATES = 256
"""Candidates of a frame that are looked at: more are no crowd but a detector gone wild, and the frame must have an end."""
_NEAR = 0.6
"""Overlap with a candidate from which the expected place of a face is not asked for besides: it would be the same crop."""
_EARLIEST = 2 * USUAL
"""Seconds between two detections at least, where more are wanted."""
_ROUNDING = 1e-6
"""Sums of seconds are equal up to this."""


_Candidate: TypeAlias = tuple[Box, float]
"""A box and the score of the detector that found it; 1 where it gives none."""


class Found(NamedTuple):
    """A face of a picture, and by what it is one.

    Attributes:
        face: The face.
        certainty: How surely it is one, 0 to 1: what `face_threshold` bounds.
        probabilities: float32 `[C]`, what the classifier answers, one a label of the model.
    """

    face: Face
    certainty: float
    probabilities: npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Seen:
    """What is seen at N boxes.

    Attributes:
        boxes: Drawn to the faces.
        probabilities: float32 `[N, C]`.
        scores: float32 `[N]`, how surely each is a face.
    """

    boxes: list[Box]
    probabilities: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]


class _Schedule:
    """Tells in which frames of a video to detect: in every so many, and after so much time where they come slowly."""

    def __init__(self) -> None:
        self._frames = 0
        self._seconds = 0.0
        self._credit = 0.0
        self._begun = False

    def next_frame(self, interval: float, every: int, *, redetect_soon: bool) -> bool:
        """Go on to the next frame; tell whether to detect in it.

        Args:
            interval: Seconds since the frame before.
            every: Frames to a detection, at `USUAL` or faster.
            redetect_soon: Whether it is worth to detect sooner.
        """
        longest = every * USUAL
        self._frames += 1
        self._seconds += interval
        # Not in one frame after the other, unless frames are far apart: where detection itself is what takes the time, as on a
        # small board, each would be late by then.
        late = self._seconds >= longest - _ROUNDING and (self._frames > 1 or interval >= 2 * longest - _ROUNDING)
        # A third of the detections more at most, so that faces that come and go do not make every frame dear.
        self._credit = min(self._credit + max(1 / every, min(interval / longest, 1)) / 3, 3.0)
        due = not self._begun or self._frames >= every or late
        if not due and redetect_soon and self._seconds >= _EARLIEST - _ROUNDING and self._credit >= 1:
            self._credit -= 1
            due = True
        if due:
            self._begun, self._frames, self._seconds = True, 0, 0.0
        return due


class MaskDetector:
    """Finds the faces of a picture and tells who wears a mask.

    >>> detector = MaskDetector()
    >>> [face.label for face in detector(np.zeros((480, 640, 3), np.uint8))]
    []

    Args:
        model: Classifier file; the bundled one when left out.
        detector: Name of a detector (`DETECTORS`), or any object with a `detect` method. None: `haar`; for a model without a label
            `not_a_face` one that is precise by itself (`maskedge.vision.precise_detectors`).
        detector_model: Detector file, to find faces with instead of `detector`.
        tracking: Follow faces from call to call and vote their labels: for the frames of one video, in order.
        detect_every: With tracking, look for faces in every so many frames only; in between, tracks carry them on. Sooner where a
            person was just lost, and where frames come slowly: after `detect_every` / 25 s, but in one frame after the other only
            where they are twice as far apart.
        face_threshold: Lowest face score that counts, 0 to 1: the classifier's probability or, with a network that scores
            what it finds, both fused. None for the detector's best. With tracking a face that was there before
            stays from 0.7 of it. With a model that has no label `not_a_face` it bounds the network's score alone, and every
            candidate of a cascade is taken.
        min_face_size: Side of the smallest face in pixels of the picture (geometric mean of the box's sides); smaller ones
            are dropped, and a detector given by name
            chooses the size of its picture by it. None: whatever the detector finds.
        labels: Labels to answer with, two or more of the model's: each face gets the likeliest of these. All when left out.
        threads: Threads that ONNX Runtime and OpenCV may use. When left out, 1 and (where there are as many cores) 2: the nets are
            too small to share, the cascade is not.
        reidentify: With tracking, give a person who was lost for some seconds the old number. False: no descriptor of what people
            look like is computed, and a person who comes back is a new one.

    Raises:
        ModelError: A model file is refused.
        UsageError: No detector has that name, the model does not know a label, or a number is out of its range.
    """

    def __init__(
        self,
        model: Path | str | None = None,
        detector: str | FaceDetector | None = None,
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
        # The bounds of a program are those of the configuration.
        DetectConfig(every=detect_every, face_threshold=face_threshold, min_face_size=min_face_size)
        LimitsConfig(threads=threads)
        cv2.setNumThreads(threads or min(2, os.cpu_count() or 1))
        self.classifier = MaskClassifier(Path(model) if model is not None else None, threads or 1)
        self._blind = precise.lacks_label(self.classifier.labels)
        if detector is None:
            detector = precise.choose_detector(self.classifier.labels)
        self.detector_name = detector if isinstance(detector, str) else type(detector).__name__
        self.detector: FaceDetector
        if detector_model is not None:
            self.detector = CnnDetector(Path(detector_model), threads or 1, min_face_size=min_face_size)
        elif isinstance(detector, str):
            self.detector = build_detector(detector, min_face_size=min_face_size, threads=threads or 1)
        else:
            self.detector = detector
        if self._blind:
            self.detector = precise.make_precise(self.detector)
        self.detect_every = detect_every
        self.set_face_threshold(face_threshold)
        self.min_face_size = min_face_size
        self._reidentify = reidentify
        bound = self.classifier.contract.card.get("unsure_below")
        self._unsure_below = float(bound) if isinstance(bound, int | float) else 0.0
        self.labels = self._choose(labels)
        """The labels that faces get, in the model's order."""
        # What is seen as a face is one: how nearly it was none does not vote.
        self._voting = np.array([label != NOT_A_FACE for label in self.classifier.labels])
        left_out = sum(self._voting) > len(self.labels)
        self._answering = np.array([label in self.labels for label in self.classifier.labels]) if left_out else None
        self.candidates = 0
        """Candidates of the last frame that the detector gave."""
        self.tracker: FaceTracker | None = None
        self._schedule = _Schedule()
        self._times = CallTimes()
        self.clock = StageClock()
        if tracking:
            self.start_tracking()

    def _choose(self, labels: Sequence[str] | None) -> tuple[str, ...]:
        known = tuple(label for label in self.classifier.labels if label != NOT_A_FACE)
        if not labels:
            return known
        if unknown := [label for label in labels if label not in known]:
            raise UsageError(f"{self.classifier.path} has no label {unknown[0]!r} for a face: it has {', '.join(known)}.")
        if len(set(labels)) < 2:
            raise UsageError(f"faces are told apart by two labels or more of {', '.join(known)}; got {labels[0]} alone.")
        return tuple(label for label in known if label in labels)

    @property
    def notice(self) -> str | None:
        """What the user should know of the model, one sentence; None where there is nothing."""
        return precise.without_label(self.classifier.path.name, self.detector) if self._blind else None

    def set_face_threshold(self, face_threshold: float | None) -> None:
        """Choose how surely a candidate must be a face; None for what is best for the detector."""
        scored = precise.PRECISE_SCORE if self._blind else SCORED_FACE_THRESHOLD
        best = scored if isinstance(self.detector, CnnDetector) else FACE_THRESHOLD
        self.face_threshold = best if face_threshold is None else face_threshold

    @property
    def _least_there(self) -> float:
        """Bound for a place where no detector has found anything: the classifier judges alone."""
        return _STAY * (FACE_THRESHOLD if isinstance(self.detector, CnnDetector) else self.face_threshold)

    def start_tracking(self) -> None:
        """From now on, follow faces from call to call and vote their labels; forget the faces of earlier calls."""
        self.tracker = FaceTracker(reidentify=self._reidentify)
        self._schedule = _Schedule()

    def __call__(self, image: Image, moment: float | None = None) -> list[Face]:
        """Find the faces of one picture.

        Args:
            image: uint8 `[H, W, 3]`, BGR; `[H, W]` grey and `[H, W, 4]` BGRA are taken too.
            moment: With tracking, when the frame was taken, in seconds of any clock that goes on evenly: the time in the film, or
                `time.perf_counter()` when a camera gave it. How soon a label follows and how long a person is waited for is
                counted by it. When left out, it is the time of this call, but at least 1/25 s after the last: right for a camera
                that is waited for, while a video that is read faster is taken for one of 25 frames/s.

        Returns:
            The faces, each with its box in pixels of `image` and its label.

        Raises:
            UsageError: `image` is no picture, or `moment` no finite number.
        """
        image = as_bgr(image)
        if self.tracker is not None:
            return self._next_frame(image, self._times.stamp(moment), self.tracker)
        return [found.face for found in self.find(image)]

    def find(self, image: Image, face_threshold: float | None = None) -> list[Found]:
        """Find the faces of a picture by itself, each with how surely it is one: to choose `face_threshold` by.

        Args:
            image: uint8 `[H, W, 3]`, BGR.
            face_threshold: Takes the place of the detector's own.
        """
        candidates = self._detect(image)
        with self.clock("classify"):
            seen = self._look(image, candidates)
            least = self.face_threshold if face_threshold is None else face_threshold
            faces = [index for index, box in enumerate(seen.boxes) if self._is_face(box, seen.scores[index], least)]
            kept = [faces[index] for index in suppress([seen.boxes[index] for index in faces], seen.scores[faces])]
        answers = []
        for index in kept:
            box, probabilities = seen.boxes[index], seen.probabilities[index]
            answers.append(Found(self.name(box, probabilities), float(seen.scores[index]), probabilities))
        return answers

    def name(self, box: Box, probabilities: npt.NDArray[np.float32]) -> Face:
        """Give the face in a box the likeliest of `labels`.

        Args:
            box: x1, y1, x2, y2 in pixels.
            probabilities: float32 `[C]`, what the classifier answers for it.
        """
        votes = self._votes(probabilities[None])[0]
        best = int(votes.argmax())
        label, score = self.classifier.labels[best], float(votes[best])
        return Face(box, label, score, label, score, unsure=score < self._unsure_below)

    def _next_frame(self, image: Image, moment: float, tracker: FaceTracker) -> list[Face]:
        """Answer for the next frame of a video."""
        with self.clock("track"):
            tracker.advance(moment, image)
        if self._schedule.next_frame(tracker.interval, self.detect_every, redetect_soon=tracker.redetect_soon):
            self._look_anew(image, tracker)
        else:
            self._ask_again(image, tracker)
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

    def _look_anew(self, image: Image, tracker: FaceTracker) -> None:
        """Detect. Where no candidate is near the expected place of a face, the classifier is asked for that place too."""
        candidates = self._detect(image)
        count = len(candidates)
        probes = [track for track in tracker.visible if all(box_iou(track.box, box) < _NEAR for box, _ in candidates)]
        if self._blind:
            probes = []  # it would see a face anywhere
        with self.clock("classify"):
            seen = self._look(image, candidates, [track.box for track in probes])
        with self.clock("track"):
            faces = [
                index
                for index, (box, score) in enumerate(zip(seen.boxes[:count], seen.scores[:count].tolist(), strict=True))
                if (
                    self._stays(box, score)
                    if any(box_iou(box, track.box) > IOU for track in tracker.visible)
                    else self._is_face(box, score, self.face_threshold)
                )
            ]
            kept = [faces[index] for index in suppress([seen.boxes[index] for index in faces], seen.scores[faces])]
            still = {
                track.identity: count + position
                for position, track in enumerate(probes)
                if self._still_there(track.box, seen.scores[count + position])
                and not any(same_face(track.box, seen.boxes[index]) for index in kept)
            }
            tracks = tracker.update([seen.boxes[index] for index in kept], image, still)
            votes = self._votes(seen.probabilities)
            for track, index in zip(tracks, kept, strict=True):
                self._vote(tracker, track, votes[index])
            for track in probes:
                if track.is_visible and track.missed and track.identity in still:
                    track.correct(seen.boxes[still[track.identity]])
                    self._vote(tracker, track, votes[still[track.identity]])

    def _ask_again(self, image: Image, tracker: FaceTracker) -> None:
        """Without detection: ask the classifier for the faces of which something is to be learnt."""
        asked = [track for track in tracker.visible if not track.is_stable]
        with self.clock("classify"):
            seen = self._look(image, [], [track.box for track in asked])
        with self.clock("track"):
            votes = self._votes(seen.probabilities)
            for track, box, score, vote in zip(asked, seen.boxes, seen.scores.tolist(), votes, strict=True):
                if self._still_there(track.box, score):
                    track.correct(box)
                    self._vote(tracker, track, vote)
                else:
                    tracker.lose(track)

    def _votes(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Give what N answers say of the labels that faces get, float32 `[N, C]`; the sum is the probability of a face.

        The share of labels that are not answered with goes to the others, in proportion: what each is worth if it is one of them.
        """
        faces: npt.NDArray[np.float32] = probabilities * self._voting
        if self._answering is None:
            return faces
        # Of two that are both out of the question there is still a likelier one.
        answers = np.maximum(faces, _SUREST) * self._answering
        return np.asarray(answers * (faces.sum(axis=1) / answers.sum(axis=1))[:, None], np.float32)

    def _vote(self, tracker: FaceTracker, track: Track, vote: npt.NDArray[np.float32]) -> None:
        track.add_answer(vote, self._unsure_below, _COUNTED)
        # Lower for a moment, but not for long.
        if track.face_score < (self._least_there if isinstance(self.detector, CnnDetector) else self.face_threshold):
            tracker.lose(track)

    def _detect(self, image: Image) -> list[_Candidate]:
        with self.clock("detect"):
            if isinstance(self.detector, CnnDetector):
                boxes, scores = self.detector.answer(image)
                found = [(as_box(box), score) for box, score in zip(boxes, scores.tolist(), strict=True)]
            else:
                found = [(box, 1.0) for box in self.detector.detect(image)]
        self.candidates = len(found)
        height, width = image.shape[:2]
        return [candidate for candidate in found if _may_be_in(candidate[0], width, height)][:MOST_CANDIDATES]

    def _look(self, image: Image, candidates: list[_Candidate], places: Sequence[Box] = ()) -> _Seen:
        """Let the classifier look at candidates, and behind them at places, draw the boxes to the faces, and judge them.

        How surely a candidate is a face its detector has a say in; of a place the classifier judges alone.
        """
        boxes = [*(box for box, _ in candidates), *places]
        count, given = len(candidates), np.array([score for _, score in candidates], np.float32)
        probabilities, placed = self._ask(image, boxes)
        scores = self._face_scores(probabilities)
        scores[:count] = self._together(given, scores[:count])
        probable = np.flatnonzero(scores[:count] >= _AGAIN)
        if self.classifier.contract.places and len(probable):
            again = probable[suppress([placed[row] for row in probable.tolist()], scores[probable])]
            self._look_closer(image, again, probabilities, placed)
            # Of several on one face only the best was looked at again, and it alone stays.
            scores[probable] = 0
            scores[again] = self._together(given[again], self._face_scores(probabilities[again]))
        return _Seen(placed, probabilities, scores)

    def _look_closer(
        self, image: Image, rows: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float32], placed: list[Box]
    ) -> None:
        """Look at some boxes twice more where they were drawn, the first time mirrored; the mean of all looks takes their place.

        Iterated box regression (Gidaris and Komodakis, "Attend Refine Repeat", 2016), with the mirror image as another opinion
        (Krizhevsky et al., 2012), for the few candidates that may be faces.
        """
        answers, drawn = [probabilities[rows]], [[placed[row] for row in rows.tolist()]]
        for mirrored in (True, False):
            answer, boxes = self._ask(image, _mean_boxes(drawn), mirrored=mirrored)
            answers.append(answer)
            drawn.append(boxes)
        mean = np.exp(np.log(np.maximum(answers, _SUREST)).mean(axis=0))
        probabilities[rows] = mean / mean.sum(axis=1, keepdims=True)
        for row, box in zip(rows.tolist(), _mean_boxes(drawn), strict=True):
            placed[row] = box

    def _ask(self, image: Image, boxes: list[Box], *, mirrored: bool = False) -> tuple[npt.NDArray[np.float32], list[Box]]:
        """Ask the classifier what is in boxes and where; a box that would be drawn out of the picture stays as it is."""
        probabilities, drawn = self.classifier.look(image, boxes, mirrored=mirrored)
        height, width = image.shape[:2]
        return probabilities, [new if _may_be_in(new, width, height) else box for new, box in zip(drawn, boxes, strict=True)]

    def _together(self, scores: npt.ArrayLike, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """How surely something is a face, float32 `[N]`, by the detector's scores and the classifier's probabilities."""
        if not isinstance(self.detector, CnnDetector):
            return probabilities
        if self._blind:
            return np.asarray(scores, np.float32)
        odds = _SCORE_WEIGHT * _log_odds(scores) + _PROBABILITY_WEIGHT * _log_odds(probabilities)
        return np.asarray(1 / (1 + np.exp(-odds)), np.float32)

    def _face_scores(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probability of being a face, float32 `[N]`."""
        labels = self.classifier.labels
        return 1 - probabilities[:, labels.index(NOT_A_FACE)] if NOT_A_FACE in labels else np.ones(len(probabilities), np.float32)

    def _is_face(self, box: Box, score: float, least: float) -> bool:
        """Tell whether a candidate is probable and large enough for a face."""
        return bool(score >= least) and (self.min_face_size is None or side(box) >= self.min_face_size)

    def _stays(self, box: Box, score: float) -> bool:
        """Tell the same where a face was before: both bounds are lower."""
        return bool(score >= _STAY * self.face_threshold) and self._still_large(box)

    def _still_there(self, box: Box, probability: float) -> bool:
        """Tell the same of a place where no detector has found anything."""
        return bool(probability >= self._least_there) and self._still_large(box)

    def _still_large(self, box: Box) -> bool:
        return self.min_face_size is None or side(box) >= _STAY_SIZE * self.min_face_size


def _log_odds(probability: npt.ArrayLike) -> npt.NDArray[np.float64]:
    bounded = np.clip(np.asarray(probability, np.float64), _SUREST, 1 - _SUREST)
    return np.asarray(np.log(bounded / (1 - bounded)), np.float64)


def _mean_boxes(drawn: Sequence[Sequence[Box]]) -> list[Box]:
    return [as_box(box) for box in np.mean(drawn, axis=0)]


def _may_be_in(box: Box, width: int, height: int) -> bool:
    """Tell whether a box may show a face of a picture: a detector file may give anything, and a crop of it must fit into memory."""
    x1, y1, x2, y2 = box
    longest = 2 * max(width, height)
    return 1 <= x2 - x1 <= longest and 1 <= y2 - y1 <= longest and 0 <= x1 + x2 <= 2 * width and 0 <= y1 + y2 <= 2 * height


def as_bgr(image: Image) -> Image:
    """Bring grey `[H, W]` and BGRA `[H, W, 4]` pictures to uint8 `[H, W, 3]` BGR.

    Raises:
        UsageError: The array is no picture: another dtype or shape, or empty.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        what = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise UsageError(f"a picture is a uint8 array [H, W, 3] in BGR order, got {what}.")
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    if image.shape[2] == 4:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), np.uint8)
    if image.shape[2] != 3:
        raise UsageError(f"a picture has 1, 3 or 4 channels, got {image.shape[2]}.")
    return image
