"""A set of training pictures with turned and covered faces, made from scenes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from maskedge.boxes import box_iou
from maskedge.errors import OutputError, UsageError
from maskedge.labelled_boxes import UNLABELLED, LabelledBox, is_held_out_name
from maskedge.support.pictures import read_picture
from maskedge.support.text import displayable
from maskedge.types import Box, Image
from maskedge_train.data.dataset import DataSet, Picture
from maskedge_train.data.negatives import random_for
from maskedge_train.data.split import is_held_out
from maskedge_train.shared.box_convention import write_stated_boxes

from .covered_faces import COVERS, cover_face
from .landmarks import FaceLandmarks, Points, head_pose
from .turned_faces import turn_face, turned_box

BOXES, FOLDER = "boxes.csv", "made"
"""The file of labelled boxes, and the folder of the pictures beside it."""
_MADE_NAME = re.compile(r".+_(turned|covered)[0-9]+x*\.jpg", re.DOTALL)
"""Names of the pictures of a set (`_free_name`)."""
_LEAST_SIDE = 36
"""Shorter side of the smallest face that is turned, in pixels."""
_SAME_BOX = 0.9
"""Overlap (IoU) above which a box of the landmarks is a labelled box."""
_LEAST_OVERLAP = 0.5
"""Least overlap (IoU) of landmarks with their box."""
_SPACE, _MOST_COVERED = 0.3, 0.1
"""A face stays as it is if its box, wider by `_SPACE` on each side, covers more than `_MOST_COVERED` of
another face: turning would distort that face."""
_FEW = 3
"""Pictures with at most this number of faces to turn give two turned pictures, others one."""
_QUALITY = 93
"""JPEG quality of the pictures."""


@dataclass(frozen=True)
class Made:
    """Numbers of the pictures of a set, and its boxes.

    Attributes:
        turned_pictures: Number of pictures with turned faces.
        covered_pictures: Number of pictures with covered faces.
        boxes: The file of labelled boxes.
    """

    turned_pictures: int
    covered_pictures: int
    boxes: Path


def make_pictures(
    dataset: DataSet, landmarks: Mapping[str, Sequence[FaceLandmarks]], out: Path, progress: Callable[[], None] = lambda: None
) -> Made:
    """Make pictures with turned faces and pictures with covered faces, and write their labelled boxes.

    Pictures that are held out from training are left out, and none of the new ones is held out.

    Args:
        dataset: Scenes with labelled boxes.
        landmarks: Landmarks of their faces, by the column `image`. Faces without landmarks stay as they are.
        out: Folder for `boxes.csv` and the folder `made`, which is replaced.
        progress: Called after each picture.

    Raises:
        OutputError: A picture cannot be written.
        UsageError: No face has landmarks, or the folder `made` has a scene or other files than those of an earlier set.
    """
    rows: list[tuple[str, LabelledBox]] = []
    numbers = {"turned": 0, "covered": 0}
    taken: set[str] = set()
    folder = (out / FOLDER).resolve()
    if any(folder in picture.path.resolve().parents for picture in dataset.pictures):
        raise UsageError(f"the scenes have pictures of {displayable(out / FOLDER)}, which would be replaced: give another --out.")
    if other := next((path for path in folder.rglob("*") if not _MADE_NAME.fullmatch(path.name)), None):
        raise UsageError(
            f"{displayable(out / FOLDER)} has {displayable(other.name)}, which edge-train did not make and which would be "
            "removed: give another --out."
        )
    own = [
        (picture, _free_faces(picture, landmarks.get(picture.name.removeprefix("scenes/"), ())))
        for picture in dataset.pictures
        if not is_held_out(picture)
    ]
    if not any(found for _, found in own):
        raise UsageError("no face of the scenes has landmarks: give the file that was made from these scenes.")
    # Boxes of an earlier set do not fit the new pictures: an interrupted run must not leave both.
    with suppress(OSError):
        (out / BOXES).unlink()
    shutil.rmtree(folder, ignore_errors=True)
    for picture, found in own:
        progress()
        if not found:
            continue
        image = read_picture(picture.path)
        for kind, number in (*(("turned", number) for number in range(2 if len(found) <= _FEW else 1)), ("covered", 0)):
            random = random_for(f"{picture.name} {kind} {number}", 0)
            changed, boxes = (_turn_faces if kind == "turned" else _cover_faces)(image, found, random)
            name = _free_name(picture, kind, number, taken)
            taken.add(name)
            _write(out / name, changed)
            rows += [(name, LabelledBox(boxes.get(face.box, face.box), face.label)) for face in picture.faces]
            rows += [(name, LabelledBox(box, UNLABELLED)) for box in picture.unlabelled]
            numbers[kind] += 1
    write_stated_boxes(out / BOXES, rows, dataset.convention)
    return Made(numbers["turned"], numbers["covered"], out / BOXES)


def _free_faces(picture: Picture, landmarks: Sequence[FaceLandmarks]) -> dict[Box, Points]:
    """Return the landmarks of the faces that can be turned, by their labelled box."""
    every = [*(face.box for face in picture.faces), *picture.unlabelled]
    found: dict[Box, Points] = {}
    for face in picture.faces:
        x1, y1, x2, y2 = face.box
        if min(x2 - x1, y2 - y1) < _LEAST_SIDE:
            continue
        wide, tall = _SPACE * (x2 - x1), _SPACE * (y2 - y1)
        around = (x1 - wide, y1 - tall, x2 + wide, y2 + tall)
        if any(_share_within(other, around) > _MOST_COVERED for other in every if other != face.box):
            continue
        own = next((known.points for known in landmarks if box_iou(known.box, face.box) > _SAME_BOX), None)
        if own is not None and box_iou(_extent(own), face.box) > _LEAST_OVERLAP:
            found[face.box] = own
    return found


def _extent(points: Points) -> Box:
    (x1, y1), (x2, y2) = points[:, :2].min(0).tolist(), points[:, :2].max(0).tolist()
    return x1, y1, x2, y2


def _share_within(box: Box, other: Box) -> float:
    """Return the share of a box that lies in another."""
    wide = min(box[2], other[2]) - max(box[0], other[0])
    tall = min(box[3], other[3]) - max(box[1], other[1])
    return max(0.0, wide) * max(0.0, tall) / ((box[2] - box[0]) * (box[3] - box[1]))


def _draw_turn(points: Points, random: np.random.Generator) -> tuple[float, float]:
    """Draw how far to turn a face: mostly aside, farther in its own direction, otherwise up or down."""
    now = head_pose(points)[0]
    direction = float(np.sign(now)) if abs(now) > 10 else float(random.choice([-1, 1]))
    kind = random.random()
    yaw = direction * max(15.0, min(float(random.uniform(30, 62)), 82 - abs(now))) if kind < 0.75 else 0.0
    bent = float(random.choice([1, 1, 1, -1]) * random.uniform(15, 33))
    return yaw, bent if kind >= 0.75 else bent / 2 if kind < 0.2 else 0.0


def _turn_faces(image: Image, faces: Mapping[Box, Points], random: np.random.Generator) -> tuple[Image, dict[Box, Box]]:
    """Turn all faces of a picture. Returns the picture, and the new box of each box."""
    boxes: dict[Box, Box] = {}
    for box, points in faces.items():
        image, after = turn_face(image, points, *_draw_turn(points, random))
        boxes[box] = turned_box(box, points, after)
    return image, boxes


def _cover_faces(image: Image, faces: Mapping[Box, Points], random: np.random.Generator) -> tuple[Image, dict[Box, Box]]:
    """Cover most faces of a picture, and turn some of them. Returns the picture, and the new box of each turned box."""
    kinds, shares = list(COVERS), [share for share, _ in COVERS.values()]
    boxes: dict[Box, Box] = {}
    for box, points in faces.items():
        if random.random() < 0.85:
            image = cover_face(image, points, str(random.choice(kinds, p=shares)), random)
        if random.random() < 0.4:
            yaw, pitch = _draw_turn(points, random)
            image, after = turn_face(image, points, 0.7 * yaw, 0.8 * pitch)
            boxes[box] = turned_box(box, points, after)
    return image, boxes


def _free_name(picture: Picture, kind: str, number: int, taken: Container[str]) -> str:
    """Return a new name that is not held out and begins like that of the picture: `made/NAME_turned0.jpg`."""
    names = (f"{FOLDER}/{PurePosixPath(picture.name).stem}_{kind}{number}{'x' * times}.jpg" for times in count())
    return next(name for name in names if name not in taken and not is_held_out_name(f"scenes/{name}"))


def _write(path: Path, image: Image) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}): free some space, or give another folder.") from error
