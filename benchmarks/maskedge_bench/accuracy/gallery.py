"""Crops of errors for the accuracy page: missed faces, false alarms, wrong labels."""

from __future__ import annotations

from collections.abc import Sequence

import cv2

from maskedge.boxes import side
from maskedge.labelled_boxes import LabelledBox
from maskedge.modelfile.crop import CropRule, crop_faces
from maskedge.rendering.html import figure, picture
from maskedge.rendering.theme import label_style, to_bgr
from maskedge.types import Box, Face, Image

from .detection_counts import LEAST_SIDE, THREE, match

MOST = 60
"""Maximum number of crops of each kind of error."""
_SIDE = 144
_RULE = CropRule(margin=0.6, square=True)


class Gallery:
    """The first `MOST` crops of each kind, as HTML figures."""

    def __init__(self) -> None:
        self.missed: list[str] = []
        self.false: list[str] = []
        self.wrong: list[str] = []

    def add(self, image: Image, name: str, truths: Sequence[LabelledBox], faces: Sequence[Face], scale: float) -> None:
        """Collect the errors in one labelled picture.

        Args:
            image: uint8 `[H, W, 3]`, BGR.
            name: Name of the picture, for the captions.
            truths: Labelled boxes of the picture.
            faces: Predicted faces of the picture.
            scale: Factor from pixels of the picture to pixels of the matching rule.
        """
        pairs, missed, false = match(truths, faces)
        for truth in missed:
            if truth.label in THREE and side(truth.box) * scale >= LEAST_SIDE:
                caption = f"{label_style(truth.label).name}, {side(truth.box) * scale:.0f} px; {name}"
                self._keep(self.missed, image, truth.box, truth.label, caption)
        for truth, face in pairs:
            if truth.label in THREE and truth.label != face.label and side(truth.box) * scale >= LEAST_SIDE:
                caption = f"{label_style(truth.label).name}, predicted {label_style(face.label).name} {face.score:.0%}; {name}"
                self._keep(self.wrong, image, face.box, face.label, caption)
        self.add_false(image, name, [face for face in false if side(face.box) * scale >= LEAST_SIDE])

    def add_false(self, image: Image, name: str, faces: Sequence[Face]) -> None:
        """Collect false alarms."""
        for face in faces:
            self._keep(self.false, image, face.box, face.label, f"{label_style(face.label).name} {face.score:.0%}; {name}")

    @staticmethod
    def _keep(kind: list[str], image: Image, box: Box, label: str, caption: str) -> None:
        if len(kind) >= MOST:
            return
        (crop,) = crop_faces(image, [box], _RULE, _SIDE)
        left, top, right, _ = _RULE.region(box)
        scale = _SIDE / (right - left) if right > left else 1.0
        x1, y1, x2, y2 = (round(value * scale) for value in (box[0] - left, box[1] - top, box[2] - left, box[3] - top))
        cv2.rectangle(crop, (x1, y1), (x2, y2), to_bgr(label_style(label).picture), 2)
        kind.append(figure(picture(crop, _SIDE), caption))
