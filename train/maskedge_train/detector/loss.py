"""Which place answers for which face, and how wrong the answers are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from maskedge_train.shared.losses import pair_iou

from .net import STRIDES

RANGES = ((0.0, 42.0), (32.0, 110.0), (84.0, float("inf")))
"""Sizes of face (square root of the area, in pixels of the input) that each map answers for. They overlap: near a border two do."""
_CENTRE = 0.3
"""Places this near to the middle answer for a face, in units of its sides; the place nearest to it always does."""


@dataclass(frozen=True)
class Targets:
    """What the A places should answer for N pictures.

    Attributes:
        positive: bool `[N, A]`, a face has its middle there.
        ignored: bool `[N, A]`, either answer will do.
        boxes: float32 `[N, A, 4]`, the face of each positive place.
    """

    positive: torch.Tensor
    ignored: torch.Tensor
    boxes: torch.Tensor


def places(height: int, width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the middle of each place, float32 `[A, 2]`, and the number of its map, int64 `[A]`, in the net's order."""
    points, levels = [], []
    for level, stride in enumerate(STRIDES):
        y = (torch.arange(height // stride, device=device) + 0.5) * stride
        x = (torch.arange(width // stride, device=device) + 0.5) * stride
        grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).reshape(-1, 2)
        points.append(grid)
        levels.append(torch.full((len(grid),), level, device=device))
    return torch.cat(points), torch.cat(levels)


def assign(faces: torch.Tensor, height: int, width: int) -> Targets:
    """Assign faces to places by their size and middle.

    Args:
        faces: float32 `[N, F, 4]`, x1, y1, x2, y2; NaN where there is none, x2 < x1 where one is ignored.
        height: Of the pictures, in pixels.
        width: Likewise.
    """
    points, levels = places(height, width, faces.device)
    there = ~torch.isnan(faces[..., 0])
    ignore = there & (faces[..., 2] < faces[..., 0])
    real = there & ~ignore
    boxes = torch.nan_to_num(faces)
    low, high = torch.minimum(boxes[..., :2], boxes[..., 2:]), torch.maximum(boxes[..., :2], boxes[..., 2:])
    sides = (high - low).clamp(min=1)
    middle = (low + high) / 2
    size = sides.prod(dim=-1).sqrt()
    away = (points[None, None] - middle[:, :, None]) / sides[:, :, None]  # [N, F, A, 2]
    inside = (away.abs() < 0.5).all(dim=-1)
    distance = away.abs().amax(dim=-1)
    bounds = torch.tensor(RANGES, device=faces.device)[levels]
    fits = (size[:, :, None] >= bounds[:, 0]) & (size[:, :, None] < bounds[:, 1]) & real[:, :, None]
    # The nearest place of a fitting map answers even for a face that lies between places.
    nearest = torch.zeros_like(fits)
    for level in range(len(STRIDES)):
        own = (levels == level)[None, None] & fits
        if own.any():
            best = distance.masked_fill(~own, float("inf")).argmin(dim=-1, keepdim=True)
            nearest.scatter_(-1, best, own.gather(-1, best))
    candidate = fits & ((distance < _CENTRE) | nearest)
    # Of several faces the smallest: the larger one has other places.
    cost = torch.where(candidate, size[:, :, None], float("inf"))
    least, owner = cost.min(dim=1)
    positive = torch.isfinite(least)
    chosen = torch.stack([low, high], dim=-2).flatten(-2).gather(1, owner[..., None].expand(-1, -1, 4))
    # Near the middle of a face of another map, and on ignored faces, either answer will do.
    near = (inside & (distance < 0.4) & real[:, :, None]).any(dim=1)
    ignored = ((inside & ignore[:, :, None]).any(dim=1) | near) & ~positive
    return Targets(positive, ignored, chosen)


def detection_loss(
    logits: torch.Tensor, boxes: torch.Tensor, faces: torch.Tensor, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of objectness, and of boxes, for float32 `[N, A]` and `[N, A, 4]`.

    Objectness is quality focal loss (Li et al., "Generalized Focal Loss", 2020): a place should say how well its box fits, but at
    least a half where a face is, so that it learns before the boxes do. Both are means over the places that answer for a face.
    """
    targets = assign(faces, height, width)
    positive = targets.positive
    count = positive.sum().clamp(min=1)
    iou, generalised = pair_iou(boxes[positive], targets.boxes[positive])
    wanted = torch.zeros_like(logits)
    wanted[positive] = 0.5 + 0.5 * iou.detach().clamp(0, 1)
    probability = torch.sigmoid(logits)
    raw = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none") * (wanted - probability).abs() ** 2
    objectness = raw.masked_fill(targets.ignored, 0).sum() / count
    return objectness, (1 - generalised).sum() / count
