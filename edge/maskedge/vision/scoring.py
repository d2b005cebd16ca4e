"""Scores of faces: fusion of detector and classifier, refinement, thresholds, choice of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskedge.boxes import as_box, side, suppress
from maskedge.errors import UsageError
from maskedge.types import NOT_A_FACE, Box, Image

from .classifier import MaskClassifier
from .detectors import FACE_THRESHOLD, Detections

_REFINE_FROM = 0.3
"""Face score from which a candidate is refined."""
_SURE = 0.98
"""A candidate with a detector's score is not refined if its face score and the probability of its
label reach this. On held-out pictures the same faces and labels are found, with half of the further
looks. Without a detector's score, F1 falls by 0.008."""
_CLIP = 1e-6
"""Scores and probabilities are clipped to this distance from 0 and 1."""
_KEEP = 0.7
"""A tracked face is kept down to this fraction of the face threshold. Faces that move or are half
hidden score lower."""
_KEEP_SIZE = 0.8
"""A tracked face is kept down to this fraction of the smallest face size."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Decides which boxes are faces.

    Attributes:
        face_threshold: Lowest face score of a new face, 0 to 1.
        fused: True if the face score of a detection is fused with the detector's score. Without a
            detection only the classifier's probability counts, and another threshold applies.
        min_face_size: Side in pixels of the smallest new face (geometric mean of the box's
            sides); None for any size.
    """

    face_threshold: float
    fused: bool
    min_face_size: int | None = None

    @property
    def verified(self) -> float:
        """Lowest classifier probability of a tracked face that was not detected in this frame."""
        return _KEEP * (FACE_THRESHOLD if self.fused else self.face_threshold)

    @property
    def voted(self) -> float:
        """Lowest voted probability of a tracked face.

        Without fusion it is the threshold of a new face. The score of a single frame may be lower
        (`keeps`), the vote over time may not.
        """
        return self.verified if self.fused else self.face_threshold

    def accepts(self, box: Box, score: float, face_threshold: float | None = None) -> bool:
        """Return True if a detection is a new face; `face_threshold` replaces the attribute."""
        threshold = self.face_threshold if face_threshold is None else face_threshold
        return bool(score >= threshold) and (self.min_face_size is None or side(box) >= self.min_face_size)

    def keeps(self, box: Box, score: float) -> bool:
        """Return True if a detection continues a tracked face."""
        return bool(score >= _KEEP * self.face_threshold) and self._large_enough_to_keep(box)

    def verifies(self, box: Box, probability: float) -> bool:
        """Return True if a tracked face is still at `box`, by the classifier alone."""
        return bool(probability >= self.verified) and self._large_enough_to_keep(box)

    def _large_enough_to_keep(self, box: Box) -> bool:
        return self.min_face_size is None or side(box) >= _KEEP_SIZE * self.min_face_size


class LabelChoice:
    """Restricts a classifier's probabilities to the labels asked for.

    Args:
        classifier: The classifier.
        labels: Labels to choose from, two or more of the classifier's; None or empty for all.

    Raises:
        UsageError: The classifier lacks a label, or fewer than two are asked for.
    """

    def __init__(self, classifier: MaskClassifier, labels: Sequence[str] | None = None) -> None:
        known = tuple(label for label in classifier.labels if label != NOT_A_FACE)
        labels = labels or known
        if unknown := [label for label in labels if label not in known]:
            raise UsageError(f"{classifier.path} has no label {unknown[0]!r} for a face: it has {', '.join(known)}.")
        if labels is not known and len(set(labels)) < 2:
            raise UsageError(f"give two labels or more of {', '.join(known)}; got {labels[0]} alone.")
        self.labels = tuple(label for label in known if label in labels)
        """The labels that faces get, in the model's order."""
        # A detection above the threshold is a face, so its probability of `not_a_face` has no vote.
        self._of_faces = np.array([label != NOT_A_FACE for label in classifier.labels])
        restricted = len(known) > len(self.labels)
        self._asked_for = np.array([label in self.labels for label in classifier.labels]) if restricted else None

    def restrict(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the probabilities of `labels`; the other columns become 0.

        The probability of face labels that are not asked for is distributed over `labels` in
        proportion. The sum of a row is the probability of a face.

        Args:
            probabilities: float32 `[N, C]`, as the classifier returns them.

        Returns:
            float32 `[N, C]`.
        """
        faces: npt.NDArray[np.float32] = probabilities * self._of_faces
        if self._asked_for is None:
            return faces
        # Clipped, so that two labels of probability 0 still share the sum.
        asked_for = np.maximum(faces, _CLIP) * self._asked_for
        scale = faces.sum(axis=1) / asked_for.sum(axis=1)
        return np.asarray(asked_for * scale[:, None], np.float32)


@dataclass(frozen=True, slots=True)
class ScoredBoxes:
    """The classifier's result for N boxes.

    Attributes:
        boxes: N boxes, corrected by the classifier where it locates faces.
        probabilities: float32 `[N, C]`, one column per label of the classifier.
        face_scores: float32 `[N]`, 0 to 1; compared with the face threshold.
    """

    boxes: list[Box]
    probabilities: npt.NDArray[np.float32]
    face_scores: npt.NDArray[np.float32]


def face_probabilities(classifier: MaskClassifier, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the probability of a face for each row, float32 `[N]`.

    It is 1 for a classifier without the label `not_a_face`.
    """
    if NOT_A_FACE not in classifier.labels:
        return np.ones(len(probabilities), np.float32)
    return 1 - probabilities[:, classifier.labels.index(NOT_A_FACE)]


def _label_probabilities(classifier: MaskClassifier, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the probability of the best label of a face for each row, float32 `[N]`."""
    faces = [column for column, label in enumerate(classifier.labels) if label != NOT_A_FACE]
    return np.asarray(probabilities[:, faces].max(axis=1), np.float32)


def fuse_scores(
    scores: npt.NDArray[np.float32] | None,
    probabilities: npt.NDArray[np.float32],
    weights: tuple[float, float] | None,
) -> npt.NDArray[np.float32]:
    """Fuse a detector's scores and a classifier's probabilities by a weighted sum of log-odds.

    Args:
        scores: float32 `[N]`, 0 to 1; None if the detector gives none.
        probabilities: float32 `[N]`, the probability of a face by the classifier.
        weights: Weights of the two (`FaceDetector.score_weights`). None: only the probabilities
            count. With a probability weight of 0, only the scores count.

    Returns:
        float32 `[N]`, the face scores.
    """
    if scores is None or weights is None:
        return probabilities
    score_weight, probability_weight = weights
    if not probability_weight:
        return scores
    odds = score_weight * _log_odds(scores) + probability_weight * _log_odds(probabilities)
    return np.asarray(1 / (1 + np.exp(-odds)), np.float32)


def score_boxes(
    classifier: MaskClassifier,
    image: Image,
    detections: Detections,
    weights: tuple[float, float] | None,
    places: Sequence[Box] = (),
) -> ScoredBoxes:
    """Classify detections, and places without a detection.

    The face score of a detection is fused with the detector's score. The face score of a place is
    the classifier's probability. If the classifier locates faces, several detections of one face
    are reduced to the best: the others get the score 0. Detections that may be faces are refined,
    unless detector and classifier together are already sure.

    Args:
        classifier: The classifier.
        image: uint8 `[H, W, 3]`, BGR.
        detections: N detections.
        weights: `FaceDetector.score_weights`.
        places: M boxes.

    Returns:
        The N + M results: first the detections, then the places.
    """
    count, given = len(detections), detections.scores
    probabilities, boxes = _classify(classifier, image, [*detections.boxes, *places])
    face_scores = face_probabilities(classifier, probabilities)
    face_scores[:count] = fuse_scores(given, face_scores[:count], weights)
    probable = np.flatnonzero(face_scores[:count] >= _REFINE_FROM)
    if classifier.contract.places and len(probable):
        best = probable[suppress([boxes[row] for row in probable.tolist()], face_scores[probable])]
        best_scores = face_scores[best]
        face_scores[probable] = 0
        face_scores[best] = best_scores
        rows = best
        if given is not None and weights is not None:
            rows = best[(best_scores < _SURE) | (_label_probabilities(classifier, probabilities[best]) < _SURE)]
        if len(rows):
            refine(classifier, image, rows, probabilities, boxes)
            refined = face_probabilities(classifier, probabilities[rows])
            face_scores[rows] = fuse_scores(None if given is None else given[rows], refined, weights)
    return ScoredBoxes(boxes, probabilities, face_scores)


def refine(
    classifier: MaskClassifier,
    image: Image,
    rows: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float32],
    boxes: list[Box],
) -> None:
    """Refine some boxes and their probabilities in place by test-time augmentation.

    Each box is classified twice more at the place where the classifier has located the face, the
    first time mirrored. The mean of the three results replaces the first result. Sources: iterated
    box regression (Gidaris and Komodakis, "Attend Refine Repeat", 2016), mirrored test images
    (Krizhevsky et al., 2012).

    Args:
        classifier: The classifier.
        image: uint8 `[H, W, 3]`, BGR.
        rows: int64 `[K]`, rows to refine.
        probabilities: float32 `[N, C]`.
        boxes: N boxes.
    """
    results, located = [probabilities[rows]], [[boxes[row] for row in rows.tolist()]]
    for mirrored in (True, False):
        result, found = _classify(classifier, image, _mean_boxes(located), mirrored=mirrored)
        results.append(result)
        located.append(found)
    mean = np.exp(np.log(np.maximum(results, _CLIP)).mean(axis=0))
    probabilities[rows] = mean / mean.sum(axis=1, keepdims=True)
    for row, box in zip(rows.tolist(), _mean_boxes(located), strict=True):
        boxes[row] = box


def suppress_rows(scored: ScoredBoxes, rows: list[int]) -> list[int]:
    """Return those of some rows that non-maximum suppression keeps."""
    kept = suppress([scored.boxes[row] for row in rows], scored.face_scores[rows])
    return [rows[position] for position in kept]


def may_be_face(box: Box, width: int, height: int) -> bool:
    """Return True if a box has a plausible size and its centre lies in the picture.

    A detector file may return any numbers, and a crop must fit into memory.
    """
    x1, y1, x2, y2 = box
    longest = 2 * max(width, height)
    return 1 <= x2 - x1 <= longest and 1 <= y2 - y1 <= longest and 0 <= x1 + x2 <= 2 * width and 0 <= y1 + y2 <= 2 * height


def _classify(
    classifier: MaskClassifier, image: Image, boxes: list[Box], *, mirrored: bool = False
) -> tuple[npt.NDArray[np.float32], list[Box]]:
    """Classify boxes and locate their faces. An implausible correction is ignored."""
    probabilities, located = classifier.classify_and_locate(image, boxes, mirrored=mirrored)
    height, width = image.shape[:2]
    return probabilities, [new if may_be_face(new, width, height) else box for new, box in zip(located, boxes, strict=True)]


def _log_odds(probability: npt.ArrayLike) -> npt.NDArray[np.float64]:
    clipped = np.clip(np.asarray(probability, np.float64), _CLIP, 1 - _CLIP)
    return np.asarray(np.log(clipped / (1 - clipped)), np.float64)


def _mean_boxes(boxes: Sequence[Sequence[Box]]) -> list[Box]:
    return [as_box(box) for box in np.mean(boxes, axis=0)]
