"""Boxes that hold no face: what detectors take for one, and pieces of faces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from maskedge.boxes import box_iou
from maskedge.types import NOT_A_FACE, Box, Image
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.detectors import FaceDetector
from maskedge.vision.detectors.cascade import CascadeDetector, opencv_cascade
from maskedge.vision.detectors.network import CnnDetector

FAR = 0.3
"""Overlap with every labelled face, as IoU of the squares, below which a box counts as no face."""
OFF = 0.12
"""The same for boxes that are not made from a face: those that touch one more often hold a neighbour whom nobody labelled."""
FOUND = 0.4
"""Overlap (IoU) from which a detector's box lies on a face: the nets see these as they come."""
DOUBT = 0.5
"""Probability of a face, by the bundled classifier, from which a box where not every face is labelled counts as nothing."""
LEAST_SIDE = 24
"""Smallest box in pixels: below, a picture's unlabelled faces and its clutter look alike."""


def keen_detectors() -> list[FaceDetector]:
    """Build the detectors whose answers a classifier must know: OpenCV's own cascade, set keen, our cascade, and our network."""
    return [
        CascadeDetector(opencv_cascade("frontalface_default"), side=400, scale_factor=1.1, min_neighbors=1, border=0.1),
        CascadeDetector.default(),
        CnnDetector(),
    ]


def square(box: Box) -> Box:
    """Widen the shorter side of `box` about its centre."""
    x1, y1, x2, y2 = box
    half = max(x2 - x1, y2 - y1) / 2
    cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
    return cx - half, cy - half, cx + half, cy + half


def is_far(box: Box, faces: Sequence[Box], overlap: float = FAR) -> bool:
    """Tell whether `box` overlaps every labelled face by less than `overlap`."""
    return all(box_iou(square(box), square(face)) < overlap for face in faces)


def false_alarms(answers: Sequence[Sequence[Box]], faces: Sequence[Box], most: int, random: np.random.Generator) -> list[Box]:
    """Give up to `most` boxes of each detector's answers that are no face.

    Args:
        answers: What each detector found, in pixels of the picture.
        faces: The labelled faces.
        most: Most boxes a detector.
        random: Draws among them.
    """
    boxes: list[Box] = []
    for found in answers:
        wrong = [box for box in found if box[2] - box[0] >= LEAST_SIDE and is_far(box, faces, OFF)]
        kept: list[Box] = []
        for index in random.permutation(len(wrong)).tolist():
            if len(kept) < most and is_far(wrong[index], kept):
                kept.append(wrong[index])
        boxes += kept
    return boxes


def found_faces(
    answers: Sequence[Sequence[Box]], faces: Sequence[Box], most: int, random: np.random.Generator
) -> list[tuple[Box, int]]:
    """Give up to `most` boxes a face of the detectors' answers that lie on it, each with the face's index.

    Args:
        answers: What each detector found, in pixels of the picture.
        faces: The labelled faces.
        most: Most boxes a face.
        random: Draws among them.
    """
    found = [box for boxes in answers for box in boxes if min(box[2] - box[0], box[3] - box[1]) >= LEAST_SIDE / 2]
    pairs: list[tuple[Box, int]] = []
    taken = np.zeros(len(faces), np.int64)
    for box in (found[index] for index in random.permutation(len(found)).tolist()):
        overlaps = [box_iou(box, face) for face in faces]
        best = int(np.argmax(overlaps)) if overlaps else 0
        if overlaps and overlaps[best] >= FOUND and taken[best] < most:
            taken[best] += 1
            pairs.append((box, best))
    return pairs


def beyond_doubt(classifier: MaskClassifier, image: Image, boxes: Sequence[Box]) -> npt.NDArray[np.bool_]:
    """Tell which boxes a classifier does not take for a face at all, bool `[N]`.

    Where only some faces of a picture are labelled, a box beside them may be another one, and must not be taught as none.

    Args:
        classifier: Knows the label `not_a_face`.
        image: uint8 `[H, W, 3]`, BGR.
        boxes: N boxes in pixels of `image`.
    """
    none = classifier.labels.index(NOT_A_FACE)
    return np.asarray(classifier.classify(image, boxes)[:, none] > 1 - DOUBT, np.bool_)


# Centre (right, down) and side of pieces of a face, in units of its square's side: halves, eyes, chin, brow, the whole person.
_PIECES: tuple[tuple[float, float, float], ...] = (
    (-0.62, 0.0, 1.0), (0.62, 0.0, 1.0), (0.0, -0.62, 1.0), (0.0, 0.65, 1.0), (-0.45, 0.5, 0.9), (0.45, 0.5, 0.9),
    (-0.22, -0.12, 0.38), (0.22, -0.12, 0.38), (0.0, 0.3, 0.45), (0.0, 0.42, 0.5), (0.0, -0.35, 0.5), (0.0, 0.05, 0.4),
    (0.0, 0.5, 2.3), (0.2, 0.1, 2.0), (-0.3, 0.6, 2.0),
)  # fmt: skip


def face_pieces(faces: Sequence[Box], count: int, random: np.random.Generator) -> list[Box]:
    """Give up to `count` half faces, eyes, chins and boxes far too large, none of which would do for a face."""
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
        if 2 * half >= LEAST_SIDE / 2 and is_far(box, faces):
            boxes.append(box)
    return boxes


def random_windows(size: tuple[int, int], faces: Sequence[Box], count: int, random: np.random.Generator) -> list[Box]:
    """Give up to `count` squares anywhere in a picture of `size` (width, height) pixels, off its faces."""
    width, height = size
    shorter = min(width, height)
    boxes: list[Box] = []
    for _ in range(4 * count):
        if len(boxes) == count:
            break
        side = shorter * float(np.exp(random.uniform(np.log(0.1), np.log(0.9))))
        if side < LEAST_SIDE:
            continue
        x, y = random.uniform(0, width - side), random.uniform(0, height - side)
        box = (x, y, x + side, y + side)
        if is_far(box, faces, OFF):
            boxes.append(box)
    return boxes


def random_of(name: str, seed: int) -> np.random.Generator:
    """Give a generator that depends on a picture's name and nothing else, so that order and threads change no draw."""
    words: npt.NDArray[np.uint8] = np.frombuffer(name.encode("utf-8", "surrogateescape"), np.uint8)
    return np.random.default_rng([seed, *words.tolist()])
