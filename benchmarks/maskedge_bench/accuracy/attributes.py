"""Accuracy by attributes of the faces: measured on their pixels, or given in a file."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.boxes import box_iou, side
from maskedge.errors import UsageError
from maskedge.labelled_boxes import COLUMNS, LabelledBox, read_rows
from maskedge.system.host import host_facts
from maskedge.types import Box, Face, Image

from .detection_counts import LEAST_SIDE, THREE, TWO, f1_of_draws, match, ratio
from .scored_pictures import PictureSet, ScoredPicture, Scorer, check_names, score_pictures, source_of

SCHEMA = "maskedge.attributes/1"
MOST_BELOW = 0.05
"""Distance of a group's F1 below that of all faces from which the group is weak."""
LEAST_FACES = 50
"""Least number of labelled faces of a weak group."""
_SAME_BOX = 0.5
"""Overlap (IoU) from which a box of the file of attributes is a labelled face."""
_SHARP_SIDE = 64
"""Side in pixels to which a face is resized before its sharpness is measured."""
_BLOCK = 8
"""Side in pixels of a block of JPEG and of most video codecs."""

Groups: TypeAlias = Mapping[str, str]
"""The group of a face by attribute."""

BOUNDS: Mapping[str, tuple[float, ...]] = {
    "size": (LEAST_SIDE, 48, 64, 96, 192),
    "brightness": (0, 75, 100, 130, 160),
    "backlight": (-256, -30, 0, 25, 45),
    "contrast": (0, 35, 45, 60),
    "sharpness": (0, 7, 10, 14, 20),
    "blockiness": (0, 1.1, 1.2, 1.35),
    "faces": (1, 2, 4, 8, 16),
}
"""Lower bounds of the groups of each measured attribute.

- `size`: geometric mean of the sides, in pixels of the picture scaled to at most 640.
- `brightness`: mean grey value of the face, 0 to 255.
- `backlight`: mean grey value of the surroundings minus that of the face.
- `contrast`: standard deviation of the grey values of the face.
- `sharpness`: mean absolute Laplacian of the face at 64 x 64 pixels.
- `blockiness`: steps of grey between blocks of 8 pixels, relative to steps inside blocks, of the
  whole picture.
- `faces`: labelled faces in the picture.

The other attributes are `position` (`place_of`), `label` and `source`, the start of the file name.
"""


def measure_attributes(
    pictures: PictureSet,
    scorers: Sequence[Scorer],
    *,
    given: Path | None = None,
    progress: Callable[[int], None] = lambda total: None,
) -> dict[str, Any]:
    """Measure the accuracy of every pipeline by attribute, at its own face threshold.

    A wrong prediction belongs to the group that its own box measures as. In the groups of `given`,
    only predictions on labelled faces are known, so there the precision covers only these.

    Args:
        pictures: The pictures. Backgrounds are ignored.
        scorers: The pipelines.
        given: CSV file with attributes that cannot be measured, such as glasses
            (`read_attributes`). `skin: dark` is the group `dark` of the attribute `skin`.
        progress: Called after each picture with the total number of pictures.

    Raises:
        UsageError: A picture or the file cannot be read, or the file cannot tell two pictures apart.
    """
    only_scenes = PictureSet(pictures.scenes, [], pictures.names)
    by_hand: dict[str, list[LabelledBox]] = {}
    if given is not None:
        check_names(pictures.names, given)
        by_hand = read_attributes(given)
    if unknown := set(by_hand) - set(pictures.names.values()):
        raise UsageError(f"{given} names {min(unknown)}, which is not among the measured pictures: give its --scenes.")
    all_counts = [_GroupCounts() for _ in scorers]
    for path, image, scored in score_pictures(only_scenes, scorers, progress):
        truths, name = pictures.scenes[path], pictures.names[path]
        measure = _Measure(image, len(truths), source_of(name))
        for counts, scorer, own in zip(all_counts, scorers, scored, strict=True):
            counts.add(truths, own, scorer.detector.face_threshold, measure, by_hand.get(name, []))
    return {
        "schema": SCHEMA,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "pictures": len(pictures.names),
        "least_faces": LEAST_FACES,
        "most_below": MOST_BELOW,
        "facts": host_facts(),
        "rows": [
            {
                "detector": scorer.name,
                **scorer.facts(),
                "face_threshold": round(scorer.detector.face_threshold, 4),
                **counts.figures(),
            }
            for scorer, counts in zip(scorers, all_counts, strict=True)
        ],
    }


def read_attributes(path: Path) -> dict[str, list[LabelledBox]]:
    """Read a CSV file with the columns image, xmin, ymin, xmax, ymax and attribute.

    Returns:
        The boxes of each picture, with the attribute as their label. A face with several attributes
        has several rows.

    Raises:
        UsageError: The file cannot be read, or has a row that is not valid.
    """
    boxes: dict[str, list[LabelledBox]] = {}
    for row in read_rows(path, (*COLUMNS[:-1], "attribute")):
        boxes.setdefault(row.image(), []).append(LabelledBox(row.box(), row.text("attribute")))
    return boxes


class _Measure:
    """Measures the attributes of boxes of one picture, uint8 `[H, W, 3]` BGR."""

    def __init__(self, image: Image, faces: int, source: str) -> None:
        self._grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
        self._of_picture = {"blockiness": blockiness(self._grey), "faces": float(faces)}
        self._source = source

    def groups(self, box: Box, label: str, scale: float) -> Groups:
        """Return the groups of a box.

        Args:
            box: x1, y1, x2, y2 in pixels.
            label: The label of the face.
            scale: Factor from pixels of the picture to pixels of the matching rule.
        """
        values = {"size": side(box) * scale, **measure_face(self._grey, box), **self._of_picture}
        named = {attribute: name_group(attribute, value) for attribute, value in values.items()}
        height, width = self._grey.shape
        return {**named, "position": place_of(box, width, height), "label": label, "source": self._source}


def measure_face(grey: Image, box: Box) -> dict[str, float]:
    """Measure brightness, backlight, contrast and sharpness of a face.

    Args:
        grey: uint8 `[H, W]`.
        box: x1, y1, x2, y2 in pixels; parts outside of the picture are ignored.
    """
    face = _cut(grey, box)
    margins = (box[2] - box[0]) / 2, (box[3] - box[1]) / 2
    around = _cut(grey, (box[0] - margins[0], box[1] - margins[1], box[2] + margins[0], box[3] + margins[1]))
    brightness = float(face.mean())
    ring = around.size - face.size
    surroundings = (float(around.sum()) - float(face.sum())) / ring if ring else brightness
    small = cv2.resize(face, (_SHARP_SIDE, _SHARP_SIDE), interpolation=cv2.INTER_AREA)
    return {
        "brightness": brightness,
        "backlight": surroundings - brightness,
        "contrast": float(face.std()),
        "sharpness": float(np.abs(cv2.Laplacian(small, cv2.CV_32F)).mean()),
    }


def _cut(grey: Image, box: Box) -> Image:
    """Return the part of a picture in a box, at least one pixel."""
    height, width = grey.shape
    left, top = min(max(int(box[0]), 0), width - 1), min(max(int(box[1]), 0), height - 1)
    right, bottom = max(min(round(box[2]), width), left + 1), max(min(round(box[3]), height), top + 1)
    return grey[top:bottom, left:right]


def blockiness(grey: Image) -> float:
    """Return the mean step of grey between blocks of 8 pixels, relative to that inside of blocks.

    1 means that no blocks are visible. After: Wang, Bovik and Evans, "Blind measurement of blocking
    artifacts in images" (2000). A picture that was resized after its compression has no blocks at
    multiples of 8 pixels, and measures about 1.
    """
    if min(grey.shape) < 2 * _BLOCK:
        return 1.0
    steps = [np.abs(np.diff(grey.astype(np.int16), axis=axis)).mean(axis=1 - axis) for axis in (0, 1)]
    between = np.concatenate([own[_BLOCK - 1 :: _BLOCK] for own in steps])
    inside = np.concatenate([np.delete(own, np.s_[_BLOCK - 1 :: _BLOCK]) for own in steps])
    return float(between.mean() / inside.mean()) if inside.any() else 1.0


def place_of(box: Box, width: int, height: int) -> str:
    """Return where in the picture a box of a face lies.

    `cut`: it touches the edge of the picture. `rim`: its centre lies in the outer tenth. `inside`:
    all others.

    Args:
        box: x1, y1, x2, y2 in pixels.
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.
    """
    if box[0] <= 1 or box[1] <= 1 or box[2] >= width - 1 or box[3] >= height - 1:
        return "cut"
    centre = (box[0] + box[2]) / 2 / width, (box[1] + box[3]) / 2 / height
    return "rim" if min(*centre, *(1 - part for part in centre)) < 0.1 else "inside"


def name_group(attribute: str, value: float) -> str:
    """Return the name of the group of a value, such as `48 - 64`."""
    bounds = BOUNDS[attribute]
    row = max(bisect_right(bounds, value) - 1, 0)
    if row == len(bounds) - 1:
        return f"{bounds[row]:g} and more"
    if row == 0 and attribute != "faces":
        return f"under {bounds[1]:g}"
    whole = attribute == "faces"
    low, high = bounds[row], bounds[row + 1] - whole
    return f"{low:g}" if low == high else f"{low:g} - {high:g}"


def _group_names(attribute: str) -> list[str]:
    """Return the names of the groups of a measured attribute, in order."""
    bounds = BOUNDS[attribute]
    return [name_group(attribute, low) for low, _ in pairwise((*bounds, None)) if low is not None]


class _GroupCounts:
    """Counts of one pipeline by attribute and group, with two and with three labels."""

    def __init__(self) -> None:
        # By labels and group: [right, predicted, labelled, found] of each picture by its number.
        self._counts: dict[tuple[tuple[str, ...], str, str], dict[int, npt.NDArray[np.int64]]] = defaultdict(dict)
        self._pictures = 0

    def add(
        self, truths: Sequence[LabelledBox], own: ScoredPicture, threshold: float, measure: _Measure, given: Sequence[LabelledBox]
    ) -> None:
        """Count a picture by the rule of `detection_counts`."""
        number, self._pictures = self._pictures, self._pictures + 1
        three, two = own.select(threshold)
        groups = [{**measure.groups(truth.box, truth.label, own.scale)} for truth in truths]
        for row, truth in enumerate(truths):
            for known in given:
                if box_iou(known.box, truth.box) >= _SAME_BOX:
                    attribute, _, group = known.label.partition(": ")
                    groups[row][f"by hand: {attribute}"] = group or "yes"
        of_truth = dict(zip(map(id, truths), groups, strict=True))
        for labels, faces in ((TWO, two), (THREE, three)):
            self._add(labels, number, truths, faces, own.scale, of_truth, measure)

    def _add(
        self,
        labels: tuple[str, ...],
        number: int,
        truths: Sequence[LabelledBox],
        faces: Sequence[Face],
        scale: float,
        of_truth: Mapping[int, Groups],
        measure: _Measure,
    ) -> None:
        def counts(truth: LabelledBox) -> bool:
            return truth.label in labels and side(truth.box) * scale >= LEAST_SIDE

        pairs, missed, false = match(truths, faces)
        for truth, face in pairs:
            if counts(truth):
                self._count(labels, number, of_truth[id(truth)], (face.label == truth.label, 1, 1, 1))
        for truth in missed:
            if counts(truth):
                self._count(labels, number, of_truth[id(truth)], (0, 0, 1, 0))
        for face in false:
            if side(face.box) * scale >= LEAST_SIDE:
                self._count(labels, number, measure.groups(face.box, face.label, scale), (0, 1, 0, 0))

    def _count(self, labels: tuple[str, ...], number: int, groups: Groups, row: tuple[int, int, int, int]) -> None:
        for attribute, group in (("", ""), *groups.items()):
            own = self._counts[labels, attribute, group]
            own[number] = own.get(number, np.zeros(4, np.int64)) + np.array(row, np.int64)

    def figures(self) -> dict[str, Any]:
        """Return the figures of all faces, of every group, and the weak groups."""
        attributes = {attribute: _group_names(attribute) for attribute in BOUNDS}
        for _, attribute, group in self._counts:
            if attribute and group not in attributes.setdefault(attribute, []):
                attributes[attribute].append(group)
        whole = self._of("", "")
        groups: list[dict[str, Any]] = [
            {"attribute": attribute, "group": group, **self._of(attribute, group)}
            for attribute, names in attributes.items()
            for group in (names if attribute in BOUNDS else sorted(names))
        ]
        groups = [own for own in groups if own["three_labels"]["faces"]]
        for own in groups:
            own["weak"] = any(
                own[kind]["faces"] >= LEAST_FACES and own[kind]["f1"] < whole[kind]["f1"] - MOST_BELOW
                for kind in ("two_labels", "three_labels")
            )
        return {"whole": whole, "groups": groups}

    def _of(self, attribute: str, group: str) -> dict[str, dict[str, Any]]:
        return {
            kind: self._scores(self._counts.get((labels, attribute, group), {}))
            for kind, labels in (("two_labels", TWO), ("three_labels", THREE))
        }

    def _scores(self, by_picture: Mapping[int, npt.NDArray[np.int64]]) -> dict[str, Any]:
        counts = np.zeros((self._pictures, 4), np.int64)
        for number, row in by_picture.items():
            counts[number] = row
        right, predicted, labelled, found = (int(total) for total in counts.sum(axis=0))
        return {
            "faces": labelled,
            "found": ratio(found, labelled),
            "recall": ratio(right, labelled),
            "precision": ratio(right, predicted),
            "f1": ratio(2 * right, predicted + labelled),
            "f1_interval": f1_of_draws(counts[:, :3]),
        }
