"""What an earlier detector sees in the pictures that the next one learns from: faces that nobody labelled, and false alarms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from maskedge.boxes import as_box
from maskedge.types import NOT_A_FACE
from maskedge.vision.classifier import MaskClassifier
from maskedge_train.data.negatives import OFF, is_far

from .net import EdgeFace
from .report import answer
from .samples import Scene

_UNLABELLED = 0.5, 0.97
"""Score, and the classifier's probability of a face, from which what lies on no label counts as a face that nobody labelled."""
_ALARM = 0.15
"""Score from which anything is looked at."""
_NO_FACE = 0.4, 0.7
"""Score or probability below which it is a false alarm: much of what lies between is a face, but not all."""
_SIDE = 480


def look_again(
    net: EdgeFace, classifier: MaskClassifier, scenes: Sequence[Scene], progress: Callable[[], None] = lambda: None
) -> list[Scene]:
    """Give the scenes with what `net` sees in them and no label explains, checked by `classifier`."""
    return [_look(net, classifier, scene, progress) for scene in scenes]


def _look(net: EdgeFace, classifier: MaskClassifier, scene: Scene, progress: Callable[[], None]) -> Scene:
    progress()
    if not scene.whole:
        return scene
    boxes, scores = answer(net, scene, _SIDE, _ALARM)
    faces, seen = [as_box(box) for box in (*scene.boxes, *scene.unlabelled)], [as_box(box) for box in boxes]
    far = np.array([is_far(box, faces, OFF) for box in seen], np.bool_)
    if not faces:
        return replace(scene, alarms=boxes)
    probable = 1 - classifier.classify(scene.image, seen)[:, classifier.labels.index(NOT_A_FACE)]
    unlabelled = far & (scores >= _UNLABELLED[0]) & (probable >= _UNLABELLED[1])
    alarms = far & ((scores < _NO_FACE[0]) | (probable < _NO_FACE[1]))
    return replace(scene, unlabelled=np.concatenate([scene.unlabelled, boxes[unlabelled]]), alarms=boxes[alarms])
