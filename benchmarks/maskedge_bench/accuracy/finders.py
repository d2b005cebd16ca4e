"""Detectors by name or file."""

from __future__ import annotations

from pathlib import Path

from maskedge.errors import UsageError
from maskedge.vision.detectors import DETECTORS, CascadeDetector, CnnDetector, FaceDetector, build_detector


def find_detector(name: str, *, min_face_size: int | None = None) -> FaceDetector:
    """Open a detector by name (`maskedge.vision.detectors.DETECTORS`), .xml file or .onnx file.

    Args:
        name: Name or path.
        min_face_size: Side in pixels of the smallest face to find. It applies to named detectors only.

    Raises:
        UsageError: The name is unknown.
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
