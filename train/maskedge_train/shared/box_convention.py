"""Where labelled face boxes begin: at the eyebrows or at the forehead.

A network that learns boxes of both conventions draws boxes between the two, so a training uses one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from maskedge.boxes import box_iou
from maskedge.errors import UsageError
from maskedge.labelled_boxes import LabelledBox, format_boxes, read_boxes
from maskedge.support.files import write_file
from maskedge.types import Box

from .box_file import COLUMN, CONVENTIONS, EYEBROWS, FOREHEAD, BoxFile

_FOREHEAD_SHARE = 0.12
"""Height from eyebrows to forehead, relative to the height of a box that begins at the eyebrows.

The measured medians of several sources are 0.08 to 0.18.
"""
_SAME = 0.8
"""Overlap (IoU) above which two boxes of one file are the same face."""
_SAME_ACROSS = 0.4
"""This overlap for boxes that were drawn in different conventions."""


def common_convention(files: Iterable[BoxFile], wanted: str | None = None) -> str | None:
    """Return the convention to which the boxes of all files are moved.

    Args:
        files: The files of boxes.
        wanted: Convention that is required; None for that of the files: `forehead` if one of them
            has it.

    Returns:
        The convention; None if no file states one and none is wanted. Boxes are not moved then.

    Raises:
        UsageError: A file does not state its convention, but another file does or one is wanted.
    """
    stated = {file: file.find_convention() for file in files}
    known = {convention for convention in stated.values() if convention}
    if not (known or wanted):
        return None
    if silent := [file.path for file, convention in stated.items() if convention is None]:
        others = f"the model's boxes begin at the {wanted}" if wanted else "other files of boxes do"
        raise UsageError(
            f"{silent[0]} does not state where its boxes begin, but {others}: "
            f"give {' or '.join(f'{silent[0].name}={name}' for name in CONVENTIONS)}."
        )
    return wanted or (FOREHEAD if FOREHEAD in known else EYEBROWS)


def move_box(box: Box, convention: str | None, target: str | None) -> Box:
    """Return a box in another convention, rounded like a file of boxes.

    Without both conventions, or with equal ones, the box stays as it is.
    """
    if convention == target or convention is None or target is None:
        return box
    x1, y1, x2, y2 = box
    share = _FOREHEAD_SHARE if target == FOREHEAD else -_FOREHEAD_SHARE / (1 + _FOREHEAD_SHARE)
    return x1, round(y1 - share * (y2 - y1), 1), x2, y2


def read_moved_boxes(file: BoxFile, target: str | None) -> dict[str, list[LabelledBox]]:
    """Return the labelled boxes of each picture in the convention `target`.

    Raises:
        UsageError: The file cannot be read, or has no labelled box.
    """
    convention = file.find_convention()
    return {
        image: [LabelledBox(move_box(face.box, convention, target), face.label) for face in faces]
        for image, faces in read_boxes(file.path).items()
    }


def correct_labels(faces: Sequence[LabelledBox], right: Sequence[LabelledBox], *, same_boxes: bool) -> tuple[LabelledBox, ...]:
    """Return the labelled faces of a picture, replaced and extended by reviewed ones.

    Args:
        faces: The labelled faces.
        right: The reviewed faces.
        same_boxes: Both were drawn in one convention: a reviewed face replaces the same box.
            Otherwise only the label of the face with the largest overlap is replaced, because its
            box was drawn in the convention in use.
    """
    if same_boxes:
        return (*(face for face in faces if all(box_iou(face.box, known.box) < _SAME for known in right)), *right)
    pairs = [(box_iou(face.box, known.box), row, column) for row, known in enumerate(right) for column, face in enumerate(faces)]
    # Each reviewed face belongs to one labelled face, the pair with the largest overlap first.
    owners: dict[int, int] = {}
    for overlap, row, column in sorted(pairs, reverse=True):
        if overlap >= _SAME_ACROSS and row not in owners.values() and column not in owners:
            owners[column] = row
    kept = [LabelledBox(face.box, right[owners[index]].label) if index in owners else face for index, face in enumerate(faces)]
    return (*kept, *(known for row, known in enumerate(right) if row not in owners.values()))


def write_stated_boxes(path: Path, boxes: Iterable[tuple[str, LabelledBox]], convention: str | None) -> None:
    """Write `(image, labelled box)` rows as CSV, with the column `convention` if it is known.

    Raises:
        OutputError: The file cannot be written.
    """
    write_file(path, format_stated_boxes(boxes, convention))


def format_stated_boxes(boxes: Iterable[tuple[str, LabelledBox]], convention: str | None) -> bytes:
    """Return the bytes of the file of `write_stated_boxes`."""
    return format_boxes(boxes, {} if convention is None else {COLUMN: convention})


def count_moved(files: Iterable[BoxFile], target: str | None) -> Mapping[Path, str]:
    """Return the files whose boxes are moved to `target`, with their own convention."""
    own = {file.path: file.find_convention() for file in files}
    return {path: convention for path, convention in own.items() if convention and target and convention != target}
