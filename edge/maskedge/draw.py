"""The overlay: boxes and labels on a picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2

from maskedge.look import LABELS, to_bgr
from maskedge.types import Face, Image

# BGR. Told apart with any colour vision, and never the only signal: the label stands beside the box.
COLOURS = {label: to_bgr(look.picture) for label, look in LABELS.items()}
OTHER_COLOUR = COLOURS["unsure"]
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def caption(face: Face) -> str:
    """Give the text beside a face, as in `#3 with mask 98%`."""
    identity = f"#{face.track} " if face.track is not None else ""
    return f"{identity}{face.label.replace('_', ' ')} {face.score:.0%}"


def draw_faces(image: Image, faces: Sequence[Face], status: str = "") -> Image:
    """Draw the faces and a status line on a copy of `image`.

    Args:
        image: uint8 `[H, W, 3]`, BGR; left as it is.
        faces: What to draw, boxes in pixels of `image`.
        status: Text for the lower left corner.

    Returns:
        uint8 `[H, W, 3]`, BGR.
    """
    canvas: Image = image.copy()
    height, width = canvas.shape[:2]
    scale = max(0.4, min(height, width) / 900)
    thickness = max(1, round(2 * scale + 0.4))
    for face in faces:
        colour = COLOURS.get(face.label, OTHER_COLOUR)
        x1, y1, x2, y2 = (round(value) for value in face.box)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, thickness, cv2.LINE_AA)
        text = caption(face)
        (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, scale, 1)
        # Above the box where there is room, else just inside it; never outside the picture.
        left = min(max(x1, 0), max(width - text_width - 6, 0))
        bottom = y1 if y1 - text_height - baseline - 4 >= 0 else max(y1, 0) + text_height + baseline + 4
        cv2.rectangle(canvas, (left, bottom - text_height - baseline - 4), (left + text_width + 6, bottom), colour, -1)
        cv2.putText(
            canvas,
            text,
            (left + 3, bottom - baseline - 1),
            _FONT,
            scale,
            (255, 255, 255),
            max(1, round(scale)),
            cv2.LINE_AA,
        )
    if status:
        for colour, weight in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(canvas, status, (8, height - 10), _FONT, scale, colour, weight, cv2.LINE_AA)
    return canvas
