"""Things worn above the mouth, painted on faces: sunglasses, goggles, visors, caps, hoods, hair and shade.

They hide eyes or forehead and do not change the label of the face.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.types import Image

from .landmarks import BROWS, CHIN, FOREHEAD, LEFT_CHEEK, LEFT_EYE, LEFT_TEMPLE, OVAL, RIGHT_CHEEK, RIGHT_EYE, RIGHT_TEMPLE, Points

_SUBPIXELS = 4
_WHITE = (250.0, 248.0, 245.0)

_Mask = npt.NDArray[np.float32]
_Place = npt.NDArray[np.float64]


@dataclass
class _Face:
    """A face to paint on. Lengths are in widths of the face, `right` and `down` are its own directions.

    Attributes:
        image: uint8 `[H, W, 3]`, BGR: the surroundings of the face. It is changed.
        points: float64 `[468, 2]`, the landmarks in it.
        random: Generator of all draws.
    """

    image: Image
    points: npt.NDArray[np.float64]
    random: np.random.Generator

    def __post_init__(self) -> None:
        self.width = float(np.linalg.norm(self.points[RIGHT_CHEEK] - self.points[LEFT_CHEEK]))
        self.eyes = [self.points[list(eye)].mean(0) for eye in (LEFT_EYE, RIGHT_EYE)]
        across = self.eyes[1] - self.eyes[0]
        self.right = across / max(float(np.linalg.norm(across)), 1e-6)
        self.down = np.array([-self.right[1], self.right[0]])
        self.outline = self.points[list(OVAL)]
        self.middle = self.outline.mean(0)
        inside = self.polygon(self.outline) > 0
        self.light = float(np.clip(self.image[inside].mean() / 130, 0.15, 1.3)) if inside.any() else 1.0

    def place(self, origin: _Place, right: float, down: float) -> _Place:
        """Return the pixel at a distance from another."""
        return np.asarray(origin + self.width * (right * self.right + down * self.down))

    def oval(self, centre: _Place, wide: float, tall: float, power: float = 2.0, corners: int = 40) -> _Place:
        """Return a superellipse, float64 `[N, 2]`; 2 is an ellipse, a larger power has sharper corners."""
        turn = np.linspace(0, 2 * np.pi, corners, endpoint=False)
        cos, sin = np.cos(turn), np.sin(turn)
        x = wide * np.sign(cos) * np.abs(cos) ** (2 / power)
        y = tall * np.sign(sin) * np.abs(sin) ** (2 / power)
        return np.asarray(centre + self.width * (x[:, None] * self.right + y[:, None] * self.down))

    def polygon(self, corners: _Place, soft: float = 0.0) -> _Mask:
        """Return a filled polygon, float32 `[H, W]` in 0..1, with edges of a softness."""
        layer = np.zeros(self.image.shape[:2], np.uint8)
        cv2.fillPoly(layer, [np.round(corners * 2**_SUBPIXELS).astype(np.int32)], 255, cv2.LINE_AA, _SUBPIXELS)
        return self._soften(layer, soft)

    def line(self, corners: list[_Place], width: float) -> _Mask:
        """Return a line, float32 `[H, W]` in 0..1."""
        layer = np.zeros(self.image.shape[:2], np.uint8)
        places = np.round(np.array(corners) * 2**_SUBPIXELS).astype(np.int32)
        cv2.polylines(layer, [places], False, 255, max(1, round(width * self.width)), cv2.LINE_AA, _SUBPIXELS)
        return self._soften(layer, 0)

    def _soften(self, layer: npt.NDArray[np.uint8], soft: float) -> _Mask:
        mask = layer.astype(np.float32) / 255
        sigma = soft * self.width
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma) if sigma > 0.3 else mask, np.float32)

    def cover(self, mask: _Mask, colour: npt.ArrayLike, share: float = 1.0) -> None:
        """Paint a colour, or a picture of this size, where the mask is."""
        own = (mask * share)[..., None]
        self.image[:] = np.clip(self.image * (1 - own) + np.clip(np.asarray(colour, np.float32), 0, 255) * own, 0, 255).astype(
            np.uint8
        )

    def colour(self, low: float, high: float, spread: float) -> npt.NDArray[np.float64]:
        """Draw a colour of a brightness between two, in the light of the face."""
        return np.asarray(np.clip(self.random.uniform(low, high) + self.random.normal(0, spread, 3), 0, 255) * self.light)

    def cloth(self) -> npt.NDArray[np.float32]:
        """Draw a cloth: float32 `[H, W, 3]`."""
        height, width = self.image.shape[:2]
        colour = self.random.uniform(10, 240) + self.random.normal(0, float(self.random.choice([6, 25, 55])), 3)
        folds = cv2.resize(self.random.normal(0, 1, (6, 6)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        grain = self.random.normal(0, 3, (height, width, 1))
        shaded = colour * (1 + self.random.uniform(0.05, 0.3) * folds[..., None]) + grain
        return np.asarray(np.clip(shaded, 0, 255) * self.light, np.float32)

    def reflections(self, within: _Mask, top: _Place, bottom: _Place, reach: float, number: int) -> None:
        """Paint bright stripes between two heights on glass."""
        for _ in range(number):
            start, wide = self.random.uniform(-reach, reach), self.random.uniform(0.05, 0.5) * reach
            corners = [
                self.place(top, start, 0),
                self.place(top, start + wide, 0),
                self.place(bottom, start + 0.6 * wide, 0),
                self.place(bottom, start - 0.4 * wide, 0),
            ]
            stripe = self.polygon(np.array(corners), 0.02) * within
            self.cover(stripe, np.array(_WHITE) * self.light, self.random.uniform(0.1, 0.6))


def _sunglasses(face: _Face) -> None:
    random = face.random
    wide, power = random.uniform(0.17, 0.235), random.uniform(2, 4.5)
    tall, drop, share = wide * random.uniform(0.62, 1.0), random.uniform(0.02, 0.18), random.uniform(0.72, 1)
    glass = face.colour(5, 70, 12)
    for eye in face.eyes:
        centre = face.place(eye, 0, drop * tall)
        lens = face.polygon(face.oval(centre, wide, tall, power), 0.01)
        face.cover(lens, glass, share)
        if random.random() < 0.5:
            face.reflections(lens, face.place(centre, 0, -tall), face.place(centre, 0, tall), wide, 1)
    left, right = face.eyes
    frame = glass * random.uniform(0.3, 1)
    pieces = [
        (face.place(left, 0.9 * wide, -0.3 * tall), face.place(right, -0.9 * wide, -0.3 * tall)),
        (face.place(left, -0.95 * wide, -0.2 * tall), face.place(face.points[LEFT_TEMPLE], -0.03, 0)),
        (face.place(right, 0.95 * wide, -0.2 * tall), face.place(face.points[RIGHT_TEMPLE], 0.03, 0)),
    ]
    for piece in pieces:
        face.cover(face.line(list(piece), 0.03), frame, 0.9)


def _goggles(face: _Face) -> None:
    random = face.random
    centre = face.place((face.eyes[0] + face.eyes[1]) / 2, 0, random.uniform(0, 0.05))
    wide, tall = random.uniform(0.44, 0.54), random.uniform(0.19, 0.27)
    glass = face.polygon(face.oval(centre, wide, tall, random.uniform(2.5, 5)), 0.01)
    clear = random.random() < 0.65
    tint = face.colour(*((60, 60) if random.random() < 0.33 else (150, 220)), 30)
    face.cover(glass, tint, random.uniform(0.08, 0.35) if clear else random.uniform(0.5, 0.95))
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (max(2, round(0.05 * face.width)),) * 2)
    rim = cv2.morphologyEx(glass, cv2.MORPH_GRADIENT, brush)
    face.cover(np.asarray(rim, np.float32), face.colour(20, 210, 40), random.uniform(0.4, 1))
    face.reflections(glass, face.place(centre, 0, -tall), face.place(centre, 0, tall), wide, int(random.integers(0, 3)))
    strap, colour = random.uniform(0.03, 0.09), face.colour(20, 220, 40)
    for temple, sign in ((LEFT_TEMPLE, -1), (RIGHT_TEMPLE, 1)):
        ends = [face.place(centre, 0.98 * sign * wide, 0), face.place(face.points[temple], 0.15 * sign, -0.03)]
        face.cover(face.line(ends, strap), colour, 0.9)


def _visor(face: _Face) -> None:
    random = face.random
    top = face.place(face.points[FOREHEAD], 0, -random.uniform(0, 0.1))
    bottom = face.place(face.points[CHIN], 0, random.uniform(0.02, 0.35))
    wide, narrow = random.uniform(0.56, 0.68), random.uniform(0.8, 1)
    corners = [
        face.place(top, -wide, 0),
        face.place(top, wide, 0),
        face.place(bottom, wide * narrow, 0),
        face.place(bottom, -wide * narrow, 0),
    ]
    pane = face.polygon(np.array(corners), 0.02)
    haze = np.array(_WHITE) * 0.9 * face.light
    face.cover(pane, haze, random.uniform(0.05, 0.3))
    face.cover(face.line(corners[:2], random.uniform(0.06, 0.2)), face.colour(40, 230, 40), random.uniform(0.5, 1))
    face.cover(face.line([corners[1], corners[2], corners[3], corners[0]], 0.015), haze, random.uniform(0.2, 0.8))
    face.reflections(pane, top, bottom, wide, int(random.integers(1, 4)))


def _cap(face: _Face) -> None:
    random = face.random
    brow = face.points[list(BROWS)].mean(0)
    base = face.place(brow, 0, -random.uniform(0.02, 0.2))
    wide = random.uniform(0.54, 0.66)
    tall = float(np.linalg.norm(face.points[FOREHEAD] - base)) / face.width + random.uniform(0.12, 0.35)
    dome = face.oval(base, wide, tall, random.uniform(2, 3), 60)
    cloth = face.cloth()
    face.cover(face.polygon(dome[(dome - base) @ face.down <= 0.02 * face.width], 0.015), cloth)
    kind = random.integers(3)
    if kind == 0:  # knitted, with a turned-up edge
        edge = [face.place(base, x, y) for x, y in ((-wide, -0.12), (wide, -0.12), (wide, 0.03), (-wide, 0.03))]
        face.cover(face.polygon(np.array(edge), 0.01), cloth * random.uniform(0.6, 1.2))
        return
    peak, thick = (random.uniform(0.4, 0.6) if kind == 1 else random.uniform(0.75, 1.05)), random.uniform(0.06, 0.17)
    centre = face.place(base, random.uniform(-0.15, 0.15) if kind == 1 else 0, random.uniform(-0.02, 0.05))
    shade = face.polygon(face.oval(face.place(centre, 0, 1.3 * thick), 0.95 * wide, 2.6 * thick), 0.06)
    face.cover(shade, face.image * random.uniform(0.35, 0.8))
    face.cover(face.polygon(face.oval(centre, peak, thick), 0.01), cloth * random.uniform(0.4, 1.1))


def _hood(face: _Face) -> None:
    random = face.random
    inner = face.polygon(face.middle + random.uniform(0.93, 1.08) * (face.outline - face.middle), 0.01)
    outer = face.polygon(face.middle + random.uniform(1.35, 1.6) * (face.outline - face.middle), 0.02)
    face.cover(np.clip(outer - inner, 0, 1), face.cloth())
    near = inner * (1 - face.polygon(face.middle + 0.8 * (face.outline - face.middle), 0.07))
    face.cover(near, face.image * random.uniform(0.5, 0.9))


def _hair(face: _Face) -> None:
    random = face.random
    side, between = float(random.choice([-1, 1])), (face.eyes[0] + face.eyes[1]) / 2
    colour = np.clip(random.uniform(10, 120) + random.normal(0, 15, 3) + np.array([-8, 0, 12]), 0, 220) * face.light
    share = np.linspace(0, 1, 10)[:, None]
    for _ in range(int(random.integers(20, 70))):
        across = side * random.normal(0.25, 0.16)
        start = face.place(face.points[FOREHEAD], random.normal(0, 0.18), -0.1)
        middle = face.place(between, 1.1 * across, 0)
        end = face.place(face.points[CHIN], 1.3 * across + random.normal(0, 0.1), -random.uniform(0, 0.5))
        strand = (1 - share) ** 2 * start + 2 * share * (1 - share) * middle + share**2 * end
        face.cover(face.line(list(strand), random.uniform(0.006, 0.03)), colour * random.uniform(0.6, 1.4), 0.85)


def _shade(face: _Face) -> None:
    random = face.random
    turn, edge = random.uniform(0, 2 * np.pi), float(random.choice([4, 12, 40]))
    y, x = np.mgrid[: face.image.shape[0], : face.image.shape[1]]
    right, down = (x - face.middle[0]) / face.width, (y - face.middle[1]) / face.width
    dark = 1 / (1 + np.exp(-edge * (right * np.cos(turn) + down * np.sin(turn) - random.uniform(-0.3, 0.3))))
    near = np.exp(-(((right**2 + down**2) / 1.1**2) ** 2))
    face.cover(np.asarray(dark * near, np.float32), face.image * random.uniform(0.25, 0.6))


COVERS: dict[str, tuple[float, Callable[[_Face], None]]] = {
    "sunglasses": (0.25, _sunglasses),
    "goggles": (0.25, _goggles),
    "visor": (0.12, _visor),
    "cap": (0.2, _cap),
    "hood": (0.06, _hood),
    "hair": (0.05, _hair),
    "shade": (0.07, _shade),
}
"""What covers a face, with its share among the covered faces and its painter."""
_REACH = 2.0
"""Reach of the paint from the middle of the face, in widths of the face."""


def cover_face(image: Image, points: Points, kind: str, random: np.random.Generator) -> Image:
    """Paint something worn above the mouth.

    Args:
        image: uint8 `[H, W, 3]`, BGR. It is not changed.
        points: The landmarks of the face.
        kind: Name in `COVERS`.
        random: Generator of all draws.

    Returns:
        uint8 `[H, W, 3]`, BGR.
    """
    result = np.array(image, np.uint8)
    reach = _REACH * float(np.linalg.norm(points[RIGHT_CHEEK, :2] - points[LEFT_CHEEK, :2]))
    middle = points[list(OVAL), :2].mean(0)
    left, top = np.maximum(np.floor(middle - reach), 0).astype(int).tolist()
    right, bottom = np.ceil(middle + reach).astype(int).tolist()
    COVERS[kind][1](_Face(result[top:bottom, left:right], points[:, :2] - [left, top], random))
    return result
