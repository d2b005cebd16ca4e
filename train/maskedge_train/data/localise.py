"""Finding the face of each picture of a folder data set, for those that show whole people."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from maskedge.errors import UsageError
from maskedge.labelled_boxes import LabelledBox
from maskedge.support.pictures import list_pictures, read_picture
from maskedge.types import Box, Image
from maskedge.vision.pipeline import MaskDetector

from .dataset import FACE_LABELS

LEAST_FACE = 0.2
"""A face less sure than this is no find. The pictures are known to show one, so that the most likely place may be unlikely."""
_BORDER = 0.35
"""Width of a border to look at a picture with, in its longest side: a face that fills a picture is cut by its edges."""


def localise(
    root: Path, model: Path | None = None, detector_model: Path | None = None, progress: Callable[[], None] = lambda: None
) -> tuple[list[tuple[str, LabelledBox]], list[str]]:
    """Find the surest face of each picture under `root/<label>/`, by network and classifier together.

    Which label the classifier gives plays no part, so that the search cannot favour the answer that the folder says is right.

    Args:
        root: Folder data set.
        model: Classifier file; the bundled one when left out.
        detector_model: Detector file; the bundled network when left out.
        progress: Called after each picture.

    Returns:
        `(name relative to root, box with the folder's label)` where one was found, and the names where none was.

    Raises:
        ModelError: A model is refused.
        UsageError: There is no picture.
    """
    files = [(path, label) for label in FACE_LABELS if (root / label).is_dir() for path in list_pictures(root / label)]
    if not files:
        raise UsageError(f"{root} holds no pictures in sub-folders {', '.join(FACE_LABELS)}: give the folder that these stand in.")
    own = threading.local()

    def start() -> None:
        own.detector = MaskDetector(model, "cnn", detector_model=detector_model, threads=1)

    def work(path: Path) -> Box | None:
        try:
            image = read_picture(path)
        except ValueError:
            return None
        finally:
            progress()
        return find_face(image, own.detector)

    start()  # A refused model is told before the work begins.
    with ThreadPoolExecutor(os.cpu_count(), initializer=start) as pool:
        boxes = list(pool.map(work, [path for path, _ in files]))
    found = [
        (path.relative_to(root).as_posix(), LabelledBox(box, label))
        for (path, label), box in zip(files, boxes, strict=True)
        if box is not None
    ]
    missed = [path.relative_to(root).as_posix() for (path, _), box in zip(files, boxes, strict=True) if box is None]
    return found, missed


def find_face(image: Image, detector: MaskDetector) -> Box | None:
    """Find the surest face of a picture, uint8 `[H, W, 3]` BGR; x1, y1, x2, y2 in its pixels, or None."""
    faces = []
    for border in (0, round(_BORDER * max(image.shape[:2]))):
        framed = np.asarray(cv2.copyMakeBorder(image, *(border,) * 4, cv2.BORDER_REPLICATE), np.uint8)
        for found in detector.detect(framed, LEAST_FACE):
            x1, y1, x2, y2 = found.face.box
            faces.append((found.face_score, (x1 - border, y1 - border, x2 - border, y2 - border)))
    if not faces:
        return None
    # As a file of boxes keeps it, so that data whose faces are found anew have the digest of those that are read from it.
    x1, y1, x2, y2 = (round(value, 1) for value in max(faces)[1])
    return x1, y1, x2, y2
