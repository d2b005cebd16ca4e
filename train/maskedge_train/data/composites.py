"""Composite faces for the demo clip: averages of aligned faces, which show no real person."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.errors import UsageError
from maskedge.support.files import write_file
from maskedge.support.pictures import list_pictures, read_picture
from maskedge.support.text import counted
from maskedge.types import Box, Image
from maskedge.vision.detectors.cascade import CascadeDetector, opencv_cascade
from maskedge_train.shared.hashing import near_pairs, perceptual_hashes

from .dataset import FACE_LABELS, check_folders

TILE = 160
"""Side of a tile in pixels."""
MARGIN = 1 / 3
"""Margin around the face box in a tile, on every side, as a fraction of the box's side."""
MIN_FACES, MAX_FACES = 12, 16
"""Minimum and maximum number of faces in a composite."""
CORRELATION = 0.6
"""Minimum correlation of a face with its group after alignment."""
SAME_PERSON = 0.9
"""Correlation of the upper halves above which two aligned faces count as one person.

The second face is a copy or the same person with another mask; only one of them enters the average.
"""
_COPY = re.compile(r"^augmented", re.IGNORECASE)
_PERSON = re.compile(r"^\d+_\d+_(?P<person>[a-z]+)_\d+")


@dataclass(frozen=True)
class Composite:
    """An average face.

    Attributes:
        image: uint8 `[160, 160, 3]`, BGR.
        label: Its label.
        faces: Number of averaged faces.
        agreement: Mean correlation of the aligned faces with the first one.
        box: Face box that the detector finds in the tile, as x1, y1, x2, y2 in pixels.
    """

    image: Image
    label: str
    faces: int
    agreement: float
    box: Box


def make_composites(data: Path, image_path: Path, per_label: int = 3, seed: int = 0) -> list[Composite]:
    """Make composites of both labels: a strip of tiles, with a JSON file of the same name.

    Args:
        data: Data set: a folder with one sub-folder per label.
        image_path: The .jpg file to write.
        per_label: Composites per label.
        seed: Seed of the grouping.

    Raises:
        UsageError: The folder of a label is missing or empty, or the data gives too few composites
            in which the detector finds the face.
    """
    check_folders(data)
    # More sensitive than on a device, to find faces cropped close to the picture's edge, too.
    localiser = CascadeDetector(opencv_cascade("frontalface_default"), side=320, scale_factor=1.05, min_neighbors=4, border=0.15)
    detector = CascadeDetector.original()
    composites: list[Composite] = []
    for label in FACE_LABELS[:2]:
        tiles = _localised_faces(data / label, localiser)
        made = _composites(tiles, label, detector, seed)
        if len(made) < per_label:
            raise UsageError(
                f"{data / label} gave {counted(len(made), 'composite')} of {MIN_FACES} or more faces, and --per-label is "
                f"{per_label}: add pictures of other people, each with one face, or give a smaller --per-label."
            )
        composites += sorted(made, key=lambda composite: composite.agreement, reverse=True)[:per_label]
    strip = np.concatenate([composite.image for composite in composites], axis=1)
    # A progressive JPEG is 7 % smaller: it is part of what devices install.
    options = [cv2.IMWRITE_JPEG_QUALITY, 93, cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    write_file(image_path, cv2.imencode(".jpg", strip, options)[1].tobytes())
    entries = [{"label": c.label, "faces": c.faces, "box": [round(v / TILE, 4) for v in c.box]} for c in composites]
    facts = {"tile": TILE, "tiles": entries}
    write_file(image_path.with_suffix(".json"), json.dumps(facts, indent=1) + "\n")
    return composites


def _localised_faces(folder: Path, detector: CascadeDetector) -> Image:
    """Cut the face of each picture in which the detector finds exactly one.

    Near-duplicates count once. Each person identified by file names counts once, because no average
    may consist of a single person's pictures.

    Returns:
        uint8 `[N, 160, 160, 3]`, BGR.
    """
    tiles, hashes = [], []
    people: set[str] = set()
    for path in list_pictures(folder):
        named = _PERSON.match(path.name)
        if _COPY.match(path.name) or (named and named["person"] in people):
            continue
        try:
            picture = read_picture(path)
        except ValueError:
            continue
        boxes = detector.detect(picture).boxes
        if len(boxes) != 1 or boxes[0][2] - boxes[0][0] < 48:
            continue
        if named:
            people.add(named["person"])
        x1, y1, x2, y2 = boxes[0]
        side = max(x2 - x1, y2 - y1) * (1 + 2 * MARGIN)
        scale = TILE / side
        left, top = (x1 + x2 - side) / 2, (y1 + y2 - side) / 2
        matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]], np.float32)
        tiles.append(cv2.warpAffine(picture, matrix, (TILE, TILE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT))
        hashes.append(perceptual_hashes(picture))
    if not tiles:
        raise UsageError(
            f"the detector found no picture in {folder} with exactly one face of 48 px or more: add pictures of single faces."
        )
    copies = set(near_pairs(np.stack(hashes))[:, 1].tolist())
    return np.stack([tile for index, tile in enumerate(tiles) if index not in copies]).astype(np.uint8)


def _composites(tiles: Image, label: str, detector: CascadeDetector, seed: int) -> list[Composite]:
    if len(tiles) < MIN_FACES:
        return []
    thumbnails = np.stack([cv2.resize(tile, (12, 12), interpolation=cv2.INTER_AREA) for tile in tiles])
    features = cv2.cvtColor(thumbnails.reshape(-1, 12, 3), cv2.COLOR_BGR2LAB).reshape(len(tiles), -1).astype(np.float32)
    cv2.setRNGSeed(seed)
    groups = max(len(tiles) // 50, 2)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 0.1)
    _, assigned, _ = cv2.kmeans(features, groups, np.empty((0, 1), np.int32), criteria, 5, cv2.KMEANS_PP_CENTERS)
    made = []
    for group in range(groups):
        members = np.flatnonzero(assigned.ravel() == group)
        if len(members) < MIN_FACES:
            continue
        centre = features[members].mean(axis=0)
        order = members[np.argsort(((features[members] - centre) ** 2).sum(axis=1))]
        average, correlations = _aligned_average(tiles[order])
        if len(correlations) < MIN_FACES:
            continue
        boxes = detector.detect(_on_canvas(average)).boxes
        if len(boxes) == 1:
            x1, y1, x2, y2 = (value - TILE / 2 for value in boxes[0])
            made.append(Composite(average, label, len(correlations), float(np.mean(correlations)), (x1, y1, x2, y2)))
    return made


def _on_canvas(tile: Image) -> Image:
    """Place a tile on a grey canvas of twice its side, as in the demo clip."""
    canvas = np.full((2 * TILE, 2 * TILE, 3), 128, np.uint8)
    canvas[TILE // 2 : TILE // 2 + TILE, TILE // 2 : TILE // 2 + TILE] = tile
    return canvas


def _aligned_average(tiles: Image) -> tuple[Image, list[float]]:
    """Average the faces that can be aligned with the first one.

    Alignment is affine and maximises the enhanced correlation (Evangelidis and Psarakis, 2008).

    Returns:
        The average, uint8 `[160, 160, 3]`, and the correlation of each averaged face.
    """
    template = _blurred_grey(tiles[0])
    kept: list[npt.NDArray[np.float32]] = []
    correlations: list[float] = []
    uppers: list[npt.NDArray[np.float32]] = []
    inner = np.zeros((TILE, TILE), np.uint8)
    edge = round(TILE * MARGIN / (1 + 2 * MARGIN))
    inner[edge:-edge, edge:-edge] = 255
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 60, 1e-4)
    for tile in tiles:
        warp = np.eye(2, 3, dtype=np.float32)
        try:
            correlation, found = cv2.findTransformECC(template, _blurred_grey(tile), warp, cv2.MOTION_AFFINE, criteria, inner, 5)
        except cv2.error:
            continue  # no convergence: not similar enough
        warp = np.asarray(found, np.float32)
        # A strong warp makes any two pictures correlate.
        if correlation < CORRELATION or np.abs(warp[:, :2] - np.eye(2)).max() > 0.3 or np.abs(warp[:, 2]).max() > 0.3 * TILE:
            continue
        aligned = cv2.warpAffine(
            tile, warp, (TILE, TILE), flags=cv2.INTER_LINEAR + cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
        )
        upper = _blurred_grey(np.asarray(aligned, np.uint8))[edge : TILE // 2, edge:-edge].ravel()
        upper = (upper - upper.mean()) / max(float(np.linalg.norm(upper - upper.mean())), 1e-6)
        if any(float(upper @ other) > SAME_PERSON for other in uppers):
            continue
        kept.append(np.asarray(aligned, np.float32))
        correlations.append(float(correlation))
        uppers.append(upper)
        if len(kept) == MAX_FACES:
            break
    average = np.mean(kept, axis=0) if kept else np.zeros((TILE, TILE, 3))
    # Averaging blurs the faces. Sharpen them to the level of a camera's picture.
    sharp = average + 0.7 * (average - cv2.GaussianBlur(average, (0, 0), 2))
    return sharp.clip(0, 255).astype(np.uint8), correlations


def _blurred_grey(tile: Image) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(cv2.cvtColor(tile, cv2.COLOR_BGR2GRAY), (0, 0), 2), np.float32)
