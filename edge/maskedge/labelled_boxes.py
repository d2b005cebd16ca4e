"""Labels in CSV files: one row per box or one row per picture.

Columns of a file of boxes: image (relative to the file's folder), xmin, ymin, xmax, ymax (pixels),
label.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskedge.support.files import write_file

from .errors import UsageError
from .types import Box

COLUMNS = ("image", "xmin", "ymin", "xmax", "ymax", "label")
UNLABELLED = "unlabelled"
"""Label of a face without a usable label. The box counts neither as a face nor as `not_a_face`."""

HELD_OUT = 0.1
"""Share of the scenes and backgrounds that is held out from every training, 0 to 1."""


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """A face of a picture: box (x1, y1, x2, y2 in pixels of the picture) and label."""

    box: Box
    label: str


def is_held_out_name(name: str) -> bool:
    """Return True if the picture of this name is held out from every training.

    The result depends only on the name, so trainings and benchmarks agree.

    Args:
        name: `scenes/` and the path in the CSV file, or `backgrounds/` and the file name.
    """
    return int(hashlib.sha256(f"detector {name}".encode()).hexdigest()[:8], 16) < HELD_OUT * 2**32


def move_boxes(
    boxes: npt.NDArray[np.float32], linear: npt.NDArray[np.float64], shift: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Transform the boxes of faces by an affine map.

    A face fills its box as an ellipse does. The results are the boxes around the transformed
    ellipses.

    Args:
        boxes: float32 `[F, 4]`, x1, y1, x2, y2.
        linear: float64 `[2, 2]`, linear part of the map.
        shift: float64 `[2]`, translation of the map.

    Returns:
        float32 `[F, 4]`.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    middle = (low + high) / 2 @ linear.T + shift
    halves = np.sqrt(((high - low) / 2) ** 2 @ (linear**2).T)
    return np.concatenate([middle - halves, middle + halves], axis=1).astype(np.float32)


def read_boxes(path: Path) -> dict[str, list[LabelledBox]]:
    """Return the labelled boxes of each picture, in the order of the file, by the column `image`.

    Raises:
        UsageError: The file cannot be read, or has no labelled box.
    """
    pictures: dict[str, list[LabelledBox]] = {}
    try:
        for row in _rows(path, COLUMNS):
            box = (float(row["xmin"]), float(row["ymin"]), float(row["xmax"]), float(row["ymax"]))
            pictures.setdefault(row["image"], []).append(LabelledBox(box, row["label"]))
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as labelled boxes ({error}).") from error
    if not pictures:
        raise UsageError(f"{path} has no labelled box.")
    return pictures


def read_labels(path: Path) -> dict[str, str]:
    """Return the label of each picture, by the column `image`.

    Other columns than `image` and `label` are ignored.

    Raises:
        UsageError: The file cannot be read.
    """
    try:
        return {row["image"]: row["label"] or "" for row in _rows(path, ("image", "label"))}
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as labels of pictures ({error}).") from error


def _rows(path: Path, columns: Iterable[str]) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        if missing := set(columns) - set(reader.fieldnames or ()):
            raise UsageError(f"{path} has no column {', '.join(sorted(missing))}.")
        yield from reader


def write_boxes(path: Path, boxes: Iterable[tuple[str, LabelledBox]]) -> None:
    """Write `(image, labelled box)` rows as CSV.

    Raises:
        OutputError: The file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for image, labelled in boxes:
        writer.writerow([image, *(round(value, 1) for value in labelled.box), labelled.label])
    write_file(path, text.getvalue())
