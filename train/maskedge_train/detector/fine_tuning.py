"""Fine-tuning of a detector on a few pictures, so that it stays as good on other pictures.

A short training with a low learning rate would still forget pictures that it is not shown. Three
measures limit that: the normalisation layers keep their statistics, detections of the initial
network are not unlearned, and the result is a blend of the initial and the trained weights
(Wortsman et al., "Robust fine-tuning of zero-shot models", 2022).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from maskedge.boxes import box_iou
from maskedge.labelled_boxes import LabelledBox
from maskedge_train.data import generated
from maskedge_train.data.dataset import DataSet, Picture
from maskedge_train.data.near_duplicates import find_near_duplicates
from maskedge_train.shared.box_convention import move_box
from maskedge_train.shared.box_file import EYEBROWS, FOREHEAD
from maskedge_train.shared.checkpoint import read_checkpoint, write_checkpoint

from .evaluate import detect_faces
from .net import EdgeFace
from .samples import WHOLE, Scene, load_scene
from .training import DetectorRecipe

FEW = 300
"""Pictures with labelled faces up to which a training on folders fine-tunes the bundled network."""
EPOCHS = 2
RECIPE = DetectorRecipe(
    batches=60,
    whole_batch=8,
    whole_share=1.0,
    learning_rate=1e-3,
    weight_decay=0.0,
    averaging=0.98,
    fixed_statistics=True,
    keep=1.0,
)
SHARE = 0.6
"""Share of the trained weights in the result; the rest are the initial weights."""

_GENERATED = 60
_HELD = 0.2
_MIN_SCORE, _MIN_OVERLAP, _MIN_FACES = 0.3, 0.5, 10
_SHIFT = 0.055
"""Shift of the upper edges, relative to the height, from which boxes are of another convention."""


def split_few(pictures: Sequence[Picture]) -> tuple[list[Picture], list[Picture]]:
    """Hold out a fifth of a few pictures, to measure the network before and after.

    Related pictures stay together. The draw depends on the names alone.

    Returns:
        The pictures to train on, and the held-out ones. Pictures of single faces are not held out.
    """
    groups = find_near_duplicates(pictures).groups(len(pictures)).tolist()
    members: dict[int, list[Picture]] = {}
    for group, picture in zip(groups, pictures, strict=True):
        members.setdefault(group, []).append(picture)
    drawn = sorted(members.values(), key=lambda own: hashlib.sha256(own[0].name.encode("utf-8", "surrogateescape")).digest())
    total = sum(picture.source == "scenes" for picture in pictures)
    learn: list[Picture] = []
    held: list[Picture] = []
    for own in drawn:
        wanted = sum(picture.source == "scenes" for picture in held) < _HELD * total
        whole = all(picture.source == "scenes" for picture in own)
        (held if wanted and whole else learn).extend(own)
    return learn, held


def draw_empty() -> list[Scene]:
    """Draw pictures without people, so that a few pictures do not cause false positives."""
    drawn = [generated.draw(name) for name in generated.picture_names(_GENERATED)]
    none = np.zeros((0, 4), np.float32)
    return [Scene(picture.image, none, np.zeros(0, np.bool_), whole=True) for picture in drawn if not picture.faces]


def find_convention(net: EdgeFace, pictures: Sequence[Picture], own: str) -> str:
    """Find out where labelled boxes begin, from the detections of a network on the same faces.

    Args:
        net: The network, in evaluation mode.
        pictures: Pictures with labelled boxes of one convention.
        own: Convention of the network.

    Returns:
        The convention of the boxes; `own` if too few faces are detected.
    """
    shifts = []
    for picture in pictures:
        if picture.source != "scenes":
            continue
        scene = load_scene(picture)
        boxes, _ = detect_faces(net, scene, WHOLE, _MIN_SCORE)
        for face in scene.boxes:
            overlaps = [box_iou(tuple(face), tuple(box)) for box in boxes]
            if overlaps and max(overlaps) >= _MIN_OVERLAP:
                shifts.append((boxes[int(np.argmax(overlaps))][1] - face[1]) / (face[3] - face[1]))
    if len(shifts) < _MIN_FACES:
        return own
    if own == EYEBROWS:
        return FOREHEAD if np.median(shifts) > _SHIFT else EYEBROWS
    return EYEBROWS if np.median(shifts) < -_SHIFT else FOREHEAD


def move_dataset(dataset: DataSet, own: str, target: str) -> DataSet:
    """Return a data set whose boxes are moved from one convention to another."""
    pictures = [
        replace(
            picture,
            faces=tuple(LabelledBox(move_box(face.box, own, target), face.label) for face in picture.faces),
            unlabelled=tuple(move_box(box, own, target) for box in picture.unlabelled),
        )
        for picture in dataset.pictures
    ]
    return replace(dataset, pictures=pictures, convention=target)


def blend(start: EdgeFace, checkpoint: Path, share: float = SHARE) -> None:
    """Replace the weights of a checkpoint by a blend with those of the initial network.

    Args:
        start: The initial network.
        checkpoint: Checkpoint of the trained network.
        share: Share of the trained weights.

    Raises:
        ModelError: The checkpoint cannot be read.
        OutputError: It cannot be written.
    """
    content = read_checkpoint(checkpoint)
    initial = start.state_dict()
    content["state_dict"] = {
        name: initial[name.removeprefix("net.")].lerp(value, share) if value.is_floating_point() else value
        for name, value in content["state_dict"].items()
    }
    write_checkpoint(checkpoint, content)
