"""Detection and classification of one frame: the expensive half of the pipeline, without state."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from maskedge.boxes import box_iou
from maskedge.errors import ModelError
from maskedge.support.timing import StageClock
from maskedge.types import Box, Image

from .classifier import MaskClassifier
from .detectors import Detections, FaceDetector, as_region_detector
from .scoring import ScoredBoxes, may_be_face, score_boxes

MOST_CANDIDATES = 256
"""Maximum number of detections classified per frame. It limits the processing time."""
_NEAR = 0.6
"""Overlap (IoU) with a detection from which a track is not classified at its expected place. The
crop would be the same."""
_DURATIONS = 100
"""Number of detections whose duration is kept."""
_LONGEST_TURN = 10.0
"""Maximum seconds to wait for the end of a detection before the networks are replaced."""


@dataclass(frozen=True, slots=True, eq=False)
class AnalysisRequest:
    """A frame to analyse.

    Attributes:
        image: uint8 `[H, W, 3]`, BGR.
        detect: True to detect faces; False to classify `places` alone.
        regions: Parts of the picture to search, in pixels; None: the whole picture.
        places: Expected places of faces by identity. Each is classified unless a detection is near.
    """

    image: Image
    detect: bool = True
    regions: Sequence[Box] | None = None
    places: Sequence[tuple[int, Box]] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """The result for a frame.

    Attributes:
        scored: The results, first of the detections, then of the classified places.
        count: Number of detections.
        identities: Identities of the classified places, in the order of their results.
        candidates: Number of boxes that the detector returned.
    """

    scored: ScoredBoxes
    count: int
    identities: Sequence[int]
    candidates: int


class FrameAnalyzer:
    """Detects and classifies the faces of frames. It has no state.

    Calls from several threads take turns, because OpenCV's cascades cannot run on two at once.

    Args:
        classifier: The classifier.
        detector: The detector.
        name: Name of the detector.

    Attributes:
        classifier: The classifier.
        detector: The detector.
        name: Name of the detector.
        generation: Number of replacements of the networks so far.
        tap: Called with each analysed picture, uint8 `[H, W, 3]`, which it must not keep; None for
            nothing.
        recover: Called with the error of a network that fails. Returns True if it has replaced the
            network.
        milliseconds: Duration of the latest detections in the whole picture.
        analyses: Number of analysed frames so far.
    """

    def __init__(self, classifier: MaskClassifier, detector: FaceDetector, name: str = "") -> None:
        self.classifier = classifier
        self.detector = detector
        self.name = name
        self.generation = 0
        self.tap: Callable[[Image], None] | None = None
        self.recover: Callable[[ModelError], bool] = lambda error: False
        self.milliseconds: deque[float] = deque(maxlen=_DURATIONS)
        self.analyses = 0
        self._turn = threading.Lock()
        self._searches_parts = as_region_detector(detector)

    def variant(self, classifier: MaskClassifier, detector: FaceDetector, name: str) -> FrameAnalyzer:
        """Return an analyzer with other networks. The two take turns, since they may share a cascade."""
        other = FrameAnalyzer(classifier, detector, name)
        other._turn = self._turn
        return other

    def replace(self, other: FrameAnalyzer) -> None:
        """Take the networks of another analyzer, between two frames.

        Raises:
            ModelError: The analysis of a frame does not end.
        """
        if not self._turn.acquire(timeout=_LONGEST_TURN):
            raise ModelError(f"a detection has not returned for {_LONGEST_TURN:g} s, so that the network cannot be replaced.")
        try:
            self.classifier, self.detector, self.name = other.classifier, other.detector, other.name
            self._searches_parts = other._searches_parts
            self.milliseconds.clear()
            self.generation += 1
        finally:
            self._turn.release()

    @property
    def searches_parts(self) -> bool:
        """True if the detector can search a part of a picture."""
        return self._searches_parts is not None

    def analyze(self, request: AnalysisRequest, clock: StageClock) -> Analysis:
        """Analyse a frame.

        Args:
            request: The frame.
            clock: Measures the stages `detect` and `classify`.
        """
        with self._turn:
            started = time.perf_counter()
            analysis = self._analyze(request, clock)
            self.analyses += 1
            if request.detect and request.regions is None:
                self.milliseconds.append((time.perf_counter() - started) * 1000)
        if self.tap is not None:
            self.tap(request.image)
        return analysis

    def _analyze(self, request: AnalysisRequest, clock: StageClock) -> Analysis:
        image = request.image
        detections, candidates = Detections(()), 0
        if request.detect and (request.regions is None or request.regions):
            with clock("detect"):
                detections = self._detect(image, request.regions)
            candidates = len(detections)
            height, width = image.shape[:2]
            plausible = [row for row, box in enumerate(detections.boxes) if may_be_face(box, width, height)]
            detections = detections.select(plausible[:MOST_CANDIDATES])
        places = [
            (identity, place) for identity, place in request.places if all(box_iou(place, box) < _NEAR for box in detections.boxes)
        ]
        with clock("classify"):
            weights = self.detector.score_weights
            scored = score_boxes(self.classifier, image, detections, weights, [place for _, place in places])
        return Analysis(scored, len(detections), [identity for identity, _ in places], candidates)

    def _detect(self, image: Image, regions: Sequence[Box] | None) -> Detections:
        if regions is None or self._searches_parts is None:
            return self.detector.detect(image)
        found = [self._searches_parts.detect(image, region) for region in regions]
        if len(found) == 1:
            return found[0]
        scores = [part.scores for part in found if part.scores is not None]
        merged = Detections(tuple(box for part in found for box in part.boxes), np.concatenate(scores) if scores else None)
        if merged.scores is None:
            return merged
        return merged.select(np.argsort(-merged.scores, kind="stable").tolist())
