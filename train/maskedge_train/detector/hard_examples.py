"""Hard examples for a further training: unlabelled faces and false positives of a detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from maskedge.boxes import as_box
from maskedge.types import NOT_A_FACE
from maskedge.vision.classifier import MaskClassifier
from maskedge_train.data.negatives import OFF_FACE_IOU, is_far

from .evaluate import detect_faces
from .net import EdgeFace
from .samples import Scene

_UNLABELLED = 0.5, 0.97
"""Minimum score and face probability of an unlabelled face."""
_MIN_SCORE = 0.15
"""Minimum score of a detection to be considered."""
_NO_FACE = 0.4, 0.7
"""Score or face probability below which a detection is a false positive.

Many detections between these limits and `_UNLABELLED` are faces, but not all.
"""
_UNLABELLED_OF_FEW, _NO_FACE_OF_FEW = (_MIN_SCORE, 0.4), (0.0, 0.2)
"""These limits for a training on a few pictures, which should not unlearn any face.

A doubtful detection is ignored: in a few pictures, small unlabelled faces would count too much.
"""
_SIDE = 480


def mine_hard_examples(
    net: EdgeFace,
    classifier: MaskClassifier,
    scenes: Sequence[Scene],
    progress: Callable[[], None] = lambda: None,
    *,
    few: bool = False,
) -> list[Scene]:
    """Return the scenes with unlabelled faces and false positives of `net`.

    Args:
        net: The earlier detector, in evaluation mode.
        classifier: Classifier that verifies the detections.
        scenes: Training scenes.
        progress: Called before each scene.
        few: The training is on a few pictures.
    """
    return [_mine_scene(net, classifier, scene, progress, few) for scene in scenes]


def _mine_scene(net: EdgeFace, classifier: MaskClassifier, scene: Scene, progress: Callable[[], None], few: bool) -> Scene:
    progress()
    if not scene.whole:
        return scene
    boxes, scores = detect_faces(net, scene, _SIDE, _MIN_SCORE)
    faces, detections = [as_box(box) for box in (*scene.boxes, *scene.unlabelled)], [as_box(box) for box in boxes]
    far = np.array([is_far(box, faces, OFF_FACE_IOU) for box in detections], np.bool_)
    if not faces:
        return replace(scene, false_positives=boxes)
    probable = 1 - classifier.classify(scene.image, detections)[:, classifier.labels.index(NOT_A_FACE)]
    least_score, least_probable = _UNLABELLED_OF_FEW if few else _UNLABELLED
    no_face_score, no_face_probable = _NO_FACE_OF_FEW if few else _NO_FACE
    unlabelled = far & (scores >= least_score) & (probable >= least_probable)
    false_positives = far & ((scores < no_face_score) | (probable < no_face_probable))
    return replace(scene, unlabelled=np.concatenate([scene.unlabelled, boxes[unlabelled]]), false_positives=boxes[false_positives])
