"""Labels in CSV files: one row per box or one row per picture.

Columns of a file of boxes: image (relative to the file's folder), xmin, ymin, xmax, ymax (pixels),
label. The files are CSV in UTF-8, as spreadsheets write them: with or without a byte order mark, and
with or without blanks after the commas.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskedge.support.files import is_file, open_regular, read_regular, write_file
from maskedge.support.text import displayable, is_utf8, to_bytes

from .errors import UsageError
from .types import Box

COLUMNS = ("image", "xmin", "ymin", "xmax", "ymax", "label")
UNLABELLED = "unlabelled"
"""Label of a face without a usable label. The box counts neither as a face nor as `not_a_face`."""

HELD_OUT = 0.1
"""Share of the scenes and backgrounds that is held out from every training, 0 to 1."""

_MOST_PIXELS = 1_000_000
"""Largest coordinate of a box. Larger ones would overflow OpenCV's numbers."""
_MOST_BYTES = 200_000_000
_HEADER_BYTES = 65536
_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}


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
    return int(hashlib.sha256(to_bytes(f"detector {name}")).hexdigest()[:8], 16) < HELD_OUT * 2**32


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


@dataclass(frozen=True, slots=True)
class CsvRow:
    """A row of a CSV file.

    Attributes:
        path: The file.
        line: First line of the row, from 1.
        cells: The cells by column. Missing cells are empty.
    """

    path: Path
    line: int
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        """Return the cell of a column.

        Raises:
            UsageError: The cell is empty.
        """
        if not self.cells[column].strip():
            raise self.refused(f"{column} is empty: fill it in, or delete the line")
        return self.cells[column]

    def image(self) -> str:
        """Return the cell of the column `image`.

        Raises:
            UsageError: The cell is empty, or the file is not UTF-8 but the name of the picture is.
        """
        name = self.text("image")
        # Names that are not UTF-8 exist. In another encoding, spreadsheets write names that are.
        if not is_utf8(name) and not is_file(self.path.parent / name):
            meant = name.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
            if is_file(self.path.parent / meant):
                raise self.refused(f"image is {_shown(meant)} in an encoding that is not UTF-8: save the file as CSV UTF-8")
        return name

    def box(self) -> Box:
        """Return the box of the columns xmin, ymin, xmax, ymax.

        Raises:
            UsageError: A cell is not a finite number of at most 1,000,000, or the box is empty.
        """
        x1, y1, x2, y2 = (self._number(column) for column in COLUMNS[1:5])
        for axis, low, high in (("x", x1, x2), ("y", y1, y2)):
            if low >= high:
                raise self.refused(f"{axis}min is {low:g}, and {axis}max is {high:g}: {axis}max must be greater")
        return x1, y1, x2, y2

    def _number(self, column: str) -> float:
        text = self.text(column)
        try:
            number = float(text)
        except ValueError:
            comma = re.fullmatch(r"\s*[+-]?[0-9]+,[0-9]+\s*", text)
            remedy = "write it with a decimal point" if comma else "enter pixels, such as 10.5"
            raise self.refused(f"{column} is {_shown(text)}, which is not a number: {remedy}") from None
        if not abs(number) <= _MOST_PIXELS:  # also for NaN
            raise self.refused(
                f"{column} is {_shown(text)}: enter pixels, a finite number from -{_MOST_PIXELS:,} to {_MOST_PIXELS:,}"
            )
        return number

    def refused(self, why: str) -> UsageError:
        """Return the error for this row.

        Args:
            why: Cause and remedy, without a full stop.
        """
        return UsageError(f"{displayable(self.path)}, line {self.line}: {why}.")


def _shown(text: str) -> str:
    return displayable(text if len(text) <= 40 else f"{text[:40]}... ({len(text):,} characters)")


def read_boxes(path: Path) -> dict[str, list[LabelledBox]]:
    """Return the labelled boxes of each picture, in the order of the file, by the column `image`.

    Raises:
        UsageError: The file cannot be read, has a row that is not valid, or has no labelled box.
    """
    pictures: dict[str, list[LabelledBox]] = {}
    for row in read_rows(path, COLUMNS):
        pictures.setdefault(row.image(), []).append(LabelledBox(row.box(), row.text("label")))
    if not pictures:
        raise UsageError(f"{displayable(path)} has no labelled box.")
    return pictures


def read_labels(path: Path) -> dict[str, str]:
    """Return the label of each picture, by the column `image`.

    Other columns than `image` and `label` are ignored.

    Raises:
        UsageError: The file cannot be read, has a row that is not valid, no row, or two labels for a picture.
    """
    labels: dict[str, str] = {}
    for row in read_rows(path, ("image", "label")):
        image, label = row.image(), row.text("label")
        if labels.setdefault(image, label) != label:
            raise UsageError(
                f"{displayable(path)} has two labels for {displayable(image)}, "
                f"{displayable(labels[image])} and {displayable(label)}: keep one row."
            )
    if not labels:
        raise UsageError(f"{displayable(path)} has no row: write one with image and label for each picture.")
    return labels


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[CsvRow]:
    """Read a CSV file with a header. Empty rows are skipped.

    File names that are not UTF-8 keep their bytes, as in `os.fsdecode`.

    Args:
        path: The file.
        columns: The columns that it must have. It may have others.

    Raises:
        UsageError: The file cannot be read, has no such columns, or has a row that is not valid.
    """
    try:
        content = read_regular(path, _MOST_BYTES)
    except OSError as error:
        raise UsageError(f"{displayable(path)} cannot be read ({error.strerror}): give a CSV file.") from error
    if problem := _header_problem(content, columns):
        raise UsageError(f"{displayable(path)} {problem}.")
    lines = _lines(content)
    reader = csv.reader(lines, skipinitialspace=True)
    header: list[str] = []
    while True:
        row = CsvRow(path, reader.line_num + 1, {})
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise row.refused(f"it is not CSV ({error}): check its quotes") from error
        if cells is None:
            return
        if reader.line_num == len(lines) and _is_open("".join(lines[row.line - 1 :])):
            raise row.refused("a quote is not closed: close or remove it")
        if not header:
            header = [name.strip() for name in cells]
        elif any(cell.strip() for cell in cells):
            if any(cell.strip() for cell in cells[len(header) :]):
                raise row.refused(
                    f"it has {len(cells)} cells, and the header has {len(header)}: "
                    "write numbers with a decimal point, and quote names with a comma"
                )
            if missing := [column for column in columns if column in header[len(cells) :]]:
                raise row.refused(f"it has no {', '.join(missing)} ({len(cells)} of {len(header)} cells): complete or delete it")
            yield replace(row, cells=dict(zip(header, [*cells, *[""] * (len(header) - len(cells))], strict=False)))


def find_header_problem(path: Path, columns: Sequence[str]) -> str | None:
    """Return why a file is not a CSV file with these columns, or None. Only its start is read.

    Returns:
        The rest of a sentence that begins with the file, such as `has no column label`.
    """
    try:
        with open_regular(path) as file:
            return _header_problem(file.read(_HEADER_BYTES), columns)
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _header_problem(content: bytes, columns: Sequence[str]) -> str | None:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "is UTF-16: save it as CSV UTF-8"
    if b"\0" in content:
        return "is not text: save it as CSV UTF-8"
    lines = _lines(content[:_HEADER_BYTES])
    if not "".join(lines).strip():
        return f"is empty: it needs the columns {','.join(columns)}"
    try:
        header = [name.strip() for name in next(csv.reader(lines, skipinitialspace=True), [])]
    except csv.Error as error:
        return f"has a header that is not CSV ({error}): check its quotes"
    missing = set(columns) - set(header)
    if not missing:
        return None
    remedy = f"its header must have {','.join(columns)}"
    for separator, name in _SEPARATORS.items():
        if separator in lines[0] and missing & {cell.strip(' "\r\n') for cell in lines[0].split(separator)}:
            remedy = f"the columns are separated by {name}, save it with commas"
            break
    else:
        if not is_utf8(lines[0]):
            remedy = "it is not UTF-8, save it as CSV UTF-8"
    return f"has no column {', '.join(sorted(missing))}: {remedy}"


def _lines(content: bytes) -> list[str]:
    return list(io.StringIO(content.decode("utf-8-sig", "surrogateescape"), newline=""))


def _is_open(text: str) -> bool:
    """Return True if the last row of a CSV file has an open quote, which the reader ignores."""
    try:
        list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True))
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def write_boxes(path: Path, boxes: Iterable[tuple[str, LabelledBox]]) -> None:
    """Write `(image, labelled box)` rows as CSV.

    Raises:
        OutputError: The file cannot be written.
    """
    write_file(path, format_boxes(boxes))


def format_boxes(boxes: Iterable[tuple[str, LabelledBox]], more: Mapping[str, str] | None = None) -> bytes:
    """Return `(image, labelled box)` rows as the bytes of a CSV file.

    Args:
        boxes: The rows.
        more: Further columns, each with one text for all rows.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    # The blanks before a cell without quotes are not read.
    quoting = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([*COLUMNS, *(more or {})])
    for image, labelled in boxes:
        chosen = quoting if image.startswith(" ") else writer
        chosen.writerow([image, *(round(value, 1) for value in labelled.box), labelled.label, *(more or {}).values()])
    # Names that are not UTF-8 keep their bytes, as `read_boxes` expects.
    return text.getvalue().encode(errors="surrogateescape")
