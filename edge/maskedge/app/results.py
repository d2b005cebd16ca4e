"""From what the detector found to what the page shows: the user's threshold, the smallest face, hidden faces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from maskedge.privacy import hidden_boxes
from maskedge.rendering.draw import draw_faces
from maskedge.rendering.theme import LABELS, label_look
from maskedge.results import FrameResult
from maskedge.sinks.events import to_event
from maskedge.support.text import to_json
from maskedge.types import Face, Image

UNSURE = "unsure"
"""The label of an answer below the threshold that the user chose."""
SHOWN_SIDE = 1280
"""The longest side in pixels at which pictures are shown; downloads keep their size."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user chose beside the model.

    Attributes:
        sure: Answers of a lower probability are called unsure, 0 to 1.
        smallest: Shorter side in pixels under which faces are left out.
        hide: Pixelate the faces in every picture that is shown or downloaded.
    """

    sure: float = 0.5
    smallest: int = 0
    hide: bool = False

    def adjust(self, answer: FrameResult) -> FrameResult:
        """Give the answer as the user wants it."""
        faces = [
            face if face.score >= self.sure else replace(face, label=UNSURE)
            for face in answer.located
            if min(side_lengths(face)) >= self.smallest
        ]
        # Of a video the loop knows more: people who are not seen at the moment are hidden too.
        hidden = answer.hidden if answer.hidden is not None or not self.hide else hidden_boxes(answer.located)
        return replace(answer, faces=faces, hidden=hidden)


def in_order(labels: Iterable[str]) -> list[str]:
    """Sort labels, each once, as the page lists them."""
    known = list(LABELS)
    return sorted(set(labels), key=lambda label: (known.index(label) if label in known else len(known), label))


def spoken(label: str) -> str:
    """Name a label with its sign, as in `✓ with a mask`."""
    look = label_look(label)
    return f"{look.symbol} {look.name}"


def side_lengths(face: Face) -> tuple[float, float]:
    """Width and height of a face's box in pixels."""
    x1, y1, x2, y2 = face.box
    return x2 - x1, y2 - y1


def table_rows(faces: Sequence[Face]) -> list[dict[str, Any]]:
    """Give the rows of the table of faces, from left to right; what a face is called stands with its sign."""
    rows = []
    for number, face in enumerate(sorted(faces, key=lambda face: face.box[0]), 1):
        width, height = side_lengths(face)
        rows.append(
            {
                "face": number,
                "answer": spoken(face.label),
                "sure": round(100 * face.score),
                "size": f"{width:.0f} x {height:.0f}",
                "left": round(face.box[0]),
                "top": round(face.box[1]),
            }
        )
    return rows


def event_line(answer: FrameResult) -> str:
    """Give the event of an answer (docs/contracts.md) as a line of JSON."""
    return to_json(to_event(answer)) + "\n"


def as_jpeg(image: Image, longest: int | None = None, quality: int = 90) -> bytes:
    """Encode a picture, uint8 `[H, W, 3]` BGR, as JPEG, shrunk to `longest` pixels where it is larger."""
    scale = longest / max(image.shape[:2]) if longest else 1.0
    if scale < 1:
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes()


def shown_jpeg(answer: FrameResult) -> bytes:
    """Give the picture of an answer as the page shows it: a small JPEG, drawn after it was shrunk, so that words stay readable."""
    image = answer.plain
    scale = SHOWN_SIDE / max(image.shape[:2])
    if scale >= 1:
        return as_jpeg(draw_faces(image, answer.located))
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    faces = []
    for face in answer.located:
        x1, y1, x2, y2 = (value * scale for value in face.box)
        faces.append(replace(face, box=(x1, y1, x2, y2)))
    return as_jpeg(draw_faces(small, faces))
