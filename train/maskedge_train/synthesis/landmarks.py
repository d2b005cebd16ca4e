"""Landmarks of labelled faces, found once by another program (`train/recipes/face_landmarks.py`)."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskedge.errors import UsageError
from maskedge.support.text import displayable
from maskedge.types import Box

Points = npt.NDArray[np.float64]
"""Landmarks of a face: float64 `[468, 3]`, x and y in pixels of the picture, and the distance from
the camera in the same unit, in the order of MediaPipe's face mesh (Kartynnik et al., "Real-time
facial surface geometry from monocular video on mobile GPUs", 2019)."""
COUNT = 468
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
        152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
"""The outline of the face, from the top to the right in the picture."""
FOREHEAD, CHIN, LEFT_CHEEK, RIGHT_CHEEK, LEFT_TEMPLE, RIGHT_TEMPLE = 10, 152, 234, 454, 127, 356
LEFT_EYE, RIGHT_EYE, BROWS = (33, 133), (362, 263), (105, 334)


@dataclass(frozen=True)
class FaceLandmarks:
    """The landmarks of one labelled face.

    Attributes:
        box: The labelled box, as x1, y1, x2, y2 in pixels.
        points: `Points`.
    """

    box: Box
    points: Points


def read_landmarks(path: Path) -> dict[str, list[FaceLandmarks]]:
    """Read the landmarks of each picture, by its name in the CSV file of scenes.

    Args:
        path: An .npz file with `images` (text `[N]`), `boxes` (float32 `[N, 4]`) and `points`
            (float32 `[N, 468, 3]`).

    Raises:
        UsageError: The file cannot be read, or is not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            images, boxes, points = (file[name] for name in ("images", "boxes", "points"))
    except OSError as error:
        raise UsageError(
            f"{displayable(path)} cannot be read ({error.strerror or 'it is no .npz file'}): give landmarks."
        ) from error
    except (EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(f"{displayable(path)} has no landmarks: make it with train/recipes/face_landmarks.py.") from error
    number = len(images)
    if boxes.shape != (number, 4) or points.shape != (number, COUNT, 3) or not np.isfinite(points).all():
        raise UsageError(f"{displayable(path)} has landmarks of another kind: make it with train/recipes/face_landmarks.py.")
    found: dict[str, list[FaceLandmarks]] = {}
    for image, box, own in zip(images.tolist(), boxes.tolist(), points.astype(np.float64), strict=True):
        found.setdefault(str(image), []).append(FaceLandmarks((box[0], box[1], box[2], box[3]), own))
    return found


def head_pose(points: Points) -> tuple[float, float]:
    """Return how far a head is turned and bent, in degrees.

    Args:
        points: `Points`.

    Returns:
        Yaw, positive if the face looks to the right of the picture, and pitch, positive if it looks down.
    """
    across, along = points[RIGHT_CHEEK] - points[LEFT_CHEEK], points[CHIN] - points[FOREHEAD]
    return float(np.degrees(np.arctan2(across[2], across[0]))), float(np.degrees(np.arctan2(along[2], along[1])))
