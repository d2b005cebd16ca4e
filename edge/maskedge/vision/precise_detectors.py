"""Detectors that are precise by themselves, for classifiers that do not know what is no face.

The default detectors answer for much that is no face and leave it to the label `not_a_face` to throw that out. A model without
that label cannot. On 60 pictures of empty rooms and house fronts the raw windows of our cascade then give 1,216 faces, the network
from a score of 0.5 on gives 1, and OpenCV's own cascade 2; of the faces in photographs of people the network finds 0.98, OpenCV's
0.46.
"""

from __future__ import annotations

from collections.abc import Sequence

from .detectors import DEFAULT_DETECTOR, CascadeDetector, CnnDetector, FaceDetector

NOT_A_FACE = "not_a_face"
"""The label with which a classifier throws out what the detector should not have found."""
PRECISE_DETECTOR = "cnn"
"""Name of the detector of a model without that label, where the user chose none."""
PRECISE_SCORE = 0.5
"""Score of the network from which something is a face without a classifier's word."""
_NEIGHBORS = 24
"""Windows of our cascade that must agree on a face: with fewer most of what they agree on is none."""
_STEP = 1.1
"""Step between the sizes of a scan whose windows are counted: at the usual 1.3 too few lie on a face."""


def lacks_label(labels: Sequence[str]) -> bool:
    """Tell whether a model of these labels cannot throw out what is no face."""
    return NOT_A_FACE not in labels


def choose_detector(labels: Sequence[str]) -> str:
    """Name the detector of a model of these labels, where the user chose none."""
    return PRECISE_DETECTOR if lacks_label(labels) else DEFAULT_DETECTOR


def make_precise(detector: FaceDetector) -> FaceDetector:
    """Give a detector that needs no classifier to throw out what is no face: a cascade counts the windows that agree.

    A network is left as it is, for its answers have scores (`PRECISE_SCORE`); so are detectors that are not ours.
    """
    if not isinstance(detector, CascadeDetector) or detector.min_neighbors:
        return detector
    return CascadeDetector(
        detector.path,
        side=detector.side,
        min_face_size=detector.min_face_size,
        scale_factor=_STEP,
        min_neighbors=_NEIGHBORS,
        border=detector.border,
    )


def without_label(name: str, detector: FaceDetector | None = None) -> str:
    """Give the sentence on a model that does not know what is no face.

    Args:
        name: File name of the model.
        detector: What finds faces for it; None where that is not known yet.
    """
    if detector is None:
        how = f"edge-run will find faces for it with {PRECISE_DETECTOR} at a score of {PRECISE_SCORE:g} or more"
    elif isinstance(detector, CnnDetector):
        how = f"faces are found by the network alone, at a score of {PRECISE_SCORE:g} or more"
    elif isinstance(detector, CascadeDetector):
        how = f"faces are found by the cascade alone, where {detector.min_neighbors} windows agree (--detector cnn finds more)"
    else:
        how = "the detector must be precise by itself"
    return f"{name} has no label {NOT_A_FACE} and cannot throw out what is no face: {how}."
