"""Negatives: boxes without a face, such as false positives of detectors and parts of faces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from maskedge.boxes import box_iou
from maskedge.modelfile.contract import default_detector
from maskedge.types import NOT_A_FACE, Box, Image
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.detectors import FaceDetector
from maskedge.vision.detectors.cascade import CascadeDetector, opencv_cascade
from maskedge.vision.detectors.network import CnnDetector

FAR_IOU = 0.3
"""Overlap with every labelled face (IoU of squares) below which a box counts as a negative."""
OFF_FACE_IOU = 0.12
"""This limit for boxes not derived from a face. A box that touches a face may hold another."""
MATCH_IOU = 0.35
"""Overlap (IoU) above which a detection matches a labelled face."""
MAX_FACE_PROBABILITY = 0.5
"""Face probability above which a box is not used as a negative.

It applies where not every face is labelled. The bundled classifier gives the probability.
"""
MIN_SIDE = 24
"""Minimum side of a box in pixels. In smaller boxes, unlabelled faces and clutter look alike."""


def sensitive_detectors() -> list[FaceDetector]:
    """Return the detectors whose false positives a classifier must reject.

    They are OpenCV's own cascade with sensitive settings, the project's cascade, and its network.
    """
    return [
        CascadeDetector(opencv_cascade("frontalface_default"), side=400, scale_factor=1.1, min_neighbors=1, border=0.1),
        CascadeDetector.default(),
        CnnDetector(default_detector()),
    ]


def square(box: Box) -> Box:
    """Extend the shorter side of `box` about its centre."""
    x1, y1, x2, y2 = box
    half = max(x2 - x1, y2 - y1) / 2
    cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
    return cx - half, cy - half, cx + half, cy + half


def is_far(box: Box, faces: Sequence[Box], overlap: float = FAR_IOU) -> bool:
    """Return True if `box` overlaps every face by less than `overlap`."""
    return all(box_iou(square(box), square(face)) < overlap for face in faces)


def false_positives(answers: Sequence[Sequence[Box]], faces: Sequence[Box], limit: int, random: np.random.Generator) -> list[Box]:
    """Return up to `limit` false positives of each detector.

    Args:
        answers: Detections of each detector, in pixels of the picture.
        faces: The labelled faces.
        limit: Maximum number of boxes per detector.
        random: Generator that chooses among them.
    """
    boxes: list[Box] = []
    for found in answers:
        wrong = [box for box in found if box[2] - box[0] >= MIN_SIDE and is_far(box, faces, OFF_FACE_IOU)]
        kept: list[Box] = []
        for index in random.permutation(len(wrong)).tolist():
            if len(kept) < limit and is_far(wrong[index], kept):
                kept.append(wrong[index])
        boxes += kept
    return boxes


def detected_faces(
    answers: Sequence[Sequence[Box]], faces: Sequence[Box], limit: int, random: np.random.Generator
) -> list[tuple[Box, int]]:
    """Return up to `limit` detections per face that match it, each with the face's index.

    Args:
        answers: Detections of each detector, in pixels of the picture.
        faces: The labelled faces.
        limit: Maximum number of boxes per face.
        random: Generator that chooses among them.
    """
    found = [box for boxes in answers for box in boxes if min(box[2] - box[0], box[3] - box[1]) >= MIN_SIDE / 2]
    pairs: list[tuple[Box, int]] = []
    taken = np.zeros(len(faces), np.int64)
    for box in (found[index] for index in random.permutation(len(found)).tolist()):
        overlaps = [box_iou(box, face) for face in faces]
        best = int(np.argmax(overlaps)) if overlaps else 0
        if overlaps and overlaps[best] >= MATCH_IOU and taken[best] < limit:
            taken[best] += 1
            pairs.append((box, best))
    return pairs


def clearly_no_face(classifier: MaskClassifier, image: Image, boxes: Sequence[Box]) -> npt.NDArray[np.bool_]:
    """Return True for each box that a classifier confidently rejects as a face: bool `[N]`.

    If only some faces of a picture are labelled, a box beside them may hold another face and must
    not become a negative.

    Args:
        classifier: Classifier with the label `not_a_face`.
        image: uint8 `[H, W, 3]`, BGR.
        boxes: N boxes in pixels of `image`.
    """
    none = classifier.labels.index(NOT_A_FACE)
    return np.asarray(classifier.classify(image, boxes)[:, none] > 1 - MAX_FACE_PROBABILITY, np.bool_)


# Centre (right, down) and side of parts of a face, in units of its square's side: halves, eyes,
# chin, brow, whole person.
_PIECES: tuple[tuple[float, float, float], ...] = (
    (-0.62, 0.0, 1.0), (0.62, 0.0, 1.0), (0.0, -0.62, 1.0), (0.0, 0.65, 1.0), (-0.45, 0.5, 0.9), (0.45, 0.5, 0.9),
    (-0.22, -0.12, 0.38), (0.22, -0.12, 0.38), (0.0, 0.3, 0.45), (0.0, 0.42, 0.5), (0.0, -0.35, 0.5), (0.0, 0.05, 0.4),
    (0.0, 0.5, 2.3), (0.2, 0.1, 2.0), (-0.3, 0.6, 2.0),
)  # fmt: skip


def face_pieces(faces: Sequence[Box], count: int, random: np.random.Generator) -> list[Box]:
    """Return up to `count` boxes with half faces, eyes, chins or far too much around a face."""
    boxes: list[Box] = []
    for _ in range(4 * count):
        if len(boxes) == count or not faces:
            break
        x1, y1, x2, y2 = square(faces[int(random.integers(len(faces)))])
        side = x2 - x1
        right, down, size = _PIECES[int(random.integers(len(_PIECES)))]
        right, down = right + random.normal(0, 0.06), down + random.normal(0, 0.06)
        size *= float(np.exp(random.normal(0, 0.1)))
        cx, cy, half = (x1 + x2) / 2 + right * side, (y1 + y2) / 2 + down * side, size * side / 2
        box = (cx - half, cy - half, cx + half, cy + half)
        if 2 * half >= MIN_SIDE / 2 and is_far(box, faces):
            boxes.append(box)
    return boxes


def random_windows(size: tuple[int, int], faces: Sequence[Box], count: int, random: np.random.Generator) -> list[Box]:
    """Return up to `count` random squares off the faces in a picture of `size` (width, height)."""
    width, height = size
    shorter = min(width, height)
    boxes: list[Box] = []
    for _ in range(4 * count):
        if len(boxes) == count:
            break
        side = shorter * float(np.exp(random.uniform(np.log(0.1), np.log(0.9))))
        if side < MIN_SIDE:
            continue
        x, y = random.uniform(0, width - side), random.uniform(0, height - side)
        box = (x, y, x + side, y + side)
        if is_far(box, faces, OFF_FACE_IOU):
            boxes.append(box)
    return boxes


def random_for(name: str, seed: int) -> np.random.Generator:
    """Return a generator seeded by a picture's name, independent of order and threads."""
    words: npt.NDArray[np.uint8] = np.frombuffer(name.encode("utf-8", "surrogateescape"), np.uint8)
    return np.random.default_rng([seed, *words.tolist()])
