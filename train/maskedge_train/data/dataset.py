"""Data sets: folders by label, scenes with labelled boxes, backgrounds without people."""

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

from maskedge.boxes import lies_in
from maskedge.errors import UsageError
from maskedge.labelled_boxes import UNLABELLED, LabelledBox
from maskedge.modelfile.crop import CropRule
from maskedge.support.pictures import list_pictures, read_picture
from maskedge.support.text import counted, displayable
from maskedge.types import NOT_A_FACE, Box
from maskedge_train.shared.box_convention import common_convention, correct_labels, read_moved_boxes
from maskedge_train.shared.box_file import BoxFile
from maskedge_train.shared.face_crop import CROP
from maskedge_train.shared.hashing import perceptual_hashes, polar_thumbnail

FACE_LABELS = ("with_mask", "without_mask", "incorrect_mask")
LABELS = (*FACE_LABELS, NOT_A_FACE)
"""All labels, in a model's output order. A model has the labels that occur in its data."""


@dataclass(frozen=True)
class Picture:
    """A picture of the data set.

    Attributes:
        name: Source and path within it, such as `faces/with_mask/1.jpg`. It does not depend on the
            data's location.
        path: Path of the file.
        source: `faces` (a folder per label), `scenes` (labelled boxes) or `backgrounds` (no
            people).
        faces: Its labelled faces.
        size: Width and height in pixels.
        sha256: Digest of the file's bytes.
        hashes: uint64 `[2]`, perceptual hash of the picture and of its mirror image.
        polar: float32 `[48, 16]`, see `hashing.polar_thumbnail`.
        unlabelled: Faces used neither as a face nor as a negative (`labelled_boxes.UNLABELLED`).
        located: True if the face boxes are known. Otherwise the whole picture is used as its one
            face.
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
        refused: Name and reason for each unusable file or box.
        convention: Convention of the boxes (`box_convention`); None if the files do not state it.
    """

    pictures: list[Picture]
    refused: list[tuple[str, str]] = field(default_factory=list)
    convention: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 over names, bytes and boxes, independent of the data's location."""
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
        """The labels that occur, in output order. Backgrounds contribute `not_a_face`."""
        present = {face.label for picture in self.pictures for face in picture.faces}
        if any(picture.source == "backgrounds" for picture in self.pictures):
            present.add(NOT_A_FACE)
        return tuple(label for label in LABELS if label in present)

    def take(self, rows: Iterable[int]) -> DataSet:
        """Return a data set of some of the pictures."""
        return DataSet([self.pictures[row] for row in rows], convention=self.convention)

    def to_card(self) -> dict[str, Any]:
        """Return the facts for the model card."""
        stated = {"convention": self.convention} if self.convention else {}
        return {"digest": self.digest, "pictures": len(self.pictures), "refused": len(self.refused), **stated, **self.counts()}

    def counts(self) -> dict[str, int]:
        """Count labelled faces by label, and pictures by source."""
        faces = [face.label for picture in self.pictures for face in picture.faces]
        sources = [picture.source for picture in self.pictures]
        return {label: faces.count(label) for label in FACE_LABELS} | {name: sources.count(name) for name in sorted(set(sources))}


def labels_to_learn(dataset: DataSet, negatives: str) -> tuple[str, ...]:
    """Return the labels of a model trained on a data set, in output order.

    Args:
        dataset: The pictures.
        negatives: `auto` always includes `not_a_face`, `given` includes it if there are pictures
            without people, `none` never.
    """
    own = {*dataset.labels, NOT_A_FACE} if negatives == "auto" else set(dataset.labels)
    return tuple(label for label in LABELS if label in own and not (label == NOT_A_FACE and negatives == "none"))


def times_shown(names: Iterable[str], oversample: Sequence[tuple[str, int]]) -> npt.NDArray[np.int64]:
    """Return how often each picture is listed in its category, int64 `[N]`.

    The value is 1, times the factor of each pattern found in the file name.
    """
    rules = [(re.compile(pattern), factor) for pattern, factor in oversample]
    files = [PurePosixPath(name).name for name in names]
    return np.array([math.prod(factor for pattern, factor in rules if pattern.search(file)) for file in files], np.int64)


@dataclass(frozen=True)
class PictureFile:
    """A picture file and its labels, before it is read.

    Attributes:
        name: See `Picture`.
        path: Path of the file.
        source: See `Picture`.
        label: Label of its one face, if given by the folder.
        faces: Its labelled faces with known boxes.
    """

    name: str
    path: Path
    source: str
    label: str | None = None
    faces: tuple[LabelledBox, ...] = ()


def whole_picture(size: tuple[int, int], rule: CropRule = CROP) -> tuple[float, float, float, float]:
    """Return the box whose crop is the whole picture, for a face without a known box."""
    width, height = size
    side = max(width, height) / (1 + 2 * rule.margin)
    return (width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2


def load_dataset(
    faces: Path | None = None,
    *,
    face_boxes: BoxFile | Mapping[str, Box] | None = None,
    scenes: Iterable[BoxFile] = (),
    relabel_scenes: BoxFile | None = None,
    backgrounds: Iterable[Path] = (),
    convention: str | None = None,
    min_labels: int = 2,
) -> DataSet:
    """Read all pictures: sizes, digests, hashes, labelled faces.

    Args:
        faces: Folder with one sub-folder of pictures per label; `with_mask` and `without_mask` are
            required.
        face_boxes: Face box of each picture by its name in `faces`, in the convention of the
            result, or a file of them (`edge-train localise`). A picture without an entry counts as
            one face as a whole.
        scenes: CSV files of labelled boxes in whole pictures.
        relabel_scenes: CSV file of reviewed boxes. Its label replaces that of the same box in
            `scenes`; its other boxes are added. `labelled_boxes.UNLABELLED` excludes a face.
        backgrounds: Folders of pictures without people.
        convention: Convention of the boxes (`common_convention`); None for that of the files.
        min_labels: Minimum number of labels: two for training, one for measuring.

    Raises:
        UsageError: A folder or file is missing, empty or of another kind, or two of them have
            pictures of the same name.
    """
    scenes = tuple(scenes)
    box_files = [file for file in (*scenes, relabel_scenes, face_boxes) if isinstance(file, BoxFile)]
    convention = common_convention(box_files, convention)
    files: list[PictureFile] = []
    if faces is not None:
        files += _folder_files(faces, face_boxes, convention)
    files += _scene_files(scenes, relabel_scenes, convention)
    for folder in backgrounds:
        found = [PictureFile(f"backgrounds/{path.name}", path, "backgrounds") for path in list_pictures(folder)]
        if not found:
            raise UsageError(f"{folder} contains no pictures: backgrounds are pictures without people.")
        files += found
    # Names identify pictures in splits, and determine which are held out.
    paths: dict[str, Path] = {}
    for file in files:
        if (other := paths.setdefault(file.name, file.path)) is not file.path:
            raise UsageError(f"{other} and {file.path} have the same name in the data, {file.name}: give each picture once.")

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(load_picture, files))
    pictures = [picture for picture, _ in results if picture is not None]
    refused = [(file.name, reason) for file, (_, reasons) in zip(files, results, strict=True) for reason in reasons]
    if faces is not None:
        for label in FACE_LABELS[:2]:
            if not any(picture.source == "faces" and picture.faces[0].label == label for picture in pictures):
                raise UsageError(f"{faces / label} contains no readable pictures: both classes are needed to train.")
    dataset = DataSet(pictures, refused, convention)
    if len(dataset.labels) < min_labels:
        only = f"only the label {dataset.labels[0]}" if dataset.labels else "no labelled face that can be used"
        needed = f"at least {counted(min_labels, 'label')} {'is' if min_labels == 1 else 'are'} needed"
        # A wrong path in a file of boxes refuses all of its pictures: one of them shows the cause.
        example = f" {counted(len(refused), 'fault')} in it, such as: {' '.join(refused[0])}." if refused else ""
        raise UsageError(f"the data has {only}: {needed}.{displayable(example)}")
    return dataset


def check_folders(root: Path) -> None:
    """Check that a data set's folder has pictures of each required label.

    Raises:
        UsageError: The folder of a label is missing or has no pictures.
    """
    for label in FACE_LABELS[:2]:
        if not (root / label).is_dir():
            raise UsageError(
                f"{root} has no folder {label!r}: there must be one sub-folder per label ({', '.join(FACE_LABELS[:2])})."
            )
        if not list_pictures(root / label):
            raise UsageError(f"{root / label} contains no pictures: both classes are needed to train.")


def _folder_files(root: Path, face_boxes: BoxFile | Mapping[str, Box] | None, convention: str | None) -> list[PictureFile]:
    if isinstance(face_boxes, BoxFile):
        boxes = {name: faces[0].box for name, faces in read_moved_boxes(face_boxes, convention).items()}
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
            # The folder determines the label, and the file of boxes determines the position.
            found = (LabelledBox(boxes[name], label),) if name in boxes else ()
            files.append(PictureFile(f"faces/{name}", path, "faces", label, found))
    unknown = set(boxes) - {file.name.removeprefix("faces/") for file in files}
    if unknown:
        given = face_boxes.path if isinstance(face_boxes, BoxFile) else "the list of face boxes"
        raise UsageError(
            f"{given} names {counted(len(unknown), 'picture')} that {root} does not have, such as {min(unknown)}: wrong file?"
        )
    return files


def _scene_files(files: Sequence[BoxFile], relabel: BoxFile | None, convention: str | None) -> list[PictureFile]:
    scenes = [(file, image, faces) for file in files for image, faces in _read_scenes(file, convention).items()]
    right = _read_scenes(relabel, convention) if relabel else {}
    if relabel and (unknown := set(right) - {image for _, image, _ in scenes}):
        raise UsageError(f"{relabel.path} has boxes of {min(unknown)}, which the scenes do not have: wrong file?")
    same_boxes = {file: relabel is not None and relabel.find_convention() == file.find_convention() for file in files}
    return [
        PictureFile(
            f"scenes/{image}",
            file.path.parent / image,
            "scenes",
            faces=correct_labels(faces, right.get(image, []), same_boxes=same_boxes[file]),
        )
        for file, image, faces in scenes
    ]


def _read_scenes(file: BoxFile, convention: str | None) -> dict[str, list[LabelledBox]]:
    boxes = read_moved_boxes(file, convention)
    if unknown := {face.label for faces in boxes.values() for face in faces} - {*FACE_LABELS, UNLABELLED}:
        raise UsageError(f"{file.path} has the label {min(unknown)!r}; known are {', '.join((*FACE_LABELS, UNLABELLED))}.")
    return boxes


def load_picture(file: PictureFile) -> tuple[Picture | None, list[str]]:
    """Read a picture.

    Returns:
        The picture, or None if the file is unusable, and the reasons for all that was refused: the
            file or single boxes.
    """
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
        if not lies_in(face.box, (width, height)):
            place = "of one pixel or less" if min(x2 - x1, y2 - y1) <= 1 else f"outside of its {width} x {height} pixels"
            refused.append(f"has a box {place}: {x1:g} {y1:g} {x2:g} {y2:g}")
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
