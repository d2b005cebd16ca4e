"""Frame in, faces out: detect, track, classify, vote. The public API."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from maskedge.classify import MaskClassifier
from maskedge.detect import CascadeDetector, CnnDetector, FaceDetector
from maskedge.errors import UsageError
from maskedge.timing import StageClock
from maskedge.track import FaceTracker, Track
from maskedge.types import Face, Image

DETECTORS = ("haar", "haar-stock")
NOT_A_FACE = "not_a_face"
"""The label with which a classifier throws out what the detector should not have found."""


def build_detector(name: str) -> FaceDetector:
    """Build a detector by name.

    `haar` is the default, `CascadeDetector.default`. `haar-stock` is the original pipeline's, `CascadeDetector.original`.

    Raises:
        UsageError: No detector has that name.
    """
    if name == "haar":
        return CascadeDetector.default()
    if name == "haar-stock":
        return CascadeDetector.original()
    raise UsageError(f"there is no detector {name!r}; known are {', '.join(DETECTORS)}.")


class MaskDetector:
    """Finds the faces of a picture and tells who wears a mask.

    >>> detector = MaskDetector()
    >>> [face.label for face in detector(np.zeros((480, 640, 3), np.uint8))]
    []

    Args:
        model: Classifier file; the bundled one when left out.
        detector: Name of a detector (`DETECTORS`), or any object with a `detect` method.
        detector_model: Detector file, to find faces with instead of `detector`.
        tracking: Follow faces from call to call and vote their labels: for the frames of one video, in order.
        detect_every: With tracking, look for faces in every so many frames only; in between, tracks carry them on.
        threads: Threads that ONNX Runtime and OpenCV may use. When left out, 1 and (where there are as many cores) 2: the nets are
            too small to share, the cascade is not.

    Raises:
        ModelError: A model file is refused.
        UsageError: No detector has that name, or `detect_every` is below 1.
    """

    def __init__(
        self,
        model: Path | str | None = None,
        detector: str | FaceDetector = "haar",
        *,
        detector_model: Path | str | None = None,
        tracking: bool = False,
        detect_every: int = 1,
        threads: int | None = None,
    ) -> None:
        if detect_every < 1:
            raise UsageError(f"detect_every counts frames, from 1; got {detect_every}.")
        cv2.setNumThreads(threads or min(2, os.cpu_count() or 1))
        self.classifier = MaskClassifier(Path(model) if model is not None else None, threads or 1)
        self.detector: FaceDetector
        if detector_model is not None:
            self.detector = CnnDetector(Path(detector_model), threads or 1)
        else:
            self.detector = build_detector(detector) if isinstance(detector, str) else detector
        self.tracker: FaceTracker | None = None
        self.detect_every = detect_every
        self._followed = 0
        self.clock = StageClock()
        if tracking:
            self.follow()

    def follow(self) -> None:
        """From now on, follow faces from call to call and vote their labels; forget the faces of earlier calls."""
        self.tracker = FaceTracker()
        self._followed = 0

    def __call__(self, image: Image) -> list[Face]:
        """Find the faces of one picture.

        Args:
            image: uint8 `[H, W, 3]`, BGR; `[H, W]` grey and `[H, W, 4]` BGRA are taken too.

        Returns:
            The faces, each with its box in pixels of `image` and its label.

        Raises:
            UsageError: `image` is no picture.
        """
        image = as_bgr(image)
        tracks: list[Track] | None = None
        if self.tracker is None or self._followed % self.detect_every == 0:
            with self.clock("detect"):
                boxes = self.detector.detect(image)
        else:
            with self.clock("track"):
                tracks = self.tracker.coast()
                boxes = [track.box for track in tracks]
        self._followed += 1
        with self.clock("classify"):
            probabilities = self.classifier.classify(image, boxes)
        labels = self.classifier.labels
        raw = probabilities.argmax(axis=1)
        keep = [index for index in range(len(boxes)) if labels[raw[index]] != NOT_A_FACE]
        faces = [
            Face(
                boxes[i],
                labels[raw[i]],
                float(probabilities[i, raw[i]]),
                labels[raw[i]],
                float(probabilities[i, raw[i]]),
            )
            for i in keep
        ]
        if self.tracker is None:
            return faces
        with self.clock("track"):
            tracks = self.tracker.update([face.box for face in faces]) if tracks is None else [tracks[index] for index in keep]
            # What is seen as a face is one: how nearly it was none does not vote.
            votes = probabilities * [label != NOT_A_FACE for label in labels]
            for position, track in enumerate(tracks):
                label, score = track.add_vote(votes[keep[position]])
                faces[position] = replace(faces[position], label=labels[label], score=score, track=track.identity)
        return faces


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
