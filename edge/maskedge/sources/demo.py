"""The built-in demo clip, drawn at run time: faces before a textured wall, with ground truth.

Each face is the aligned average of 12 to 16 faces (`edge-train composites`), so the package does
not contain a picture of a person.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.types import Box, Frame, Image

from .base import BaseSource, stamp
from .kinds import RecordedKind

WIDTH, HEIGHT, FPS, FRAMES = 640, 480, 30, 300


@dataclass(frozen=True, slots=True)
class TrueFace:
    """Ground truth of one face in a frame.

    Attributes:
        person: Number of the person, equal in every frame.
        label: `with_mask` or `without_mask`.
        box: x1, y1, x2, y2 in pixels. The box may extend beyond the frame.
        visible: Fraction of the box that is inside the frame and behind no other face, 0 to 1.
    """

    person: int
    label: str
    box: Box
    visible: float


@dataclass(frozen=True, slots=True)
class _Actor:
    """A tile of the picture of composites and its path.

    The key frames are (second, centre x, centre y, side of the face box), in pixels.
    """

    tile: int
    way: tuple[tuple[float, float, float, float], ...]

    def place(self, second: float) -> tuple[float, float, float] | None:
        """Return centre x, centre y and side at `second`, or None while the face is absent."""
        times, *values = zip(*self.way, strict=True)
        if not times[0] <= second <= times[-1]:
            return None
        x, y, side = (float(np.interp(second, times, value)) for value in values)
        # A slight movement, because people do not stand completely still.
        return x + 3 * np.sin(2.1 * second + self.tile), y + 2 * np.sin(2.7 * second + 2 * self.tile), side


# From back to front. Where two faces overlap, the later one covers the earlier one.
_CAST = (
    _Actor(1, ((0.0, 110, 130, 84), (10.0, 150, 140, 108))),
    _Actor(3, ((0.0, 520, 120, 80), (5.0, 480, 130, 100), (10.0, 500, 125, 92))),
    _Actor(0, ((0.5, -70, 330, 110), (4.5, 320, 310, 120), (9.0, 715, 335, 120))),
    _Actor(4, ((1.5, 715, 340, 120), (5.5, 300, 350, 150), (10.0, 160, 345, 160))),
    _Actor(5, ((3.0, 310, -70, 90), (4.5, 310, 110, 96), (7.5, 330, 120, 112), (9.5, 340, -80, 112))),
    _Actor(2, ((6.0, 560, 560, 130), (7.5, 540, 330, 140), (10.0, 520, 320, 150))),
)


@cache
def _atlas() -> tuple[list[Image], list[str], list[Box], npt.NDArray[np.float32]]:
    """Return the tiles, their labels, their face boxes and the soft mask of a head.

    The boxes are in fractions of a tile.
    """
    folder = files("maskedge.sources")
    facts = json.loads((folder / "demo_faces.json").read_text(encoding="utf-8"))
    strip = np.asarray(cv2.imdecode(np.frombuffer((folder / "demo_faces.jpg").read_bytes(), np.uint8), cv2.IMREAD_COLOR))
    tile = int(facts["tile"])
    tiles = [np.asarray(strip[:, start : start + tile], np.uint8) for start in range(0, strip.shape[1], tile)]
    labels = [str(entry["label"]) for entry in facts["tiles"]]
    boxes: list[Box] = [tuple(entry["box"]) for entry in facts["tiles"]]
    outline = np.zeros((tile, tile), np.float32)
    cv2.ellipse(outline, (tile // 2, round(0.48 * tile)), (round(0.34 * tile), round(0.43 * tile)), 0, 0, 360, 1.0, -1)
    return tiles, labels, boxes, np.asarray(cv2.GaussianBlur(outline, (0, 0), tile / 32), np.float32)


@cache
def _wall() -> Image:
    """Return the background, a plaster wall with soft stains and a skirting board."""
    random = np.random.default_rng(3)
    stains = cv2.resize(random.random((30, 40, 1), np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    grain = cv2.GaussianBlur(random.standard_normal((HEIGHT, WIDTH), np.float32), (0, 0), 0.7)
    shade = 150 + 6 * (stains - 0.5) + 8 * grain
    shade[440:] -= 60
    shade[436:440] -= 90
    return (shade[..., None] * np.array([0.92, 0.97, 1.0], np.float32)).clip(0, 255).astype(np.uint8)


class DemoSource(BaseSource):
    """The demo clip: 10 s of 640 x 480 pixels at 30 frames/s, identical in every run."""

    def __init__(self) -> None:
        super().__init__("demo", video=True, fps=float(FPS), length=FRAMES)

    def frames(self) -> Iterator[Frame]:
        """Draw and yield the frames."""
        for index in range(FRAMES):
            self.captured += 1
            yield stamp(draw(index), index, self.name, index / FPS)


def draw(index: float) -> Image:
    """Draw frame `index` as uint8 `[480, 640, 3]`, BGR. A fraction is a time between two frames."""
    tiles, _, boxes, outline = _atlas()
    image = _wall().copy()
    for actor in _CAST:
        place = actor.place(index / FPS)
        if place is None:
            continue
        x, y, side = place
        x1, y1, x2, y2 = boxes[actor.tile]
        extent = side / (x2 - x1)
        left, top = x - (x1 + x2) / 2 * extent, y - (y1 + y2) / 2 * extent
        _paste(image, tiles[actor.tile], outline, left, top, extent)
    # A few fixed patterns imitate sensor noise at little cost. Consecutive frames always differ.
    return np.asarray(cv2.add(image, _noise()[int(index) % len(_noise())], dtype=cv2.CV_8U), np.uint8)


@cache
def _noise() -> list[npt.NDArray[np.int16]]:
    random = np.random.default_rng(11)
    return [np.rint(random.standard_normal((HEIGHT, WIDTH, 3), np.float32) * 2.5).astype(np.int16) for _ in range(5)]


def _paste(image: Image, tile: Image, outline: npt.NDArray[np.float32], left: float, top: float, extent: float) -> None:
    """Scale `tile` to `extent` pixels and blend it into `image` with its corner at (left, top).

    The position may be a fraction of a pixel.
    """
    x1, y1 = max(int(left), 0), max(int(top), 0)
    x2, y2 = min(int(left + extent) + 1, image.shape[1]), min(int(top + extent) + 1, image.shape[0])
    if x1 >= x2 or y1 >= y2:
        return
    scale = extent / tile.shape[0]
    matrix = np.array([[scale, 0, left - x1], [0, scale, top - y1]], np.float32)
    size = (x2 - x1, y2 - y1)
    face = cv2.warpAffine(tile, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(outline, matrix, size, flags=cv2.INTER_LINEAR)
    image[y1:y2, x1:x2] = cv2.blendLinear(face, np.ascontiguousarray(image[y1:y2, x1:x2]), alpha, 1 - alpha)


def truth(index: float) -> list[TrueFace]:
    """Return the ground truth of frame `index`."""
    _, labels, _, _ = _atlas()
    owner = np.full((HEIGHT, WIDTH), -1, np.int8)
    present: list[tuple[int, Box, float]] = []
    for person, actor in enumerate(_CAST):
        place = actor.place(index / FPS)
        if place is None:
            continue
        x, y, side = place
        box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
        x1, y1, x2, y2 = (max(0, round(value)) for value in box)
        owner[y1:y2, x1:x2] = person
        present.append((person, box, side * side))
    return [
        TrueFace(person, labels[_CAST[person].tile], box, float((owner == person).sum() / area)) for person, box, area in present
    ]


KIND = RecordedKind(lambda uri: uri == "demo", lambda uri: DemoSource())
