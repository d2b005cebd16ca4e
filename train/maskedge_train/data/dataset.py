"""The pictures that training knows: folders by label, whole scenes with labelled boxes, backgrounds without people."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from maskedge.boxes import box_iou
from maskedge.errors import UsageError
from maskedge.labelled_boxes import UNLABELLED, LabelledBox, read_boxes
from maskedge.modelfile.crop import CropRule
from maskedge.support.pictures import list_pictures, read_picture
from maskedge.types import NOT_A_FACE, Box

from .hashing import perceptual_hashes, polar_thumbnail

FACE_LABELS = ("with_mask", "without_mask", "incorrect_mask")
LABELS = (*FACE_LABELS, NOT_A_FACE)
"""Every label, in the order of a model's output; a model has those of them that its data has."""

CROP = CropRule()
"""How the project's models want faces cut."""

_SAME = 0.8
"""Overlap (IoU) from which two boxes are the same face."""


@dataclass(frozen=True)
class Picture:
    """One picture file.

    Attributes:
        name: Its source and its path in it, as in `faces/with_mask/1.jpg`: the same wherever the data lies.
        path: Where the file is.
        source: `faces` (a folder a label), `scenes` (labelled boxes) or `backgrounds` (no people).
        faces: Its labelled faces.
        size: Width and height in pixels.
        sha256: Digest of the file's bytes.
        hashes: uint64 `[2]`, perceptual hash of the picture and of its mirror image.
        polar: float32 `[48, 16]`, see `hashing.polar_thumbnail`.
        unlabelled: Faces that are neither taught nor taken for anything else (`boxes.UNLABELLED`).
        located: Whether the boxes are known; False where the picture as a whole stands for its one face.
    """

    name: str
    path: Path
    source: str
    faces: tuple[LabelledBox, ...]
    size: tuple[int, int]
    sha256: str
    hashes: npt.NDArray[np.uint64]
    polar: npt.NDArray[np.float32]
    unlabelled: tuple[Box, ...] = ()
    located: bool = True


@dataclass(frozen=True)
class DataSet:
    """The readable pictures of one or several sources.

    Attributes:
        pictures: The pictures, source by source.
        refused: Name and reason for each file or box that could not be used.
    """

    pictures: list[Picture]
    refused: list[tuple[str, str]] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """SHA-256 over names, bytes and boxes: the same data gives the same digest, wherever it lies."""
        lines = sorted(
            json.dumps(
                [
                    picture.name,
                    picture.sha256,
                    [(face.box, face.label) for face in picture.faces] + [(box, UNLABELLED) for box in picture.unlabelled],
                ]
            )
            for picture in self.pictures
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that occur, in the order of a model's output. Pictures without people bring `not_a_face`."""
        present = {face.label for picture in self.pictures for face in picture.faces}
        if any(picture.source == "backgrounds" for picture in self.pictures):
            present.add(NOT_A_FACE)
        return tuple(label for label in LABELS if label in present)

    def take(self, rows: Iterable[int]) -> DataSet:
        """Give some of the pictures."""
        return DataSet([self.pictures[row] for row in rows])

    def to_card(self) -> dict[str, Any]:
        """Give what a model's card tells of the data."""
        return {"digest": self.digest, "pictures": len(self.pictures), "refused": len(self.refused), **self.counts()}

    def counts(self) -> dict[str, int]:
        """Count the labelled faces by label, and the pictures by source."""
        faces = [face.label for picture in self.pictures for face in picture.faces]
        sources = [picture.source for picture in self.pictures]
        return {label: faces.count(label) for label in FACE_LABELS} | {name: sources.count(name) for name in sorted(set(sources))}


def labels_to_learn(dataset: DataSet, negatives: str) -> tuple[str, ...]:
    """Give the labels of a model that learns from a data set, in the order of its output.

    Args:
        dataset: The pictures.
        negatives: `auto`: `not_a_face` is learned in any case; `given`: where there are pictures without people; `none`: never.
    """
    own = {*dataset.labels, NOT_A_FACE} if negatives == "auto" else set(dataset.labels)
    return tuple(label for label in LABELS if label in own and not (label == NOT_A_FACE and negatives == "none"))


def times_shown(names: Iterable[str], oversample: Sequence[tuple[str, int]]) -> npt.NDArray[np.int64]:
    """Give how often pictures are shown, int64 `[N]`: once, times the factor of each pattern that is found in their file name."""
    rules = [(re.compile(pattern), factor) for pattern, factor in oversample]
    files = [PurePosixPath(name).name for name in names]
    return np.array([math.prod(factor for pattern, factor in rules if pattern.search(file)) for file in files], np.int64)


@dataclass(frozen=True)
class PictureFile:
    """A file that is meant as a picture, and what its place in the data says of it.

    Attributes:
        name: See `Picture`.
        path: Where the file is.
        source: See `Picture`.
        label: Label of its one face, where the folder tells it.
        faces: Its labelled faces, as far as their boxes are known.
    """

    name: str
    path: Path
    source: str
    label: str | None = None
    faces: tuple[LabelledBox, ...] = ()


def whole_picture(size: tuple[int, int], rule: CropRule = CROP) -> tuple[float, float, float, float]:
    """Give the box whose crop is the whole picture: what stands for the face where nobody has looked for it."""
    width, height = size
    side = max(width, height) / (1 + 2 * rule.margin)
    return (width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2


def load_dataset(
    faces: Path | None = None,
    *,
    face_boxes: Path | Mapping[str, Box] | None = None,
    scenes: Iterable[Path] = (),
    relabel_scenes: Path | None = None,
    backgrounds: Path | None = None,
    least_labels: int = 2,
) -> DataSet:
    """Read every picture once: its size, its digest, its hashes, its labelled faces.

    Args:
        faces: Folder with one sub-folder of pictures a label; `with_mask` and `without_mask` must be there.
        face_boxes: Where the face of each of those pictures is, by its name in `faces`, or a file that says so
            (`edge-train localise`); the whole picture where it does not say.
        scenes: CSV files of labelled boxes in whole pictures.
        relabel_scenes: Another such file, of boxes that were looked at: where it has the box of a labelled face, its label counts;
            its other boxes are faces too. `boxes.UNLABELLED` leaves a face out.
        backgrounds: Folder of pictures without people.
        least_labels: How many labels there must be: two to train on, one to measure on.

    Raises:
        UsageError: A folder or file is missing, empty, or holds something else.
    """
    files: list[PictureFile] = []
    if faces is not None:
        files += _folder_files(faces, face_boxes)
    files += _scene_files(scenes, relabel_scenes)
    if backgrounds is not None:
        found = [PictureFile(f"backgrounds/{path.name}", path, "backgrounds") for path in list_pictures(backgrounds)]
        if not found:
            raise UsageError(f"{backgrounds} holds no picture: backgrounds are pictures without people.")
        files += found

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(load_picture, files))
    pictures = [picture for picture, _ in results if picture is not None]
    refused = [(file.name, reason) for file, (_, reasons) in zip(files, results, strict=True) for reason in reasons]
    if faces is not None:
        for label in FACE_LABELS[:2]:
            if not any(picture.source == "faces" and picture.faces[0].label == label for picture in pictures):
                raise UsageError(f"{faces / label} holds no readable picture: both classes are needed to train.")
    dataset = DataSet(pictures, refused)
    if len(dataset.labels) < least_labels:
        only = f"only the label {dataset.labels[0]}" if dataset.labels else "no labelled face that can be used"
        raise UsageError(f"the data has {only}: at least {least_labels} labels are needed.")
    return dataset


def check_folders(root: Path) -> None:
    """Refuse a folder data set that lacks a label.

    Raises:
        UsageError: It has no folder of a label, or no picture in it.
    """
    for label in FACE_LABELS[:2]:
        if not (root / label).is_dir():
            raise UsageError(
                f"{root} has no folder {label!r}: there must be one sub-folder of pictures a label ({', '.join(FACE_LABELS[:2])})."
            )
        if not list_pictures(root / label):
            raise UsageError(f"{root / label} holds no picture: both classes are needed to train.")


def _folder_files(root: Path, face_boxes: Path | Mapping[str, Box] | None) -> list[PictureFile]:
    if isinstance(face_boxes, Path):
        boxes = {name: faces[0].box for name, faces in read_boxes(face_boxes).items()}
    else:
        boxes = dict(face_boxes or {})
    check_folders(root)
    files: list[PictureFile] = []
    for label in FACE_LABELS:
        folder = root / label
        if not folder.is_dir():
            continue
        for path in list_pictures(folder):
            name = path.relative_to(root).as_posix()
            # The folder says the label; the file of boxes says where.
            found = (LabelledBox(boxes[name], label),) if name in boxes else ()
            files.append(PictureFile(f"faces/{name}", path, "faces", label, found))
    unknown = set(boxes) - {file.name.removeprefix("faces/") for file in files}
    if unknown:
        raise UsageError(
            f"{face_boxes} speaks of {len(unknown)} pictures that {root} does not have, as {min(unknown)}: wrong file?"
        )
    return files


def _scene_files(paths: Iterable[Path], relabel: Path | None) -> list[PictureFile]:
    scenes = [(path, image, faces) for path in paths for image, faces in _read_scenes(path).items()]
    right = _read_scenes(relabel) if relabel else {}
    if unknown := set(right) - {image for _, image, _ in scenes}:
        raise UsageError(f"{relabel} has boxes of {min(unknown)}, which the scenes do not have: wrong file?")
    return [
        PictureFile(f"scenes/{image}", path.parent / image, "scenes", faces=_corrected(faces, right.get(image, [])))
        for path, image, faces in scenes
    ]


def _read_scenes(path: Path) -> dict[str, list[LabelledBox]]:
    boxes = read_boxes(path)
    if unknown := {face.label for faces in boxes.values() for face in faces} - {*FACE_LABELS, UNLABELLED}:
        raise UsageError(f"{path} has the label {min(unknown)!r}; known are {', '.join((*FACE_LABELS, UNLABELLED))}.")
    return boxes


def _corrected(faces: Sequence[LabelledBox], right: Sequence[LabelledBox]) -> tuple[LabelledBox, ...]:
    """Give the labelled faces, those of `right` in place of the same ones and besides."""
    others = [face for face in faces if all(box_iou(face.box, known.box) < _SAME for known in right)]
    return (*others, *right)


def load_picture(file: PictureFile) -> tuple[Picture | None, list[str]]:
    """Read a picture, and say what of it could not be used: the whole file (then there is no picture) or single boxes."""
    try:
        image = read_picture(file.path)
        digest = hashlib.sha256(file.path.read_bytes()).hexdigest()
    except ValueError as error:
        return None, [str(error)]
    except OSError as error:
        return None, [f"cannot be read ({error.strerror})"]
    height, width = image.shape[:2]
    faces: list[LabelledBox] = []
    unlabelled: list[Box] = []
    refused: list[str] = []
    for face in file.faces:
        x1, y1, x2, y2 = face.box
        inside = min(x2, width) - max(x1, 0), min(y2, height) - max(y1, 0)
        # NaN compares as false.
        if not (min(inside) > 1 and x2 - x1 <= 4 * inside[0] and y2 - y1 <= 4 * inside[1]):
            refused.append(f"has a box outside of its {width} x {height} pixels: {x1:g} {y1:g} {x2:g} {y2:g}")
        elif face.label == UNLABELLED:
            unlabelled.append(face.box)
        else:
            faces.append(face)
    located = bool(faces) or not file.label
    if file.label and not faces:
        faces = [LabelledBox(whole_picture((width, height)), file.label)]
    picture = Picture(
        file.name,
        file.path,
        file.source,
        tuple(faces),
        (width, height),
        digest,
        perceptual_hashes(image),
        polar_thumbnail(image),
        tuple(unlabelled),
        located,
    )
    return picture, refused
