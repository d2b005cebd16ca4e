"""Apply the visitor's display options to results, and prepare tables, pictures and events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from maskedge.privacy import hidden_boxes
from maskedge.rendering.draw import draw_faces
from maskedge.rendering.jpeg import encode_jpeg, shrink
from maskedge.rendering.theme import LABELS, label_style, label_title
from maskedge.results import FrameResult
from maskedge.sinks.events import to_event
from maskedge.support.text import to_json
from maskedge.types import Face

UNSURE = "unsure"
"""The label of faces below the confidence threshold."""
PREVIEW_SIDE = 1280
"""Longest side in pixels of pictures on the page; downloads keep their size."""


@dataclass(frozen=True, slots=True)
class DisplayOptions:
    """Settings that apply after detection.

    Attributes:
        threshold: Confidence below which a face is labelled unsure, 0 to 1.
        min_face_size: Shorter side in pixels below which a face is left out.
        hide_faces: Pixelate faces in every picture that is shown or downloaded.
    """

    threshold: float = 0.5
    min_face_size: int = 0
    hide_faces: bool = False

    def apply(self, result: FrameResult) -> FrameResult:
        """Return `result` with these settings applied."""
        faces = [
            face if face.score >= self.threshold else replace(face, label=UNSURE)
            for face in result.located
            if min(box_size(face)) >= self.min_face_size
        ]
        # For a video, the loop has set `hidden` and included people who are not visible in this
        # frame.
        keep = result.hidden is not None or not self.hide_faces
        return replace(result, faces=faces, hidden=result.hidden if keep else hidden_boxes(result.located))


def sort_labels(labels: Iterable[str]) -> list[str]:
    """Return distinct labels in display order."""
    known = list(LABELS)
    return sorted(set(labels), key=lambda label: (known.index(label) if label in known else len(known), label))


def label_text(label: str) -> str:
    """Return the symbol and name of a label, such as `✓ With a mask`."""
    return f"{label_style(label).symbol} {label_title(label)}"


def box_size(face: Face) -> tuple[float, float]:
    """Return the width and height of a face's box in pixels."""
    x1, y1, x2, y2 = face.box
    return x2 - x1, y2 - y1


def table_rows(faces: Sequence[Face]) -> list[dict[str, Any]]:
    """Return one table row per face, from left to right."""
    rows = []
    for number, face in enumerate(sorted(faces, key=lambda face: face.box[0]), 1):
        width, height = box_size(face)
        rows.append(
            {
                "face": number,
                "label": label_text(face.label),
                "confidence": round(100 * face.score),
                "size": f"{width:.0f} x {height:.0f}",
                "left": round(face.box[0]),
                "top": round(face.box[1]),
            }
        )
    return rows


def event_line(result: FrameResult) -> str:
    """Return the event of a result (docs/contracts.md) as a line of JSON."""
    return to_json(to_event(result)) + "\n"


def preview_jpeg(result: FrameResult) -> bytes:
    """Return the annotated picture as JPEG, shrunk to `PREVIEW_SIDE`.

    The picture is shrunk before drawing, so that captions stay readable.
    """
    image = shrink(result.plain, longest_side=PREVIEW_SIDE)
    scale = min(1.0, PREVIEW_SIDE / max(result.plain.shape[:2]))
    faces = []
    for face in result.located:
        x1, y1, x2, y2 = (value * scale for value in face.box)
        faces.append(replace(face, box=(x1, y1, x2, y2)))
    return encode_jpeg(draw_faces(image, faces))
