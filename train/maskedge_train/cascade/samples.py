"""Training samples of a cascade: faces as they appear in a scan, and false positives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.boxes import box_iou
from maskedge.support.files import native_path
from maskedge.support.pictures import read_picture
from maskedge.types import Box, Image
from maskedge_train.data.dataset import Picture

from .features import WINDOW

SQUARE = 0.525
"""Side of a cascade's square, in units of width plus height of the labelled box."""
MIN_SIDE = 24
"""Minimum side of a square in pixels; smaller faces are too coarse."""
MAX_OVERLAP = 0.22
"""A window that overlaps a face by this much or more (IoU) is not used as a negative."""
_CONTEXT = 1.6
_MAX_SIDE = 96


@dataclass(frozen=True)
class FacePatch:
    """A face with its surroundings.

    Attributes:
        grey: uint8 `[S, S]`, 1.6 times as large as the face's square in its middle.
        masked: True if a mask is worn, correctly or not.
    """

    grey: Image
    masked: bool


def square_of(box: Box) -> Box:
    """Return the square that a cascade should detect for a labelled box."""
    half = SQUARE * (box[2] - box[0] + box[3] - box[1]) / 2
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return x - half, y - half, x + half, y + half


def face_patches(picture: Picture) -> list[FacePatch]:
    """Cut the labelled faces of a picture that are large enough."""
    grey = cv2.cvtColor(read_picture(picture.path), cv2.COLOR_BGR2GRAY)
    patches = []
    for face in picture.faces:
        x1, y1, x2, _ = square_of(face.box)
        side = x2 - x1
        if side < MIN_SIDE:
            continue
        size = min(round(_CONTEXT * side), _MAX_SIDE)
        edge = side * (_CONTEXT - 1) / 2
        scale = size / (_CONTEXT * side)
        matrix = np.array([[scale, 0, (edge - x1) * scale], [0, scale, (edge - y1) * scale]])
        # Blur before shrinking, against aliasing. The border of the picture is repeated outside of
        # it, as at run time.
        blurred = cv2.GaussianBlur(grey, (0, 0), 0.4 / scale) if scale < 0.7 else grey
        patch = cv2.warpAffine(blurred, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        patches.append(FacePatch(np.asarray(patch, np.uint8), face.label != "without_mask"))
    return patches


def draw_face(patch: FacePatch, random: np.random.Generator) -> Image:
    """Draw a window of a face, uint8 `[24, 24]`, varied as in a scan.

    Position, rotation, brightness and resampling vary.
    """
    side = patch.grey.shape[0]
    # OpenCV's scan shrinks by up to this factor without antialiasing.
    face = side / _CONTEXT
    between = WINDOW * math.exp(random.uniform(0, max(0.0, math.log(face / WINDOW))))
    size = max(8, round(_CONTEXT * between))
    grey = patch.grey if size >= side else cv2.resize(patch.grey, (size, size), interpolation=cv2.INTER_AREA)
    if random.random() < 0.5:
        grey = cv2.GaussianBlur(grey, (0, 0), max(0.3, 0.4 * size / _CONTEXT / WINDOW))
    scale = WINDOW * _CONTEXT / grey.shape[0] / random.uniform(0.93, 1.08)
    rotation = float(np.clip(random.normal(0, 5), -13, 13)) * math.pi / 180
    flip = random.choice([-1.0, 1.0])
    cos, sin = scale * math.cos(rotation), scale * math.sin(rotation)
    matrix = np.array([[flip * cos, -flip * sin], [sin, cos]])
    shift = random.uniform(-0.035, 0.035, 2) * WINDOW
    centre = np.full(2, (grey.shape[0] - 1) / 2)
    move = (WINDOW - 1) / 2 + shift - matrix @ centre
    warped = cv2.warpAffine(
        grey, np.column_stack([matrix, move]), (WINDOW, WINDOW), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    light = 255 * (np.asarray(warped, np.float64) / 255) ** math.exp(random.uniform(math.log(0.6), math.log(1.6)))
    light = light * random.uniform(0.7, 1.2) + random.normal(0, random.uniform(0, 3), light.shape)
    return np.asarray(np.clip(light, 0, 255), np.uint8)


@dataclass(frozen=True)
class Positives:
    """P drawn faces.

    Attributes:
        windows: uint8 `[P, 24, 24]`.
        groups: int64 `[P]`, 1 for a masked face.
        weights: float64 `[P]`; masked and unmasked faces have the same total weight.
    """

    windows: Image
    groups: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]

    @classmethod
    def draw(cls, patches: Sequence[FacePatch], count: int, random: np.random.Generator) -> Positives:
        """Draw `count` faces, half of them masked if there are both kinds."""
        kinds = [[patch for patch in patches if patch.masked == masked] for masked in (False, True)]
        kinds = [kind for kind in kinds if kind]
        chosen = [kind[index % len(kind)] for kind in kinds for index in range(count // len(kinds))]
        groups = np.array([int(patch.masked) for patch in chosen], np.int64)
        windows = np.stack([draw_face(patch, random) for patch in chosen])
        return cls(windows, groups, np.full(len(groups), 1 / len(groups)))

    def take(self, rows: npt.NDArray[np.int64]) -> Positives:
        """Return some of the faces, with equal total weights of both kinds."""
        groups, weights = self.groups[rows], self.weights[rows].copy()
        for group in np.unique(groups):
            weights[groups == group] /= weights[groups == group].sum()
        return Positives(self.windows[rows], groups, weights)


def mine_negatives(
    pictures: Sequence[Picture],
    cascade: Path | None,
    count: int,
    random: np.random.Generator,
    *,
    max_per_scan: int,
    scans: int,
    progress: Callable[[int], None] = lambda found: None,
) -> Image:
    """Find windows without a face that pass a cascade.

    Args:
        pictures: Pictures to search: without people, or outside of their labelled faces.
        cascade: XML file of the stages so far; None for random windows.
        count: Number of windows to find.
        random: Draws pictures, sizes and windows.
        max_per_scan: Maximum number of windows per picture and size, for variety.
        scans: Maximum number of scans.
        progress: Called with the number of windows found so far.

    Returns:
        uint8 `[M, 24, 24]`, grey, M at most `count`.
    """
    detector = None
    if cascade is not None:
        with native_path(cascade) as name:
            detector = cv2.CascadeClassifier(name)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    found: list[Image] = []
    kept: dict[int, tuple[Image, list[Box]]] = {}
    try:
        for _ in range(scans):
            index = int(random.integers(len(pictures)))
            if index not in kept:
                image = cv2.cvtColor(read_picture(pictures[index].path), cv2.COLOR_BGR2GRAY)
                boxes = [face.box for face in pictures[index].faces] + [*pictures[index].unlabelled]
                kept[index] = np.asarray(image, np.uint8), [square_of(box) for box in boxes]
            grey, faces = kept[index]
            found += _scan(grey, faces, detector, random, max_per_scan)
            progress(min(len(found), count))
            if len(found) >= count:
                break
    finally:
        cv2.setNumThreads(threads)
    return np.stack(found[:count]) if found else np.empty((0, WINDOW, WINDOW), np.uint8)


def _scan(
    grey: Image, faces: Sequence[Box], detector: cv2.CascadeClassifier | None, random: np.random.Generator, limit: int
) -> list[Image]:
    """Scan a picture at one size. The windows equal those of the cascade pixel by pixel."""
    longest = math.exp(random.uniform(math.log(1.5 * WINDOW), math.log(320)))
    scale = longest / max(grey.shape)
    size = max(WINDOW, round(grey.shape[1] * scale)), max(WINDOW, round(grey.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 and random.random() < 0.5 else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(grey, size, interpolation=how), np.uint8)
    if random.random() < 0.5:
        small = np.ascontiguousarray(small[:, ::-1])
        faces = [(grey.shape[1] - x2, y1, grey.shape[1] - x1, y2) for x1, y1, x2, y2 in faces]
    if detector is None:
        corners = [(int(random.integers(size[0] - WINDOW + 1)), int(random.integers(size[1] - WINDOW + 1))) for _ in range(limit)]
    else:
        boxes = detector.detectMultiScale(small, 1.1, 0, minSize=(WINDOW, WINDOW), maxSize=(WINDOW, WINDOW))
        corners = sorted((int(x), int(y)) for x, y, _, _ in boxes)
    scaled = [
        tuple(value * (size[0] / grey.shape[1], size[1] / grey.shape[0])[place % 2] for place, value in enumerate(face))
        for face in faces
    ]
    free = [(x, y) for x, y in corners if all(box_iou((x, y, x + WINDOW, y + WINDOW), face) < MAX_OVERLAP for face in scaled)]
    rows = random.permutation(len(free))[:limit].tolist()
    return [small[y : y + WINDOW, x : x + WINDOW] for x, y in (free[row] for row in rows)]
