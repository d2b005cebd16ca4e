"""Drawing on pictures: the overlay, and the pixelation of faces."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from maskedge.support.text import displayable
from maskedge.types import Box, Face, Image

from .theme import LABELS, LIGHT, to_bgr

# BGR. The colours are distinguishable with any colour vision. The label next to the box repeats
# their meaning.
COLOURS = {label: to_bgr(style.picture) for label, style in LABELS.items()}
OTHER_COLOUR = COLOURS["unsure"]
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_ZONE_COLOUR = to_bgr(LIGHT["accent"])
_BANNER_COLOUR = to_bgr(LIGHT["bad"])
_MOSAIC = 6
"""Number of squares along the side of a hidden face: too few to recognise a person."""
_HIDDEN_MARGIN = 0.35
"""Hidden margin around a box as a fraction of its side, for hair, ears, chin and movement."""


class DrawnLine(NamedTuple):
    """A counting line, drawn with an arrow in the direction `in`.

    Attributes:
        name: Name of the line.
        points: Its points in pixels of the picture, at least two.
        inward: Number of crossings in the direction `in`, from the left to the right of the line.
        outward: Number of crossings in the direction `out`.
    """

    name: str
    points: Sequence[tuple[int, int]]
    inward: int
    outward: int


@dataclass(frozen=True, slots=True)
class Overlay:
    """Zones, counting lines and banner, drawn in addition to the faces.

    Attributes:
        zones: Name and corners of each zone, in pixels of the picture.
        lines: The counting lines.
        banner: Text across the top, as in "camera lost"; empty for no banner.
    """

    zones: Sequence[tuple[str, Sequence[tuple[int, int]]]] = ()
    lines: Sequence[DrawnLine] = ()
    banner: str = ""


def caption(face: Face) -> str:
    """Return the text next to a face, such as `#3 with mask 98%`."""
    # The label itself, which is shorter than its name in `theme.LABELS`.
    identity = f"#{face.track} " if face.track is not None else ""
    doubt = "? " if face.unsure else ""
    return f"{identity}{doubt}{face.label.replace('_', ' ')} {face.score:.0%}"


def draw_faces(image: Image, faces: Sequence[Face], status: str = "", overlay: Overlay | None = None) -> Image:
    """Draw the faces and a status line on a copy of `image`.

    Args:
        image: uint8 `[H, W, 3]`, BGR; not changed.
        faces: The faces, with boxes in pixels of `image`.
        status: Text for the lower left corner.
        overlay: Zones, counting lines and banner.

    Returns:
        uint8 `[H, W, 3]`, BGR.
    """
    canvas: Image = image.copy()
    height, width = canvas.shape[:2]
    scale = max(0.4, min(height, width) / 900)
    thickness = max(1, round(2 * scale + 0.4))
    overlay = overlay or Overlay()
    for name, corners in overlay.zones:
        cv2.polylines(canvas, [np.array(corners, np.int32)], True, _ZONE_COLOUR, thickness, cv2.LINE_AA)
        left, top = min(corners, key=lambda corner: corner[0] + corner[1])
        write_text(canvas, name, (left + 4, top + round(30 * scale)), scale)
    for line in overlay.lines:
        _draw_line(canvas, line, scale, thickness)
    colours = [OTHER_COLOUR if face.unsure else COLOURS.get(face.label, OTHER_COLOUR) for face in faces]
    for face, colour in zip(faces, colours, strict=True):
        x1, y1, x2, y2 = (round(value) for value in face.box)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, thickness, cv2.LINE_AA)
    taken: list[tuple[int, int, int, int]] = []
    for face, colour in zip(faces, colours, strict=True):
        text = _ascii(caption(face))
        (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, scale, 1)
        left, top, right, bottom = _place(face.box, (text_width + 6, text_height + baseline + 4), (width, height), taken)
        taken.append((left, top, right, bottom))
        cv2.rectangle(canvas, (left, top), (right, bottom), colour, -1)
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
        write_text(canvas, status, (8, height - 10), scale)
    if overlay.banner:
        line = round(44 * scale)
        cv2.rectangle(canvas, (0, 0), (width, line + 6), _BANNER_COLOUR, -1)
        banner = _ascii(overlay.banner)
        # A long banner is scaled down to the width of the picture.
        (needed, _), _ = cv2.getTextSize(banner, _FONT, scale, 1)
        size = scale * min(1.0, (width - 16) / max(needed, 1))
        cv2.putText(canvas, banner, (8, line - 8), _FONT, max(size, 0.1), (255, 255, 255), max(1, round(size)), cv2.LINE_AA)
    return canvas


def _place(
    box: Box, size: tuple[int, int], picture: tuple[int, int], taken: Sequence[tuple[int, int, int, int]]
) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a caption.

    The caption is placed above its box, below it or inside it: at the first place where it fits and
    covers no other caption.
    """
    width, height = size
    left = min(max(round(box[0]), 0), max(picture[0] - width, 0))
    places = [(left, top, left + width, top + height) for top in (round(box[1]) - height, round(box[3]), max(round(box[1]), 0))]
    for place in places:
        overlaps = any(
            place[0] < other[2] and other[0] < place[2] and place[1] < other[3] and other[1] < place[3] for other in taken
        )
        if not overlaps and place[1] >= 0 and place[3] <= picture[1]:
            return place
    return places[0] if places[0][1] >= 0 else places[-1]


class Mosaic(NamedTuple):
    """The squares that cover a face.

    Attributes:
        left: Left edge of the covered region in pixels.
        top: Top edge of the region in pixels.
        width: Width of the region in pixels, at least 1.
        height: Height of the region in pixels, at least 1.
        colours: uint8 `[R, C, 3]`, BGR, up to 6 x 6: the mean colours of the squares.
    """

    left: int
    top: int
    width: int
    height: int
    colours: Image


def mosaics(image: Image, boxes: Sequence[Box]) -> list[Mosaic]:
    """Return the mosaics that hide the faces in `boxes` and their surroundings.

    Args:
        image: uint8 `[H, W, 3]`, BGR.
        boxes: x1, y1, x2, y2 in pixels of `image`; they may extend beyond it. A box outside the
            picture has no mosaic.
    """
    height, width = image.shape[:2]
    found = []
    for x1, y1, x2, y2 in boxes:
        dx, dy = _HIDDEN_MARGIN * (x2 - x1), _HIDDEN_MARGIN * (y2 - y1)
        left, top = max(0, int(x1 - dx)), max(0, int(y1 - dy))
        right, bottom = min(width, int(x2 + dx) + 1), min(height, int(y2 + dy) + 1)
        if left >= right or top >= bottom:
            continue
        size = min(_MOSAIC, right - left), min(_MOSAIC, bottom - top)
        # Compute colours from the original picture. With overlapping faces, the second mosaic must
        # not show more detail than the first.
        colours = np.asarray(cv2.resize(image[top:bottom, left:right], size, interpolation=cv2.INTER_AREA), np.uint8)
        found.append(Mosaic(left, top, right - left, bottom - top, colours))
    return found


def pixelate(image: Image, boxes: Sequence[Box]) -> Image:
    """Return a copy of `image` with the faces in `boxes` hidden (see `mosaics`).

    Args:
        image: uint8 `[H, W, 3]`, BGR; not changed.
        boxes: x1, y1, x2, y2 in pixels of `image`; they may extend beyond it.

    Returns:
        uint8 `[H, W, 3]`, BGR.
    """
    canvas: Image = image.copy()
    for left, top, width, height, colours in mosaics(image, boxes):
        canvas[top : top + height, left : left + width] = cv2.resize(colours, (width, height), interpolation=cv2.INTER_NEAREST)
    return canvas


def _draw_line(canvas: Image, line: DrawnLine, scale: float, thickness: int) -> None:
    """Draw a line, an arrow to its right at the middle of its longest part, and its counts beside it."""
    points = np.array(line.points, np.int32)
    cv2.polylines(canvas, [points], False, _ZONE_COLOUR, thickness + 1, cv2.LINE_AA)
    steps = np.diff(points, axis=0).astype(float)
    lengths = np.hypot(steps[:, 0], steps[:, 1])
    longest = int(lengths.argmax())
    middle = (points[longest] + points[longest + 1]) / 2
    # The picture's y axis points down, so the right of the direction (x, y) is (-y, x).
    across = np.array([-steps[longest, 1], steps[longest, 0]]) / max(lengths[longest], 1.0)
    tip = middle + across * 60 * scale
    start, end = ((round(x), round(y)) for x, y in (middle, tip))
    cv2.arrowedLine(canvas, start, end, _ZONE_COLOUR, thickness + 1, cv2.LINE_AA, tipLength=0.35)
    text = f"{line.name}: {line.inward} in, {line.outward} out"
    width = text_width(text, scale)
    # On the other side of the arrow, moved into the picture.
    x, y = middle - across * 16 * scale
    left = x if across[0] < -0.5 else x - width if across[0] > 0.5 else x - width / 2
    baseline = y + (-8 if across[1] > 0.5 else 24 if across[1] < -0.5 else 8) * scale
    place = (
        round(min(max(left, 4), max(canvas.shape[1] - width - 4, 4))),
        round(min(max(baseline, 30 * scale), canvas.shape[0] - 8)),
    )
    write_text(canvas, text, place, scale)


def write_text(canvas: Image, text: str, place: tuple[int, int], scale: float) -> None:
    """Write white text with a black outline, readable on any background.

    Args:
        canvas: uint8 `[H, W, 3]`, BGR; changed.
        text: The text.
        place: Left end of the base line, in pixels.
        scale: Size of the font; 1 is 22 pixels high.
    """
    text = _ascii(text)
    for colour, weight in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(canvas, text, place, _FONT, scale, colour, weight, cv2.LINE_AA)


def text_width(text: str, scale: float) -> int:
    """Return the width of `text` in pixels, as `write_text` draws it."""
    return int(cv2.getTextSize(_ascii(text), _FONT, scale, 1)[0][0])


def _ascii(text: str) -> str:
    """Return `text` without accents, and with `?` for other characters that the font lacks.

    OpenCV draws a question mark for each byte of such a character, and crashes on text that is not UTF-8.
    """
    parts = unicodedata.normalize("NFKD", displayable(text))
    return "".join(sign for sign in parts if not unicodedata.combining(sign)).encode("ascii", "replace").decode()
