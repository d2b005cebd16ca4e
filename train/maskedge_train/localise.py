"""Finding the face of each picture of a folder data set, for those that show whole people."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskedge.classify import MaskClassifier
from maskedge.errors import ModelError
from maskedge.pictures import list_pictures, read_picture
from maskedge.pipeline import NOT_A_FACE
from maskedge.types import Box, Image

from .boxes import LabelledBox
from .dataset import FACE_LABELS

LEAST_FACENESS = 0.4
"""A face less sure than this, on average over the squares about it, is no find."""
SIZE_MATTERS = 0.25
"""Power of the side by which larger squares are preferred: it keeps the search from an eye of a face that fills the picture."""
PART = 0.5
"""A square smaller than this fraction of the preferred one is a part of a face, not a face cut closer."""
_Boxes = npt.NDArray[np.float64]


def localise(
    root: Path, model: Path | None = None, progress: Callable[[], None] = lambda: None
) -> tuple[list[tuple[str, LabelledBox]], list[str]]:
    """Find the clearest face of each picture under `root/<label>/`.

    A classifier that knows `not_a_face` looks at squares of all sizes and places; what many overlapping squares agree on is the
    face. Which label it gives plays no part, so that the search cannot favour the answer that the folder says is right.

    Args:
        root: Folder data set.
        model: An .onnx file with the label `not_a_face`; the bundled one when left out.
        progress: Called after each picture.

    Returns:
        `(name relative to root, box with the folder's label)` where one was found, and the names where none was.

    Raises:
        ModelError: The model is refused, or does not know `not_a_face`.
    """
    classifier = MaskClassifier(model)
    if NOT_A_FACE not in classifier.labels:
        raise ModelError(f"{classifier.path} does not know {NOT_A_FACE!r}: it cannot tell where a face is.")
    files = [(path, label) for label in FACE_LABELS if (root / label).is_dir() for path in list_pictures(root / label)]

    def work(path: Path) -> Box | None:
        try:
            image = read_picture(path)
        except ValueError:
            return None
        finally:
            progress()
        return find_face(image, classifier)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        boxes = list(pool.map(work, [path for path, _ in files]))
    found = [
        (path.relative_to(root).as_posix(), LabelledBox(box, label))
        for (path, label), box in zip(files, boxes, strict=True)
        if box is not None
    ]
    missed = [path.relative_to(root).as_posix() for (path, _), box in zip(files, boxes, strict=True) if box is None]
    return found, missed


def find_face(image: Image, classifier: MaskClassifier) -> Box | None:
    """Find the clearest face of a picture, uint8 `[H, W, 3]` BGR; x1, y1, x2, y2 in its pixels, or None."""
    squares = _grid(image.shape[1], image.shape[0])
    faceness = _faceness(image, squares, classifier)
    overlap = _overlaps(squares) > 0.3
    # A face convinces in neighbouring squares too.
    agreed = (overlap @ faceness) / overlap.sum(axis=1) * faceness
    large, close = (_best(image, squares, agreed, overlap, classifier, power) for power in (SIZE_MATTERS, 0.0))
    if large is None:
        return None
    # The preference for size lets hair and shoulders in: the best square of any size is better where it is most of the same face.
    if close is not None and close[2] >= PART * large[2] and max(abs(close[:2] - large[:2])) < large[2] / 2:
        large = close
    x, y, side = large
    return float(x - side / 2), float(y - side / 2), float(x + side / 2), float(y + side / 2)


def _best(
    image: Image, squares: _Boxes, agreed: _Boxes, overlap: npt.NDArray[np.bool_], classifier: MaskClassifier, power: float
) -> _Boxes | None:
    """Refine the most convincing squares and give the best one (centre x, centre y, side), preferring size by `power`."""
    worth = agreed * squares[:, 2] ** power
    best: tuple[float, _Boxes] | None = None
    for start in _apart(worth, overlap, 4):
        centre = squares[start]
        for spread in (0.18, 0.1):
            around = _around(centre, spread)
            found = _faceness(image, around, classifier)
            centre = np.average(around, axis=0, weights=found**4 + 1e-9)
        final = float(found.mean()) * centre[2] ** power
        if found.mean() >= LEAST_FACENESS and (best is None or final > best[0]):
            best = final, centre
    return None if best is None else best[1]


def _apart(worth: _Boxes, overlap: npt.NDArray[np.bool_], count: int) -> list[int]:
    """Give the rows of the best, down to half as good, that do not overlap a better one."""
    chosen: list[int] = []
    for row in worth.argsort()[::-1].tolist():
        if len(chosen) == count or worth[row] <= 0.5 * worth.max():
            break
        if not overlap[row, chosen].any():
            chosen.append(row)
    return chosen


def _grid(width: int, height: int) -> _Boxes:
    """Lay squares (centre x, centre y, side) of all sizes over a picture: float64 `[N, 3]`."""
    rows = []
    side = 1.05 * max(width, height)
    least = max(20.0, 0.14 * min(width, height))
    while side >= least:
        # A face may be cut by the picture's edge, by up to a quarter of its side.
        reach_x, reach_y = max(width / 2 - side / 4, 0), max(height / 2 - side / 4, 0)
        xs, ys = (np.linspace(-reach, reach, 2 + int(2 * reach / (0.35 * side))) for reach in (reach_x, reach_y))
        rows += [(width / 2 + x, height / 2 + y, side) for y in ys for x in xs]
        side /= 1.35
    return np.array(rows)


def _around(centre: _Boxes, spread: float) -> _Boxes:
    """Lay 27 squares about one (centre x, centre y, side): shifted and zoomed by up to `spread` of its side."""
    steps = (-spread, 0.0, spread)
    x, y, side = centre
    return np.array([(x + dx * side, y + dy * side, side * np.exp(zoom)) for dx in steps for dy in steps for zoom in steps])


def _faceness(image: Image, squares: _Boxes, classifier: MaskClassifier) -> npt.NDArray[np.float64]:
    boxes = [(x - side / 2, y - side / 2, x + side / 2, y + side / 2) for x, y, side in squares.tolist()]
    column = classifier.labels.index(NOT_A_FACE)
    return np.asarray(1 - classifier.classify(image, boxes)[:, column], np.float64)


def _overlaps(squares: _Boxes) -> _Boxes:
    """IoU of each square with each: float64 `[N, N]`."""
    half = squares[:, 2:] / 2
    low, high = squares[:, :2] - half, squares[:, :2] + half
    inside = np.clip(np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None]), 0, None).prod(axis=2)
    area = squares[:, 2] ** 2
    return np.asarray(inside / (area[:, None] + area[None] - inside), np.float64)
