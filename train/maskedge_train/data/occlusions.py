"""Masks and other objects painted on unmasked faces.

Cameras record such faces, but data sets lack them.

Positions are in the face's frame: right -1..1 across its box, down -1 at the top to 1 at the
bottom. In the labelled boxes of this project the eyes lie near -0.15, the tip of the nose near
0.25, the mouth near 0.55.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.types import Image

_ZOOM = 2
"""Factor by which occlusions are drawn larger and then shrunk, for smooth edges."""

Points = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Canvas:
    """A face patch to paint on.

    Attributes:
        size: Side of the enlarged patch in pixels.
        half: Half width and half height of the face box in these pixels.
        roll: Rotation of the painting in radians.
        random: Generator of all draws.
    """

    size: int
    half: tuple[float, float]
    roll: float
    random: np.random.Generator

    def points(self, places: list[tuple[float, float]]) -> Points:
        """Convert positions in the face's frame to pixels: float32 `[N, 2]`."""
        local = np.array(places, np.float32) * np.array(self.half, np.float32)
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        rotated = local @ np.array([[cos, sin], [-sin, cos]], np.float32)
        return np.asarray(rotated + self.size / 2, np.float32)

    def blank(self) -> npt.NDArray[np.uint8]:
        """Return an empty uint8 `[size, size]` layer."""
        return np.zeros((self.size, self.size), np.uint8)

    def fill(self, layer: npt.NDArray[np.uint8], places: list[tuple[float, float]], value: int = 255) -> None:
        """Fill a polygon."""
        cv2.fillPoly(layer, [np.round(self.points(places)).astype(np.int32)], value, cv2.LINE_AA)

    def line(self, layer: npt.NDArray[np.uint8], places: list[tuple[float, float]], width: float, value: int = 255) -> None:
        """Draw a line. `width` is in units of the face's half width."""
        thickness = max(1, round(width * self.half[0]))
        cv2.polylines(layer, [np.round(self.points(places)).astype(np.int32)], False, value, thickness, cv2.LINE_AA)


def _curve(
    start: tuple[float, float], middle: tuple[float, float], end: tuple[float, float], steps: int = 9
) -> list[tuple[float, float]]:
    """Sample a quadratic curve through `middle`."""
    t = np.linspace(0, 1, steps)[:, None]
    a, m, b = (np.array(point) for point in (start, middle, end))
    control = 2 * m - (a + b) / 2
    return [(float(x), float(y)) for x, y in (1 - t) ** 2 * a + 2 * t * (1 - t) * control + t**2 * b]


def _texture(canvas: Canvas, colour: npt.NDArray[np.float32], plain: float) -> npt.NDArray[np.float32]:
    """Return cloth of about `colour`: float32 `[size, size, 3]`.

    `plain` is the probability of no pattern.
    """
    random, size = canvas.random, canvas.size
    cloth = np.broadcast_to(colour, (size, size, 3)).copy()
    y, x = np.mgrid[:size, :size].astype(np.float32) / canvas.half[0]
    if random.random() > plain:
        second = random.uniform(0, 255, 3).astype(np.float32)
        angle, pitch = random.uniform(0, np.pi), random.uniform(0.12, 0.5)
        across = (x * np.cos(angle) + y * np.sin(angle)) / pitch
        along = (y * np.cos(angle) - x * np.sin(angle)) / pitch
        kind = random.integers(4)
        if kind == 0:
            pattern = (across % 1 < random.uniform(0.2, 0.6)).astype(np.float32)
        elif kind == 1:
            pattern = ((across % 1 < 0.5) ^ (along % 1 < 0.5)).astype(np.float32)
        elif kind == 2:
            pattern = ((across % 1 - 0.5) ** 2 + (along % 1 - 0.5) ** 2 < random.uniform(0.03, 0.12)).astype(np.float32)
        else:
            blobs = cv2.resize(random.random((9, 9)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
            pattern = (blobs > random.uniform(0.4, 0.7)).astype(np.float32)
        cloth += pattern[..., None] * (second - colour)
    folds = cv2.resize(random.normal(0, 1, (7, 7)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    grain = random.normal(0, random.uniform(1, 5), (size, size, 1)).astype(np.float32)
    return np.asarray(cloth * (1 + 0.07 * folds[..., None]) + grain, np.float32)


def _light(patch: Image, layer: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Shade `layer` like the face below it: mean brightness and gradual changes."""
    grey = cv2.cvtColor(patch, cv2.COLOR_BGR2GRAY).astype(np.float32)
    slow = cv2.GaussianBlur(grey, (0, 0), grey.shape[0] / 7)
    level = float(np.clip(grey.mean() / 125, 0.25, 1.1))
    return np.asarray(layer * (level * np.clip(slow / (slow.mean() + 1), 0.5, 1.5))[..., None], np.float32)


# BGR: surgical blue and green, white, black, grey, navy, red, pink, beige.
_MASK_COLOURS = ((226, 200, 150), (190, 190, 130), (240, 240, 240), (35, 35, 35), (130, 130, 130), (90, 50, 30), (50, 40, 190),
                 (190, 160, 240), (160, 185, 215))  # fmt: skip


def _mask(canvas: Canvas, top: float, bottom: float) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Draw a mask from `top` (on the middle line) to `bottom`: alpha uint8 and colour float32."""
    random = canvas.random
    middle = random.normal(0, 0.1)
    wide, narrow = random.uniform(0.82, 1.08), random.uniform(0.42, 0.7)
    # The side edge is lower than the bridge. A mask below nose or chin is straighter.
    slope = random.uniform(0.08, 0.3) if top < 0.25 else random.uniform(-0.05, 0.12)
    side_top, side_low = top + slope, bottom - random.uniform(0.28, 0.5) * min(1.0, bottom - top)
    outline = [
        *_curve((-wide, side_top), (middle, top), (wide, side_top)),
        (wide * random.uniform(0.85, 1.0), (side_top + side_low) / 2),
        *_curve((narrow + middle / 2, side_low + 0.25 * (bottom - side_low)), (middle, bottom), (-narrow + middle / 2, side_low)),
        (-wide * random.uniform(0.85, 1.0), (side_top + side_low) / 2),
    ]
    alpha = canvas.blank()
    canvas.fill(alpha, outline)
    colour = np.array(_MASK_COLOURS[int(random.integers(len(_MASK_COLOURS)))], np.float32)
    if random.random() < 0.3:
        colour = random.uniform(10, 250, 3).astype(np.float32)
    cloth = _texture(canvas, np.asarray(colour + random.normal(0, 10, 3), np.float32), plain=0.65)
    creases = canvas.blank()
    if random.random() < 0.55:
        for share in (0.3, 0.5, 0.7):
            height = side_top + share * (side_low - side_top)
            dip = random.uniform(0.0, 0.12)
            canvas.line(creases, _curve((-wide * 0.95, height), (middle, height + dip), (wide * 0.95, height)), 0.03, 90)
    elif random.random() < 0.5:
        canvas.line(creases, [(middle, top), (middle + random.normal(0, 0.05), bottom)], 0.03, 80)
    if random.random() < 0.12:
        centre = canvas.points([(middle + random.choice([-0.35, 0.35]), (top + bottom) / 2)])[0]
        cv2.circle(creases, (round(float(centre[0])), round(float(centre[1]))), round(0.16 * canvas.half[0]), 70, -1, cv2.LINE_AA)
    cloth *= 1 - creases[..., None].astype(np.float32) / 255
    if random.random() < 0.7:
        loops = canvas.blank()
        ear = random.uniform(-0.35, 0.1)
        for sign in (-1, 1):
            canvas.line(loops, [(sign * wide * 0.97, side_top + 0.03), (sign * 1.12, ear)], 0.035)
            canvas.line(loops, [(sign * wide * 0.9, side_low), (sign * 1.12, ear + 0.25)], 0.035)
        loops = np.asarray(np.where(alpha > 0, 0, loops), np.uint8)
        cloth = np.where(loops[..., None] > 0, np.float32(random.choice([40.0, 235.0])), cloth)
        alpha = np.maximum(alpha, loops)
    return alpha, np.asarray(cloth, np.float32)


def _skin(canvas: Canvas, patch: Image) -> npt.NDArray[np.float32]:
    """Return the face's skin colour: the median around its cheeks."""
    x, y = canvas.size / 2, canvas.size / 2
    dx, dy = canvas.half[0] * 0.5, canvas.half[1] * 0.2
    cheeks = patch[round(y - dy / 2) : round(y + dy), round(x - dx) : round(x + dx)].reshape(-1, 3)
    return np.asarray(np.median(cheeks, axis=0), np.float32)


def _hand(canvas: Canvas, patch: Image) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Draw a hand in front of mouth and nose, in the face's skin colour: a palm and fingers."""
    random = canvas.random
    alpha, shade = canvas.blank(), canvas.blank()
    sign = random.choice([-1.0, 1.0])
    angle = random.uniform(-1.2, 0.2)
    along = np.array([-sign * np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    knuckles = np.array([sign * random.uniform(0.1, 0.6), random.uniform(0.45, 0.8)])
    width, length = random.uniform(0.2, 0.3), random.uniform(0.6, 1.1)
    for finger in range(int(random.integers(3, 5))):
        start = knuckles + across * (finger - 1.5) * width * 1.02
        end = start + along * length * (1 - 0.12 * abs(finger - 1.4))
        canvas.line(alpha, [tuple(start), tuple(end)], width)
        edge = across * width * 0.5
        canvas.line(shade, [tuple(start + edge), tuple(end + edge)], 0.035, 110)
    palm_end = knuckles - along * random.uniform(0.6, 1.2)
    canvas.line(alpha, [tuple(knuckles - along * 0.1), tuple(palm_end)], width * 3.4)
    colour = _skin(canvas, patch) * random.uniform(0.85, 1.12)
    hand = _texture(canvas, np.asarray(colour, np.float32), plain=1.0)
    hand *= 1 - cv2.GaussianBlur(shade, (0, 0), 2)[..., None].astype(np.float32) / 255
    return alpha, np.asarray(hand, np.float32)


def _scarf(canvas: Canvas, patch: Image) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Draw a scarf around neck and mouth, wider than the face and reaching below the chin."""
    random = canvas.random
    top = random.uniform(0.15, 0.6)
    alpha, shade = canvas.blank(), canvas.blank()
    dip = random.uniform(-0.1, 0.15)
    canvas.fill(
        alpha,
        [*_curve((-2.2, top - random.uniform(0, 0.4)), (0, top + dip), (2.2, top - random.uniform(0, 0.4))), (2.2, 3), (-2.2, 3)],
    )
    for _ in range(int(random.integers(3, 7))):
        height = top + random.uniform(0.1, 1.4)
        lift = random.uniform(-0.5, 0.5)
        canvas.line(shade, _curve((-2.0, height - lift), (0, height + 0.1), (2.0, height + lift)), random.uniform(0.05, 0.14), 100)
    cloth = _texture(canvas, random.uniform(15, 240, 3).astype(np.float32), plain=0.35)
    cloth *= 1 - cv2.GaussianBlur(shade, (0, 0), 3)[..., None].astype(np.float32) / 255
    return alpha, np.asarray(cloth, np.float32)


def _cup(canvas: Canvas, patch: Image) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Draw a cup at the mouth, with a rim; some are held by a hand."""
    random = canvas.random
    alpha, shade = canvas.blank(), canvas.blank()
    x, top = random.normal(0, 0.15), random.uniform(0.15, 0.5)
    wide, foot = random.uniform(0.32, 0.55), random.uniform(0.7, 1.0)
    bottom = top + random.uniform(0.9, 1.6)
    lean = random.normal(0, 0.2)
    canvas.fill(
        alpha,
        [
            *_curve((x - wide, top), (x, top - 0.08), (x + wide, top)),
            (x + lean + wide * foot, bottom),
            (x + lean - wide * foot, bottom),
        ],
    )
    canvas.line(shade, _curve((x - wide, top + 0.05), (x, top + 0.12), (x + wide, top + 0.05)), 0.05, 90)
    canvas.line(shade, [(x + 0.6 * wide, top), (x + lean + 0.6 * wide * foot, bottom)], 0.25, 50)
    cup = _texture(canvas, random.choice([random.uniform(190, 250, 3), random.uniform(10, 240, 3)]).astype(np.float32), plain=0.6)
    cup *= 1 - cv2.GaussianBlur(shade, (0, 0), 3)[..., None].astype(np.float32) / 255
    if random.random() < 0.5:
        grip, _ = canvas.blank(), None
        for finger in range(4):
            height = top + 0.35 + 0.2 * finger
            canvas.line(grip, [(x - wide * 1.2, height), (x + wide * random.uniform(0.1, 0.6), height - 0.05)], 0.17)
        skin = _texture(canvas, np.asarray(_skin(canvas, patch) * random.uniform(0.85, 1.1), np.float32), plain=1.0)
        cup = np.where(grip[..., None] > 0, skin, cup)
        alpha = np.maximum(alpha, grip)
    return alpha, np.asarray(cup, np.float32)


def _phone(canvas: Canvas, patch: Image) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Draw a phone in front of mouth or cheek: a flat slab with a camera, held by fingers."""
    random = canvas.random
    alpha = canvas.blank()
    wide, tall = random.uniform(0.28, 0.42), random.uniform(0.6, 0.85)
    x, y, angle = random.normal(0, 0.25), random.uniform(0.45, 0.75), random.normal(0, 0.6)
    cos, sin = np.cos(angle), np.sin(angle)

    def place(right: float, down: float) -> tuple[float, float]:
        return x + right * cos - down * sin, y + right * sin + down * cos

    canvas.fill(alpha, [place(-wide, -tall), place(wide, -tall), place(wide, tall), place(-wide, tall)])
    slab = _texture(
        canvas,
        random.choice([random.uniform(5, 60, 3), random.uniform(150, 240, 3), random.uniform(0, 255, 3)]).astype(np.float32),
        plain=0.85,
    )
    lens = canvas.blank()
    for index in range(int(random.integers(1, 4))):
        centre = canvas.points([place(-wide * 0.55, -tall * 0.8 + 0.2 * index)])[0]
        cv2.circle(
            lens, (round(float(centre[0])), round(float(centre[1]))), max(1, round(0.08 * canvas.half[0])), 255, -1, cv2.LINE_AA
        )
    slab = np.where(lens[..., None] > 0, np.float32(15), slab)
    fingers = canvas.blank()
    sign = random.choice([-1.0, 1.0])
    for finger in range(int(random.integers(2, 5))):
        down = -0.1 + 0.24 * finger
        canvas.line(fingers, [place(sign * wide * 1.15, down), place(sign * wide * 0.55, down + 0.05)], 0.18)
    skin = _texture(canvas, np.asarray(_skin(canvas, patch) * random.uniform(0.85, 1.1), np.float32), plain=1.0)
    return np.maximum(alpha, fingers), np.asarray(np.where(fingers[..., None] > 0, skin, slab), np.float32)


def _worn(canvas: Canvas, patch: Image) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    return _mask(canvas, canvas.random.uniform(-0.2, 0.1), canvas.random.uniform(0.95, 1.2))


def _under_nose(canvas: Canvas, patch: Image) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    return _mask(canvas, canvas.random.uniform(0.3, 0.46), canvas.random.uniform(1.0, 1.25))


def _on_chin(canvas: Canvas, patch: Image) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    return _mask(canvas, canvas.random.uniform(0.68, 0.85), canvas.random.uniform(1.2, 1.45))


_Painter = Callable[[Canvas, Image], tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]]
OCCLUSIONS: dict[str, tuple[str, _Painter]] = {
    "mask": ("with_mask", _worn),
    "mask under the nose": ("incorrect_mask", _under_nose),
    "mask on the chin": ("incorrect_mask", _on_chin),
    "hand": ("without_mask", _hand),
    "scarf": ("without_mask", _scarf),
    "cup": ("without_mask", _cup),
    "phone": ("without_mask", _phone),
}
"""Name of an occlusion to the label of the painted face and its painter."""


def paint_occlusion(patch: Image, face: tuple[float, float], kind: str, random: np.random.Generator) -> Image:
    """Paint an occlusion on an unmasked face.

    Args:
        patch: uint8 `[R, R, 3]`, BGR, with the face in the middle.
        face: Width and height of the face box in pixels of `patch`.
        kind: Name in `OCCLUSIONS`.
        random: Generator of all draws.

    Returns:
        uint8 `[R, R, 3]`, BGR.
    """
    side = patch.shape[0]
    large = np.asarray(cv2.resize(patch, (side * _ZOOM, side * _ZOOM), interpolation=cv2.INTER_LINEAR), np.uint8)
    canvas = Canvas(side * _ZOOM, (face[0] * _ZOOM / 2, face[1] * _ZOOM / 2), float(random.normal(0, 0.08)), random)
    alpha, colour = OCCLUSIONS[kind][1](canvas, large)
    # Match the sharpness of the face. A network could recognise the painting by sharper edges.
    soft = cv2.GaussianBlur(alpha, (0, 0), float(random.uniform(0.8, 2.5))).astype(np.float32)[..., None] / 255
    painted = np.clip(soft * _light(large, colour) + (1 - soft) * large, 0, 255)
    return np.asarray(cv2.resize(painted.astype(np.uint8), (side, side), interpolation=cv2.INTER_AREA), np.uint8)
