"""Labelled pictures and backgrounds, each scored once by several pipelines at the lowest threshold.

The faces at a higher threshold are a subset of these, so curves need no further run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from maskedge.boxes import box_iou, lies_in, side
from maskedge.errors import UsageError
from maskedge.labelled_boxes import LabelledBox, is_held_out_name, read_boxes
from maskedge.modelfile.contract import origin_digest
from maskedge.support.files import is_file
from maskedge.support.pictures import list_pictures, read_picture
from maskedge.support.text import displayable
from maskedge.types import Face, Image
from maskedge.vision.detectors import load_detector
from maskedge.vision.pipeline import MaskDetector, ScoredFace, as_bgr

from .detection_counts import LEAST_SIDE, LONGEST_SIDE, THREE, TWO

LOWEST = 0.02
"""Face threshold at which pictures are scored."""
_SAME_BOX = 0.5
"""Overlap (IoU) from which a reviewed box and a labelled box are the same face."""
_SHOWN = 4
"""Labels that a message names."""


Origins: TypeAlias = dict[Path, tuple[Path, str]]
"""File of boxes and column `image` of each picture, by its resolved path."""


@dataclass(frozen=True, slots=True)
class PictureSet:
    """The pictures of a measurement.

    Attributes:
        scenes: Labelled boxes by the path of the picture.
        backgrounds: Pictures without people.
        names: The column `image` of each scene.
    """

    scenes: dict[Path, list[LabelledBox]]
    backgrounds: list[Path]
    names: dict[Path, str]


def collect_pictures(
    scenes: Sequence[Path] = (),
    backgrounds: Sequence[Path] = (),
    *,
    held_out: bool = False,
    test_scenes: Sequence[Path] = (),
    relabel: Path | None = None,
) -> PictureSet:
    """Collect labelled pictures and backgrounds.

    Args:
        scenes: CSV files of labelled boxes.
        backgrounds: Folders of pictures without people.
        held_out: Use only the pictures of `scenes` and `backgrounds` that trainings hold out.
        test_scenes: CSV files of which every picture is used.
        relabel: CSV file of reviewed boxes; its label replaces that of the same box. Labels that
            are not measured, such as `unlabelled`, exclude the face.

    Raises:
        UsageError: A file cannot be used, two files have boxes of the same picture, nothing is left
            to measure, or `relabel` is given and two pictures have the same name.
    """
    found: dict[Path, list[LabelledBox]] = {}
    names: dict[Path, str] = {}
    origins: Origins = {}
    for path, all_pictures in [*((path, not held_out) for path in scenes), *((path, True) for path in test_scenes)]:
        for name, faces in read_boxes(path).items():
            if all_pictures or is_held_out_name(f"scenes/{name}"):
                picture = place_picture(path, name, origins)
                found[picture], names[picture] = faces, name
    if not found:
        raise UsageError("no labelled picture is left to measure: give other --scenes, or leave --held-out out.")
    if relabel is not None:
        check_names(names, relabel)
        right = relabel_boxes({names[path]: faces for path, faces in found.items()}, relabel)
        found = {path: right[names[path]] for path in found}
    # A folder that is given twice counts once.
    empty = list({path.resolve(): path for folder in backgrounds for path in list_pictures(folder)}.values())
    if held_out:
        empty = [path for path in empty if is_held_out_name(f"backgrounds/{path.name}")]
    check_pictures(found, empty)
    return PictureSet(found, empty, names)


def place_picture(file: Path, name: str, origins: Origins) -> Path:
    """Return the path of a labelled picture.

    Args:
        file: The file of boxes.
        name: The column `image`.
        origins: File and name of each picture so far. The new picture is added.

    Raises:
        UsageError: The picture has another file or name already, whose boxes would be replaced.
    """
    path = file.parent / name
    first, known = origins.setdefault(path.resolve(), (file, name))
    if first != file:
        raise UsageError(
            f"{displayable(first)} and {displayable(file)} both have boxes of {displayable(name)}: "
            "leave one file out, or the picture in one of them."
        )
    if known != name:
        raise UsageError(
            f"{displayable(file)} has two names of one picture, {displayable(known)} and {displayable(name)}: use one."
        )
    return path


def check_names(names: Mapping[Path, str], path: Path) -> None:
    """Check that a file can tell the pictures apart by their names.

    Args:
        names: The column `image` of each picture.
        path: The file of boxes of these pictures.

    Raises:
        UsageError: Two pictures have the same name.
    """
    for name, count in Counter(names.values()).items():
        if count > 1:
            raise UsageError(
                f"{path} may mean {count} pictures with {displayable(name)}, of different --scenes: give one at a time."
            )


def check_pictures(scenes: Mapping[Path, Sequence[LabelledBox]], backgrounds: Iterable[Path]) -> None:
    """Check that every picture is a file, that there is a face to measure, and that no background shows labelled people.

    Raises:
        UsageError: A picture is no file or given as both, or no face has a label that is measured.
    """
    if missing := next((path for path in scenes if not is_file(path)), None):
        read_scene(missing, ())  # names the cause, now and not after the pictures before it
    both = {path.resolve() for path in scenes} & {path.resolve() for path in backgrounds}
    if both:
        raise UsageError(
            f"{displayable(min(both))} has labelled faces and is in --backgrounds, which show no people: leave it out of one."
        )
    labels = {face.label for faces in scenes.values() for face in faces}
    if not labels & set(THREE):
        shown = ", ".join(map(displayable, sorted(labels)[:_SHOWN]))
        raise UsageError(f"no face has a label that is measured ({', '.join(THREE)}); the labels are {shown}: correct them.")


def read_scene(path: Path, boxes: Iterable[LabelledBox]) -> Image:
    """Read a picture, and check that its labelled boxes lie in it.

    Returns:
        uint8 `[H, W, 3]`, BGR.

    Raises:
        UsageError: The picture cannot be read, or a box lies outside of it.
    """
    try:
        image = as_bgr(read_picture(path))
    except ValueError as error:
        raise UsageError(f"{path} {error}: repair or remove it, because every pipeline must process the same pictures.") from error
    height, width = image.shape[:2]
    for labelled in boxes:
        if not lies_in(labelled.box, (width, height)):
            numbers = " ".join(f"{number:g}" for number in labelled.box)
            raise UsageError(f"{path} has a box outside of its {width} x {height} pixels: {numbers}; correct or remove it.")
    return image


def relabel_boxes(boxes: Mapping[str, list[LabelledBox]], path: Path) -> dict[str, list[LabelledBox]]:
    """Return labelled boxes with the labels of a CSV file of reviewed boxes.

    Args:
        boxes: The labelled boxes of each picture, by the column `image`.
        path: The reviewed boxes. A box that is no labelled one is added, as in training. With the
            label `unlabelled`, predictions on it do not count. Boxes of other pictures are ignored.

    Raises:
        UsageError: The file cannot be read, or has no box of these pictures.
    """
    right = read_boxes(path)
    if not right.keys() & boxes.keys():
        raise UsageError(f"{path} has no box of the measured pictures: give the file that belongs to --scenes.")
    return {name: _reviewed(faces, right.get(name, [])) for name, faces in boxes.items()}


def _reviewed(faces: Sequence[LabelledBox], right: Sequence[LabelledBox]) -> list[LabelledBox]:
    """Return the faces of a picture with the labels of the reviewed boxes on them, and the others of these."""
    relabelled = []
    for face in faces:
        best = max(right, key=lambda known: box_iou(known.box, face.box), default=None)
        same = best is not None and box_iou(best.box, face.box) >= _SAME_BOX
        relabelled.append(LabelledBox(face.box, best.label) if best is not None and same else face)
    added = [known for known in right if all(box_iou(known.box, face.box) < _SAME_BOX for face in faces)]
    return [*relabelled, *added]


def source_of(name: str) -> str:
    """Return the source of a picture: its file name up to the first digit or underscore."""
    return re.split(r"[_\d]", Path(name).name, maxsplit=1)[0]


@dataclass(frozen=True, slots=True)
class ScoredPicture:
    """The scored faces of a picture by one pipeline.

    Attributes:
        path: The picture.
        faces: The scored faces with any of the labels.
        of_two: The same faces with the likelier of the two labels with and without a mask.
        scale: Factor from pixels of the picture to pixels of the matching rule.
    """

    path: Path
    faces: list[ScoredFace]
    of_two: list[Face]
    scale: float

    def select(self, threshold: float) -> tuple[list[Face], list[Face]]:
        """Return the faces from a threshold on: with any of the labels, and with two labels."""
        rows = [row for row, face in enumerate(self.faces) if face.face_score >= threshold]
        return [self.faces[row].face for row in rows], [self.of_two[row] for row in rows]

    def false_alarms(self, threshold: float) -> int:
        """Return the number of measured faces from a threshold on, for a picture without people."""
        return sum(face.face_score >= threshold and side(face.face.box) * self.scale >= LEAST_SIDE for face in self.faces)


class Scorer:
    """One pair of detector and classifier.

    Args:
        detector: Name or file of the detector.
        model: Classifier file; None for the bundled one.

    Raises:
        ModelError: A file is refused.
        UsageError: No detector has that name.
    """

    def __init__(self, detector: str, model: Path | None = None) -> None:
        self.detector = MaskDetector(model, load_detector(detector))
        has_more_labels = set(TWO) < set(self.detector.labels)
        self._of_two = MaskDetector(model, self.detector.detector, labels=TWO) if has_more_labels else self.detector

    @property
    def name(self) -> str:
        """Name of the detector, under which a classifier file carries its thresholds."""
        return self.detector.detector_name

    def score(self, path: Path, image: Image) -> ScoredPicture:
        """Score a picture, uint8 `[H, W, 3]` BGR."""
        found = self.detector.detect(image, LOWEST)
        of_two = [self._of_two.label_face(face.face.box, face.probabilities) for face in found]
        return ScoredPicture(path, found, of_two, min(1.0, LONGEST_SIDE / max(image.shape[:2])))

    def facts(self) -> dict[str, str]:
        """Return the facts of the classifier file for a report."""
        classifier = self.detector.classifier
        origin = origin_digest(classifier.contract.card, classifier.path.read_bytes())
        return {"model": classifier.path.name, "origin_sha256": origin}


def score_pictures(
    pictures: PictureSet, scorers: Sequence[Scorer], progress: Callable[[int], None] = lambda total: None
) -> Iterator[tuple[Path, Image, list[ScoredPicture]]]:
    """Read each picture, the scenes first, and score it by every pipeline.

    Args:
        pictures: The pictures.
        scorers: The pipelines.
        progress: Called after each picture with the total number of pictures.

    Yields:
        The path, the picture as uint8 `[H, W, 3]` BGR, and its scores by pipeline.

    Raises:
        UsageError: A picture cannot be read, or a box lies outside of its picture.
    """
    paths = [*pictures.scenes, *pictures.backgrounds]
    for path in paths:
        image = read_scene(path, pictures.scenes.get(path, ()))
        yield path, image, [scorer.score(path, image) for scorer in scorers]
        progress(len(paths))
