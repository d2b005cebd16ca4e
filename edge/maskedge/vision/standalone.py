"""The choice of a detector for classifiers without the label `not_a_face`.

The default detectors favour recall, and the label `not_a_face` rejects their false alarms. A
classifier without that label cannot reject them. On 60 pictures of empty rooms and house fronts,
the raw windows of the bundled cascade then give 1,216 faces, OpenCV's own cascade gives 2, and the
network with a threshold of 0.5 gives 1. In photographs of people, the network finds 0.98 of the
faces and OpenCV's cascade finds 0.46. The network is therefore the default for such classifiers,
and every detector is replaced by its standalone variant (`FaceDetector.standalone`).
"""

from __future__ import annotations

from collections.abc import Sequence

from maskedge.types import NOT_A_FACE

from .detectors import DEFAULT_DETECTOR, FaceDetector
from .detectors.network import STANDALONE_THRESHOLD

STANDALONE_DETECTOR = "cnn"
"""Default detector for a classifier without the label `not_a_face`."""


def rejects_non_faces(labels: Sequence[str]) -> bool:
    """Return True if a classifier with these labels can reject a detector's false alarms."""
    return NOT_A_FACE in labels


def default_detector_name(labels: Sequence[str]) -> str:
    """Return the name of the default detector for a classifier with these labels."""
    return DEFAULT_DETECTOR if rejects_non_faces(labels) else STANDALONE_DETECTOR


def standalone_notice(name: str, detector: FaceDetector | None = None) -> str:
    """Return the message about a classifier without the label `not_a_face`.

    Args:
        name: File name of the classifier.
        detector: The detector in use; None if it is not known yet.
    """
    how = (
        f"edge-run will find faces for it with {STANDALONE_DETECTOR} at a score of {STANDALONE_THRESHOLD:g} or more"
        if detector is None
        else detector.standalone_note
    )
    return f"{name} has no label {NOT_A_FACE} and cannot reject false alarms: {how}."
