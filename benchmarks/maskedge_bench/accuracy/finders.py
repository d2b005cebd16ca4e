"""Detectors by what a user calls them."""

from __future__ import annotations

from pathlib import Path

from maskedge.errors import UsageError
from maskedge.vision.detectors import DETECTORS, CascadeDetector, CnnDetector, FaceDetector, build_detector


def find_detector(name: str, *, min_face_size: int | None = None) -> FaceDetector:
    """Build a detector: one of `maskedge.vision.detectors.DETECTORS`, a cascade's .xml or a detector's .onnx file.

    Args:
        name: Name or path.
        min_face_size: Side in pixels of the smallest face that must be found, for a detector that is called by its name.

    Raises:
        UsageError: It is neither.
        ModelError: The file is refused.
    """
    path = Path(name)
    if path.suffix == ".xml":
        return CascadeDetector.trained(path)
    if path.suffix == ".onnx":
        return CnnDetector(path)
    if name not in DETECTORS:
        raise UsageError(
            f"there is no detector {name!r}; known are {', '.join(DETECTORS)}, a cascade's .xml and a detector's .onnx file."
        )
    return build_detector(name, min_face_size=min_face_size)
