"""Assignment of faces to locations of the feature maps, and the detector's loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from maskedge_train.shared.losses import pair_iou

from .net import STRIDES

RANGES = ((0.0, 42.0), (32.0, 110.0), (84.0, float("inf")))
"""Face sizes of each map: square root of the area in input pixels. The ranges overlap."""
_CENTRE = 0.3
"""Distance from a face's centre, in units of its sides, within which locations predict the face.

The closest location always predicts the face.
"""

_DETECTED = 0.2
"""Score from which a location of an earlier network detects a face."""


@dataclass(frozen=True)
class Targets:
    """Targets for N pictures and A locations.

    Attributes:
        positive: bool `[N, A]`, the location predicts a face.
        ignored: bool `[N, A]`, the location does not contribute to the loss.
        boxes: float32 `[N, A, 4]`, the face box of each positive location.
    """

    positive: torch.Tensor
    ignored: torch.Tensor
    boxes: torch.Tensor


def locations(height: int, width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the centres of all locations and their map numbers, in the network's order.

    Args:
        height: Height of the pictures in pixels.
        width: Width of the pictures in pixels.
        device: Device of the result.

    Returns:
        float32 `[A, 2]` (x, y in pixels) and int64 `[A]`.
    """
    points, levels = [], []
    for level, stride in enumerate(STRIDES):
        y = (torch.arange(height // stride, device=device) + 0.5) * stride
        x = (torch.arange(width // stride, device=device) + 0.5) * stride
        grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).reshape(-1, 2)
        points.append(grid)
        levels.append(torch.full((len(grid),), level, device=device))
    return torch.cat(points), torch.cat(levels)


def assign(faces: torch.Tensor, height: int, width: int) -> Targets:
    """Assign faces to locations by their size and centre.

    Args:
        faces: float32 `[N, F, 4]`, x1, y1, x2, y2. Rows of NaN are empty; x2 < x1 marks an ignored
            face.
        height: Height of the pictures in pixels.
        width: Width of the pictures in pixels.
    """
    points, levels = locations(height, width, faces.device)
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
    # The closest location of a matching map predicts even a face that lies between locations.
    nearest = torch.zeros_like(fits)
    for level in range(len(STRIDES)):
        own = (levels == level)[None, None] & fits
        if own.any():
            best = distance.masked_fill(~own, float("inf")).argmin(dim=-1, keepdim=True)
            nearest.scatter_(-1, best, own.gather(-1, best))
    candidate = fits & ((distance < _CENTRE) | nearest)
    # Of several faces a location predicts the smallest, because a larger face has other locations.
    cost = torch.where(candidate, size[:, :, None], float("inf"))
    smallest, owner = cost.min(dim=1)
    positive = torch.isfinite(smallest)
    chosen = torch.stack([low, high], dim=-2).flatten(-2).gather(1, owner[..., None].expand(-1, -1, 4))
    # Locations near the centre of another map's face, and on ignored faces, do not contribute.
    near = (inside & (distance < 0.4) & real[:, :, None]).any(dim=1)
    ignored = ((inside & ignore[:, :, None]).any(dim=1) | near) & ~positive
    return Targets(positive, ignored, chosen)


def lost_score_loss(logits: torch.Tensor, known: torch.Tensor, faces: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return the loss of scores on faces that are lower than those of an earlier network.

    A higher score costs nothing: `detection_loss` teaches it. The loss covers the locations on
    labelled and on ignored faces that the earlier network detects, as a mean over the labelled
    ones.

    Args:
        logits: float32 `[N, A]`, objectness.
        known: float32 `[N, A]`, score of the earlier network, 0 to 1.
        faces: float32 `[N, F, 4]`, see `assign`.
        height: Height of the pictures in pixels.
        width: Width of the pictures in pixels.
    """
    targets = assign(faces, height, width)
    score = torch.sigmoid(logits)
    lost = (known > _DETECTED) & (score < known) & (targets.positive | targets.ignored)
    raw = functional.binary_cross_entropy_with_logits(logits, known, reduction="none") * (known - score).abs()
    return raw.masked_fill(~lost, 0).sum() / targets.positive.sum().clamp(min=1)


def detection_loss(
    logits: torch.Tensor, boxes: torch.Tensor, faces: torch.Tensor, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the losses of objectness and of boxes.

    Objectness uses quality focal loss (Li et al., "Generalized Focal Loss", 2020): a location's
    target is the quality of its box. It is at least 0.5 on a face, so that objectness learns before
    the boxes do. Both losses are means over the positive locations.

    Args:
        logits: float32 `[N, A]`, objectness.
        boxes: float32 `[N, A, 4]`, predicted boxes.
        faces: float32 `[N, F, 4]`, see `assign`.
        height: Height of the pictures in pixels.
        width: Width of the pictures in pixels.
    """
    targets = assign(faces, height, width)
    positive = targets.positive
    count = positive.sum().clamp(min=1)
    iou, generalised = pair_iou(boxes[positive], targets.boxes[positive])
    target = torch.zeros_like(logits)
    target[positive] = 0.5 + 0.5 * iou.detach().clamp(0, 1)
    probability = torch.sigmoid(logits)
    raw = functional.binary_cross_entropy_with_logits(logits, target, reduction="none") * (target - probability).abs() ** 2
    objectness = raw.masked_fill(targets.ignored, 0).sum() / count
    return objectness, (1 - generalised).sum() / count
