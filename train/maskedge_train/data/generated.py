"""Generated pictures without people, and frames of the built-in clip with their face boxes.

They provide negatives for `not_a_face` without any data. Real backgrounds are better.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.sources import demo
from maskedge.types import Box, Image

from .negatives import random_for

SIZE = (360, 270)
"""Width and height of a generated background in pixels."""
_CLIP_STEP = 15
"""Distance in frames between pictures of the built-in clip, enough for its faces to move."""
_VERSION = 1
"""Version of the drawings, part of the digest. Increment it with each change."""

_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class GeneratedPicture:
    """A generated picture.

    Attributes:
        name: Name such as `generated/clutter 12.png`. It determines the picture.
        image: uint8 `[H, W, 3]`, BGR.
        faces: Boxes of its composite faces as x1, y1, x2, y2 in pixels; none in a background.
    """

    name: str
    image: Image
    faces: tuple[Box, ...] = ()


def picture_names(count: int) -> list[str]:
    """Return the names of `count` backgrounds and of the clip's frames; none if `count` is 0."""
    kinds = list(_KINDS)
    backgrounds = [f"generated/{kinds[number % len(kinds)]} {number}.png" for number in range(count)]
    return backgrounds + [f"generated/demo {index}.png" for index in range(0, demo.FRAMES, _CLIP_STEP) if count]


def digest(count: int) -> str:
    """Return the SHA-256 of the names and the version of the drawings."""
    return hashlib.sha256(json.dumps([_VERSION, SIZE, picture_names(count)]).encode()).hexdigest()


def draw(name: str) -> GeneratedPicture:
    """Draw the picture of a name from `picture_names`. The result depends on the name alone."""
    kind, _, number = name.removeprefix("generated/").removesuffix(".png").rpartition(" ")
    if kind == "demo":
        faces = tuple(face.box for face in demo.truth(int(number)))
        return GeneratedPicture(name, demo.draw(int(number)), faces)
    random = random_for(name, _VERSION)
    width, height = SIZE
    layer = _KINDS[kind](random, height, width)
    light = _noise(random, height, width, 2)[..., None] * float(random.uniform(0.1, 0.5)) + 1
    grain = random.normal(0, float(random.uniform(0.5, 6)), (height, width, 1)).astype(np.float32)
    image = np.clip(layer * light + grain, 0, 255).astype(np.uint8)
    if random.random() < 0.4:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(random.uniform(0.6, 2))), np.uint8)
    return GeneratedPicture(name, image)


def _noise(random: np.random.Generator, height: int, width: int, cells: int) -> _Floats:
    """Return smooth noise with `cells` cells per side, float32 `[H, W]`, mean 0, about -1 to 1."""
    coarse = random.uniform(-1, 1, (cells + 1, cells + 1)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def _clouds(random: np.random.Generator, height: int, width: int) -> _Floats:
    """Return fractal noise, as on natural surfaces: float32 `[H, W]`, about -1 to 1."""
    fall = float(random.uniform(0.4, 0.8))
    layers = [fall**octave * _noise(random, height, width, 3 * 2**octave) for octave in range(6)]
    total = np.sum(layers, axis=0)
    return np.asarray(total / max(float(np.abs(total).max()), 1e-6), np.float32)


def _colour(random: np.random.Generator) -> _Floats:
    """Draw a colour, mostly of low saturation: float32 `[3]`, BGR."""
    grey = random.uniform(25, 235)
    return np.asarray(np.clip(grey + random.normal(0, random.choice([8.0, 25.0, 60.0]), 3), 0, 255), np.float32)


def _flat(random: np.random.Generator, height: int, width: int) -> _Floats:
    return np.full((height, width, 3), _colour(random), np.float32)


def _surface(random: np.random.Generator, height: int, width: int) -> _Floats:
    """Plaster, stone, lawn, carpet or sky."""
    share = (_clouds(random, height, width)[..., None] + 1) / 2
    return np.asarray(share * _colour(random) + (1 - share) * _colour(random), np.float32)


def _cloth(random: np.random.Generator, height: int, width: int) -> _Floats:
    """Stripes, checks and dots, bent by folds."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bend = float(random.uniform(0, 25))
    x, y = x + bend * _noise(random, height, width, 5), y + bend * _noise(random, height, width, 5)
    angle, pitch = random.uniform(0, np.pi), random.uniform(6, 60)
    across = (x * np.cos(angle) + y * np.sin(angle)) / pitch
    along = (y * np.cos(angle) - x * np.sin(angle)) / (pitch * random.uniform(0.5, 2))
    cloth = _flat(random, height, width)
    for _ in range(int(random.integers(1, 4))):
        duty, colour = random.uniform(0.15, 0.7), _colour(random)
        kind = random.integers(4)
        if kind == 0:
            mask = across % 1 < duty
        elif kind == 1:
            mask = (across % 1 < duty) ^ (along % 1 < duty)
        elif kind == 2:
            mask = (across % 1 - 0.5) ** 2 + (along % 1 - 0.5) ** 2 < duty**2 / 4
        else:
            mask = along % 1 < duty
        cloth = np.where(mask[..., None], random.uniform(0.4, 1) * (colour - cloth) + cloth, cloth)
        across, along = across * random.choice([1.0, 2.0, 0.5]), along * random.choice([1.0, 3.0])
    folds = _noise(random, height, width, int(random.integers(3, 9)))[..., None]
    return np.asarray(cloth * (1 + 0.25 * folds), np.float32)


def _front(random: np.random.Generator, height: int, width: int) -> _Floats:
    """A wall with rows of windows, doors, sockets or tiles.

    Cascades detect pairs of dark openings as eyes.
    """
    wall = _surface(random, height, width) if random.random() < 0.6 else _flat(random, height, width)
    columns, rows = int(random.integers(1, 9)), int(random.integers(1, 7))
    step_x, step_y = width / columns, height / rows
    wide, tall = random.uniform(0.25, 0.8), random.uniform(0.25, 0.85)
    glass, frame = _colour(random) * random.uniform(0.2, 1), _colour(random)
    panes, sill, arch = int(random.integers(1, 4)), random.random() < 0.5, random.random() < 0.25
    for row in range(rows):
        for column in range(columns):
            left, top = (column + (1 - wide) / 2) * step_x, (row + (1 - tall) / 2) * step_y
            right, bottom = left + wide * step_x, top + tall * step_y
            own = glass * random.uniform(0.7, 1.3)
            corners = (round(left), round(top)), (round(right), round(bottom))
            cv2.rectangle(wall, *corners, own.tolist(), -1)
            if arch:
                middle, axes = (round((left + right) / 2), round(top)), (round((right - left) / 2), round(0.25 * step_y * tall))
                cv2.ellipse(wall, middle, axes, 0, 180, 360, own.tolist(), -1, cv2.LINE_AA)
            thick = max(1, round(0.03 * min(step_x, step_y)))
            cv2.rectangle(wall, *corners, frame.tolist(), thick)
            for pane in range(1, panes):
                x = round(left + (right - left) * pane / panes)
                cv2.line(wall, (x, round(top)), (x, round(bottom)), frame.tolist(), thick)
            if sill:
                low, over = round(bottom + 0.05 * step_y), 0.05 * step_x
                cv2.line(wall, (round(left - over), low), (round(right + over), low), (frame * 0.6).tolist(), 2 * thick)
    return _tilted(random, wall)


def _tilted(random: np.random.Generator, layer: _Floats) -> _Floats:
    """View a flat picture from the side."""
    height, width = layer.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = (corners + random.normal(0, 0.08, (4, 2)) * (width, height)).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners, moved)
    return np.asarray(cv2.warpPerspective(layer, matrix, (width, height), borderMode=cv2.BORDER_REFLECT), np.float32)


def _clutter(random: np.random.Generator, height: int, width: int) -> _Floats:
    """Overlapping objects, a few large and many small ones, with the statistics of natural images.

    The dead leaves model (Lee, Mumford, Huang, "Occlusion models for natural images", 2001).
    """
    picture = _surface(random, height, width)
    smallest, largest = 8.0, 0.5 * height
    count = int(random.integers(30, 160))
    # Radii follow a power law of exponent 3: every scale covers the same area.
    radii = (random.uniform(largest**-2, smallest**-2, count)) ** -0.5
    skin = np.array([120, 150, 200], np.float32)
    for radius in np.sort(radii)[::-1].tolist() if random.random() < 0.5 else radii.tolist():
        x, y = random.uniform(0, width), random.uniform(0, height)
        leaf = np.zeros((height, width), np.uint8)
        _draw_leaf(random, leaf, x, y, radius)
        colour = _colour(random) if random.random() < 0.75 else skin * random.uniform(0.3, 1.2) + random.normal(0, 12, 3)
        shade = 1 + float(random.uniform(0, 0.5)) * _noise(random, height, width, 2)[..., None]
        inside = leaf[..., None].astype(np.float32) / 255
        picture += inside * (np.asarray(np.clip(colour, 0, 255), np.float32) * shade - picture)
    return picture


def _draw_leaf(random: np.random.Generator, leaf: npt.NDArray[np.uint8], x: float, y: float, radius: float) -> None:
    centre, rotation = (round(x), round(y)), float(random.uniform(0, 180))
    kind = random.integers(4)
    if kind == 0:
        axes = (max(1, round(radius)), max(1, round(radius * random.uniform(0.4, 1))))
        cv2.ellipse(leaf, centre, axes, rotation, 0, 360, 255, -1, cv2.LINE_AA)
    elif kind == 1:
        box = cv2.boxPoints(((x, y), (2 * radius, 2 * radius * random.uniform(0.2, 1)), rotation * random.choice([0.0, 1.0])))
        cv2.fillPoly(leaf, [np.round(box).astype(np.int32)], 255, cv2.LINE_AA)
    elif kind == 2:
        angles = np.sort(random.uniform(0, 2 * np.pi, int(random.integers(3, 9))))
        reach = radius * random.uniform(0.4, 1.1, len(angles))
        points = np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], 1)
        cv2.fillPoly(leaf, [np.round(points).astype(np.int32)], 255, cv2.LINE_AA)
    else:
        end = (round(x + 3 * radius * np.cos(rotation)), round(y + 3 * radius * np.sin(rotation)))
        cv2.line(leaf, centre, end, 255, max(1, round(radius / 3)), cv2.LINE_AA)


def _knobs(random: np.random.Generator, height: int, width: int) -> _Floats:
    """Face-like objects with two dark spots and a bar: handles, sockets, lamps, car fronts."""
    picture = _clutter(random, height, width) if random.random() < 0.5 else _surface(random, height, width)
    for _ in range(int(random.integers(3, 12))):
        radius = float(random.uniform(14, 70))
        x, y = float(random.uniform(0, width)), float(random.uniform(0, height))
        body = _colour(random)
        dark, light = body * random.uniform(0.1, 0.6), np.clip(body * random.uniform(1.1, 1.8), 0, 255)
        size = (max(1, round(radius)), max(1, round(radius * random.uniform(0.6, 1.4))))
        if random.random() < 0.5:
            cv2.ellipse(picture, (round(x), round(y)), size, 0, 0, 360, body.tolist(), -1, cv2.LINE_AA)
        else:
            corners = (round(x - size[0]), round(y - size[1])), (round(x + size[0]), round(y + size[1]))
            cv2.rectangle(picture, *corners, body.tolist(), -1)
        parts = [(sign * random.uniform(0.25, 0.6), random.uniform(-0.5, 0.1)) for sign in (-1, 1)]
        spot = max(1, round(radius * random.uniform(0.06, 0.3)))
        for across, down in parts[: int(random.integers(1, 3))]:
            where = (round(x + across * size[0]), round(y + down * size[1]))
            if random.random() < 0.5:
                cv2.circle(picture, where, spot, dark.tolist(), -1, cv2.LINE_AA)
            else:
                cv2.rectangle(picture, (where[0] - spot, where[1] - spot), (where[0] + spot, where[1] + spot), dark.tolist(), -1)
        for _ in range(int(random.integers(0, 4))):
            down, half = random.uniform(-0.8, 0.9), random.uniform(0.2, 0.9)
            ends = [(round(x + sign * half * size[0]), round(y + down * size[1])) for sign in (-1, 1)]
            colour = dark if random.random() < 0.7 else light
            cv2.line(picture, ends[0], ends[1], colour.tolist(), max(1, round(radius * random.uniform(0.03, 0.25))))
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), float(random.uniform(0.4, 1.5))), np.float32)


_KINDS = {"surface": _surface, "cloth": _cloth, "front": _front, "clutter": _clutter, "knobs": _knobs}


def shuffle_parts(image: Image, random: np.random.Generator) -> Image:
    """Shuffle the parts of a picture, mirrored or upside down, so that no face stays whole.

    Args:
        image: uint8 `[H, W, 3]`, BGR.
        random: Generator of all draws.

    Returns:
        uint8 `[H, W, 3]`: three to five columns and rows of parts, each drawn from anywhere in the
        picture.
    """
    height, width = image.shape[:2]
    result = np.array(image, np.uint8)
    xs = np.linspace(0, width, int(random.integers(3, 6)) + 1).round().astype(int)
    ys = np.linspace(0, height, int(random.integers(3, 6)) + 1).round().astype(int)
    for top, bottom in zip(ys[:-1].tolist(), ys[1:].tolist(), strict=True):
        for left, right in zip(xs[:-1].tolist(), xs[1:].tolist(), strict=True):
            x, y = int(random.integers(0, width - (right - left) + 1)), int(random.integers(0, height - (bottom - top) + 1))
            part = image[y : y + bottom - top, x : x + right - left]
            flip = int(random.integers(4))
            # A picture of a few pixels has empty parts, which OpenCV does not turn.
            if flip < 3 and part.size:
                part = np.asarray(cv2.flip(part, (0, 1, -1)[flip]), np.uint8)
            result[top:bottom, left:right] = part
    return result
