"""Localisation of the face in each picture of a folder data set."""

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
from maskedge.modelfile.contract import default_detector, open_model, read_detector_contract
from maskedge.support.pictures import list_pictures, read_picture
from maskedge.types import Box, Image
from maskedge.vision.pipeline import MaskDetector
from maskedge_train.shared.box_file import CONVENTIONS, EYEBROWS

from .dataset import FACE_LABELS

FACE_THRESHOLD = 0.2
"""Face threshold of the search. It is low, because each picture is known to show a face."""
_BORDER = 0.35
"""Width of an added border, relative to the longest side, for faces cut by the picture's edges."""


def localise(
    root: Path, model: Path | None = None, detector_model: Path | None = None, progress: Callable[[], None] = lambda: None
) -> tuple[list[tuple[str, LabelledBox]], list[str]]:
    """Find the most confident face of each picture under `root/<label>/`.

    Detector and classifier score a face together. The label predicted by the classifier is ignored,
    so the search cannot favour predictions that agree with the folder.

    Args:
        root: Data set: a folder with one sub-folder per label.
        model: Classifier file; the bundled one by default.
        detector_model: Detector file; the bundled network by default.
        progress: Called after each picture.

    Returns:
        `(name relative to root, box with the folder's label)` for each face found, and the names of
        pictures without one.

    Raises:
        ModelError: A model is refused.
        UsageError: There are no pictures.
    """
    files = [(path, label) for label in FACE_LABELS if (root / label).is_dir() for path in list_pictures(root / label)]
    if not files:
        raise UsageError(f"{root} has no pictures in sub-folders {', '.join(FACE_LABELS)}: give the folder that contains these.")
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

    start()  # report a refused model before the work begins
    with ThreadPoolExecutor(os.cpu_count(), initializer=start) as pool:
        boxes = list(pool.map(work, [path for path, _ in files]))
    found = [
        (path.relative_to(root).as_posix(), LabelledBox(box, label))
        for (path, label), box in zip(files, boxes, strict=True)
        if box is not None
    ]
    missed = [path.relative_to(root).as_posix() for (path, _), box in zip(files, boxes, strict=True) if box is None]
    return found, missed


def detector_convention(path: Path | None = None) -> str:
    """Return the convention of a detector's boxes, from its card.

    Cards without it are of detectors trained on boxes that begin at the eyebrows.

    Args:
        path: Detector file; the bundled network by default.

    Raises:
        ModelError: The file is refused.
    """
    path = path or default_detector()
    data = read_detector_contract(open_model(path), str(path)).card.get("data")
    stated = data.get("convention") if isinstance(data, dict) else None
    return stated if stated in CONVENTIONS else EYEBROWS


def find_face(image: Image, detector: MaskDetector) -> Box | None:
    """Find the most confident face of a picture.

    Args:
        image: uint8 `[H, W, 3]`, BGR.
        detector: Detector with a classifier.

    Returns:
        x1, y1, x2, y2 in pixels of `image`, or None.
    """
    faces = []
    for border in (0, round(_BORDER * max(image.shape[:2]))):
        framed = np.asarray(cv2.copyMakeBorder(image, *(border,) * 4, cv2.BORDER_REPLICATE), np.uint8)
        for found in detector.detect(framed, FACE_THRESHOLD):
            x1, y1, x2, y2 = found.face.box
            faces.append((found.face_score, (x1 - border, y1 - border, x2 - border, y2 - border)))
    if not faces:
        return None
    # Round like a file of boxes, so that boxes read from a file give the same digest of the data.
    x1, y1, x2, y2 = (round(value, 1) for value in max(faces)[1])
    return x1, y1, x2, y2
