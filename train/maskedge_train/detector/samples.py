"""Training samples of the detector: tiles at any scale, pasted faces, whole pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from maskedge.labelled_boxes import move_boxes
from maskedge.support.pictures import read_picture
from maskedge.types import Image
from maskedge_train.data.dataset import Picture

TILE = 128
"""Side of a tile in pixels."""
WHOLE = 320
"""Side in pixels of the square that holds a whole picture."""
MAX_FACES = 48
"""Maximum number of faces in a sample. In a crowd the smallest faces are left out."""
MIN_FACE = 9.0
"""Minimum face size (square root of the area, in pixels); smaller faces are ignored."""
_PASTE_CONTEXT = 1.5

_Boxes = npt.NDArray[np.float32]


def _no_boxes() -> _Boxes:
    return np.zeros((0, 4), np.float32)


@dataclass(frozen=True)
class Scene:
    """A picture in memory.

    Attributes:
        image: uint8 `[H, W, 3]`, BGR.
        boxes: float32 `[F, 4]`, face boxes as x1, y1, x2, y2 in pixels.
        masked: bool `[F]`, True if a mask is worn, correctly or not.
        whole: True if every face is labelled. Otherwise only the surroundings of the faces are
            used.
        unlabelled: float32 `[U, 4]`, probable faces without a label, which are ignored.
        false_positives: float32 `[K, 4]`, false positives of an earlier detector, which are sampled
            more often.
    """

    image: Image
    boxes: _Boxes
    masked: npt.NDArray[np.bool_]
    whole: bool
    unlabelled: _Boxes = field(default_factory=_no_boxes)
    false_positives: _Boxes = field(default_factory=_no_boxes)


def load_scene(picture: Picture) -> Scene:
    """Read a picture and its labelled boxes.

    Raises:
        ValueError: The picture cannot be read.
    """
    boxes = np.array([face.box for face in picture.faces], np.float32).reshape(-1, 4)
    masked = np.array([face.label != "without_mask" for face in picture.faces], np.bool_)
    unlabelled = np.array(picture.unlabelled, np.float32).reshape(-1, 4)
    return Scene(read_picture(picture.path), boxes, masked, picture.source != "faces", unlabelled)


@dataclass(frozen=True)
class Plan:
    """Settings for drawing the samples of an epoch.

    Attributes:
        batches: Batches per epoch.
        batch_size: Samples per batch.
        side: Side of a sample in pixels.
        whole: Share of samples that show a whole picture.
        empty: Share of samples from pictures without people.
        pasted: Share of samples with pasted faces of other pictures.
    """

    batches: int
    batch_size: int
    side: int
    whole: float
    empty: float
    pasted: float


class SampleBatches(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """The batches of an epoch: uint8 `[N, 3, S, S]` BGR and float32 `[N, MAX_FACES, 4]`.

    Rows of NaN are empty. Each sample depends on seed, epoch and number alone, so a resumed
    training gets the same samples as an uninterrupted training.

    Args:
        scenes: Pictures with faces.
        empty: Pictures without people.
        plan: Settings for drawing the samples.
        seed: Seed of all draws.
        epoch: Number of the epoch.
    """

    def __init__(self, scenes: Sequence[Scene], empty: Sequence[Scene], plan: Plan, seed: int, epoch: int) -> None:
        self.whole = [scene for scene in scenes if scene.whole]
        self.pasteable = [scene for scene in scenes if len(scene.boxes)]
        self.empty, self.plan, self.seed, self.epoch = empty, plan, seed, epoch

    def __len__(self) -> int:
        return self.plan.batches

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        samples = [self._draw(np.random.default_rng([self.seed, self.epoch, index, row])) for row in range(self.plan.batch_size)]
        images = np.stack([image for image, _ in samples]).transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(np.stack([pad(boxes) for _, boxes in samples]))

    def _draw(self, random: np.random.Generator) -> tuple[Image, _Boxes]:
        plan = self.plan
        if self.empty and random.random() < plan.empty:
            scene = self.empty[int(random.integers(len(self.empty)))]
        else:
            scene = self.whole[int(random.integers(len(self.whole)))]
        fit = random.random() < plan.whole
        image, boxes = fit_whole(scene, plan.side, random) if fit else cut_tile(scene, plan.side, random)
        if random.random() < plan.pasted:
            for _ in range(int(random.integers(1, 4))):
                boxes = paste(image, boxes, self.pasteable[int(random.integers(len(self.pasteable)))], random)
        for box in boxes[boxes[:, 2] > boxes[:, 0]]:
            if random.random() < 0.15:
                occlude(image, box, random)
        return degrade(image, random), boxes


def pad(boxes: _Boxes) -> _Boxes:
    """Pad F boxes with rows of NaN to `[MAX_FACES, 4]`; the largest faces come first."""
    out = np.full((MAX_FACES, 4), np.nan, np.float32)
    order = np.argsort(-(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))[:MAX_FACES]
    out[: len(order)] = boxes[order]
    return out


def cut_tile(scene: Scene, side: int, random: np.random.Generator) -> tuple[Image, _Boxes]:
    """Cut a tile in which a random face, or false positive, has a random size."""
    height, width = scene.image.shape[:2]
    shown = scene.boxes
    if len(scene.false_positives) and random.random() < (0.2 if len(shown) else 0.6):
        shown = scene.false_positives
    if len(shown) and random.random() < 0.85:
        x1, y1, x2, y2 = shown[int(random.integers(len(shown)))].tolist()
        size = max(math.sqrt(max(x2 - x1, 1) * max(y2 - y1, 1)), 1.0)
        target_size = math.exp(random.uniform(math.log(MIN_FACE + 1), math.log(0.95 * side)))
        # Enlarging a small face further adds no information.
        scale = min(target_size, 2.5 * size) / size
        # Fill most of the tile with the picture, because its surroundings contain no information.
        if random.random() < 0.8:
            scale = max(scale, 0.8 * side / max(height, width))
            target_size = scale * size
        reach = 0.5 * max(side - target_size, 0.3 * side)
        centre = (x1 + x2) / 2 + random.uniform(-reach, reach) / scale, (y1 + y2) / 2 + random.uniform(-reach, reach) / scale
    else:
        scale = side / max(height, width) * math.exp(random.uniform(0, math.log(4)))
        centre = random.uniform(0, width), random.uniform(0, height)
    return warp(scene, side, scale, centre, random)


def fit_whole(scene: Scene, side: int, random: np.random.Generator) -> tuple[Image, _Boxes]:
    """Show the whole picture as a device would, at a varying distance."""
    height, width = scene.image.shape[:2]
    scale = side / max(height, width) * math.exp(random.uniform(math.log(0.6), math.log(1.6)))
    slack = [max(abs(side / scale - length) / 2, 0.02 * length) for length in (width, height)]
    centre = width / 2 + random.uniform(-slack[0], slack[0]), height / 2 + random.uniform(-slack[1], slack[1])
    return warp(scene, side, scale, centre, random)


def warp(scene: Scene, side: int, scale: float, centre: tuple[float, float], random: np.random.Generator) -> tuple[Image, _Boxes]:
    """Cut a square around `centre` at `scale`: mirrored, rotated and stretched at random.

    Half of the tiles are mirrored. A quarter are rotated by up to 45 degrees.
    """
    image = scene.image
    if scale < 0.6:
        # Average areas first, as on the device, because bilinear sampling alone would alias.
        shrink = max(scale * 1.2, 0.02)
        small = max(1, round(image.shape[1] * shrink)), max(1, round(image.shape[0] * shrink))
        factors = small[0] / image.shape[1], small[1] / image.shape[0]
        image = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), np.uint8)
    else:
        factors = 1.0, 1.0
    # Most heads are upright, but some rest on a hand or bend over work.
    rotation = math.radians(random.uniform(-45, 45) if random.random() < 0.25 else float(np.clip(random.normal(0, 6), -20, 20)))
    stretch = math.exp(random.uniform(-0.15, 0.15))
    flip = random.choice([-1.0, 1.0])
    cos, sin = math.cos(rotation), math.sin(rotation)
    linear = np.array([[flip * cos * stretch, -flip * sin], [sin * stretch, cos]]) * scale
    shift = np.full(2, side / 2) - linear @ np.array(centre)
    matrix = np.column_stack([linear / np.array(factors), shift])
    border = [cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE][int(random.random() < 0.3)]
    tile = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(tile, np.uint8), _moved(scene, linear, shift, side)


def _moved(scene: Scene, linear: npt.NDArray[np.float64], shift: npt.NDArray[np.float64], side: int) -> _Boxes:
    """Move the faces of a scene, followed by its unlabelled faces marked as ignored."""
    doubtful = _move_visible(scene.unlabelled, linear, shift, side)
    low, high = np.minimum(doubtful[:, :2], doubtful[:, 2:]), np.maximum(doubtful[:, :2], doubtful[:, 2:])
    ignored = np.stack([high[:, 0], low[:, 1], low[:, 0], high[:, 1]], axis=1)
    return np.asarray(np.concatenate([_move_visible(scene.boxes, linear, shift, side), ignored]), np.float32)


def _move_visible(boxes: _Boxes, linear: npt.NDArray[np.float64], shift: npt.NDArray[np.float64], side: int) -> _Boxes:
    """Move boxes by an affine map, and mark them as ignored if less than half is inside the square.

    A face cut by the border keeps its whole box, like labelled boxes. Ignored boxes have x2 < x1.
    """
    if not len(boxes):
        return boxes
    moved = move_boxes(boxes, linear, shift)
    clipped = np.clip(moved, 0, side)
    area, whole = ((each[:, 2:] - each[:, :2]).prod(axis=1) for each in (clipped, moved))
    share = area / np.maximum(whole, 1e-6)
    kept = share > 0.02
    ignored = (share < 0.5) | (np.sqrt(whole) < MIN_FACE)
    moved[ignored] = clipped[ignored][:, [2, 1, 0, 3]]
    return np.asarray(moved[kept], np.float32)


def paste(image: Image, boxes: _Boxes, scene: Scene, random: np.random.Generator) -> _Boxes:
    """Paste a face of `scene` with its surroundings onto `image`, unless it covers another face.

    Args:
        image: uint8 `[S, S, 3]`, changed in place.
        boxes: float32 `[F, 4]`, faces of `image`.
        scene: Scene to take the face from.
        random: Generator of all draws.

    Returns:
        The boxes, with the pasted face if there is one.
    """
    side = image.shape[0]
    x1, y1, x2, y2 = scene.boxes[int(random.integers(len(scene.boxes)))].tolist()
    size = math.sqrt(max(x2 - x1, 1) * max(y2 - y1, 1))
    target_size = math.exp(random.uniform(math.log(MIN_FACE + 2), math.log(0.6 * side)))
    scale = min(target_size, 2.0 * size) / size
    # Use only the surroundings that certainly belong to this face, because some pictures have
    # unlabelled faces.
    context = random.uniform(1.15, _PASTE_CONTEXT)
    half = np.array([x2 - x1, y2 - y1]) * context / 2
    centre = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    low = np.maximum(centre - half, 0)
    high = np.minimum(centre + half, [scene.image.shape[1], scene.image.shape[0]])
    part = scene.image[int(low[1]) : int(high[1]), int(low[0]) : int(high[0])]
    target = round(part.shape[1] * scale), round(part.shape[0] * scale)
    if min(target) < MIN_FACE or max(target) > side or part.size == 0:
        return boxes
    patch = np.asarray(cv2.resize(part, target, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), np.uint8)
    left, top = int(random.integers(side - target[0] + 1)), int(random.integers(side - target[1] + 1))
    place = np.array([left, top, left + target[0], top + target[1]], np.float32)
    if len(boxes):
        lowest = np.maximum(np.minimum(boxes[:, [0, 1]], boxes[:, [2, 1]]), place[:2])
        highest = np.minimum(np.maximum(boxes[:, [2, 3]], boxes[:, [0, 3]]), place[2:])
        if (highest > lowest).all(axis=1).any():
            return boxes
    face = (np.array([x1, y1, x2, y2]) - np.array([int(low[0]), int(low[1])] * 2)) * scale
    if random.random() < 0.5:
        patch = patch[:, ::-1]
        face = np.array([target[0] - face[2], face[1], target[0] - face[0], face[3]])
    ground = image[top : top + target[1], left : left + target[0]]
    # Mix oval and hard seams, so that neither becomes a feature of a face.
    if random.random() < 0.6:
        y, x = np.mgrid[-1 : 1 : complex(target[1]), -1 : 1 : complex(target[0])]
        weight = np.clip((1.12 - np.sqrt(x * x + y * y)) * 5, 0, 1)[:, :, None]
        patch = (patch * weight + ground * (1 - weight)).astype(np.uint8)
    ground[:] = patch
    moved = (face + np.array([left, top, left, top])).astype(np.float32)
    return np.asarray(np.concatenate([boxes, moved[None]]), np.float32)


def occlude(image: Image, box: npt.NDArray[np.float32], random: np.random.Generator) -> None:
    """Cover part of a face from one side with a blunt shape in a colour of the picture.

    Args:
        image: uint8 `[S, S, 3]`, changed in place.
        box: float32 `[4]`, the face as x1, y1, x2, y2 in pixels; it may leave the picture.
        random: Draws side, shape and colour.
    """
    x1, y1, x2, y2 = box.tolist()
    width, height = x2 - x1, y2 - y1
    angle = random.uniform(0, 2 * math.pi)
    # Start at a side of the face, like hands, hair, cups and other heads.
    centre = (x1 + x2) / 2 + 0.5 * width * math.cos(angle), (y1 + y2) / 2 + 0.5 * height * math.sin(angle)
    axes = max(1, round(width * random.uniform(0.15, 0.35))), max(1, round(height * random.uniform(0.15, 0.45)))
    side = image.shape[0]
    if random.random() < 0.5:
        row, column = int(np.clip(random.uniform(y1, y2), 0, side - 1)), int(np.clip(random.uniform(x1, x2), 0, side - 1))
    else:
        row, column = int(random.integers(side)), int(random.integers(side))
    colour = [int(value) for value in image[row, column]]
    cv2.ellipse(image, (round(centre[0]), round(centre[1])), axes, random.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)


def degrade(image: Image, random: np.random.Generator) -> Image:
    """Change brightness, colour, focus, noise and compression, as cameras do.

    Args:
        image: uint8 `[S, S, 3]`, BGR.
        random: Generator of all draws.

    Returns:
        uint8 `[S, S, 3]`, BGR.
    """
    levels = np.arange(256) / 255.0
    gamma = math.exp(random.uniform(-0.5, 0.5))
    gain, offset = random.uniform(0.65, 1.25), random.uniform(-0.08, 0.08)
    if random.random() < 0.08:
        gain *= random.uniform(0.15, 0.6)  # night
    tint = np.exp(random.normal(0, 0.08, 3))
    curve = np.clip((levels[:, None] ** gamma * gain + offset) * tint, 0, 1)
    table = np.ascontiguousarray((curve * 255).astype(np.uint8).reshape(256, 1, 3))
    out = cv2.LUT(image, table)
    if random.random() < 0.12:
        out = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    kind = random.random()
    if kind < 0.15:
        out = cv2.GaussianBlur(out, (0, 0), random.uniform(0.4, 1.6))
    elif kind < 0.22:
        length = int(random.integers(3, 8))
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2 if random.random() < 0.5 else slice(None), slice(None)] = 1
        out = cv2.filter2D(out, -1, kernel / kernel.sum())
    elif kind < 0.32:
        factor = random.uniform(0.35, 0.8)
        small = cv2.resize(out, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        out = cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    if random.random() < 0.3:
        noise = random.standard_normal(out.shape, np.float32) * random.uniform(2, 14)
        out = np.clip(out + noise, 0, 255).astype(np.uint8)
    if random.random() < 0.2:
        _, encoded = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(25, 80))])
        out = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(out, np.uint8)


def letterbox(scene: Scene, side: int) -> tuple[Image, _Boxes]:
    """Fit a picture into the upper left of a square, as the device does. Tiny faces are ignored.

    Returns:
        uint8 `[side, side, 3]`, BGR, and the face boxes in it (`_move_visible`).
    """
    height, width = scene.image.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = np.zeros((side, side, 3), np.uint8)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas[: size[1], : size[0]] = cv2.resize(scene.image, size, interpolation=how)
    return canvas, _moved(scene, np.eye(2) * scale, np.zeros(2), side)


class WholePictures(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Batches of whole pictures for validation, in order, with the shapes of `SampleBatches`."""

    def __init__(self, scenes: Sequence[Scene], side: int, batch_size: int) -> None:
        self.scenes, self.side, self.batch_size = scenes, side, batch_size

    def __len__(self) -> int:
        return -(-len(self.scenes) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if index >= len(self):
            raise IndexError(index)
        samples = [letterbox(scene, self.side) for scene in self.scenes[index * self.batch_size : (index + 1) * self.batch_size]]
        images = np.ascontiguousarray(np.stack([image for image, _ in samples]).transpose(0, 3, 1, 2))
        return torch.from_numpy(images), torch.from_numpy(np.stack([pad(boxes) for _, boxes in samples]))


def load_scenes(pictures: Sequence[Picture], progress: Any = lambda: None) -> list[Scene]:
    """Read all pictures into memory. Unreadable pictures were reported when the data was loaded."""
    scenes = []
    for picture in pictures:
        scenes.append(load_scene(picture))
        progress()
    return scenes
