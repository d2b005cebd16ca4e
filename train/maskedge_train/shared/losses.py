"""Losses shared by the classifier and the detector."""

from __future__ import annotations

import torch


def pair_iou(one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return IoU and generalised IoU of boxes, pair by pair (Rezatofighi et al., 2019).

    Args:
        one: float32 `[..., 4]`, x1, y1, x2, y2.
        other: Boxes of the same shape.

    Returns:
        IoU (0..1) and generalised IoU (-1..1), float32 `[...]` each.
    """
    low, high = torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:])
    both = (high - low).clamp(min=0).prod(dim=-1)
    union = (one[..., 2:] - one[..., :2]).prod(dim=-1) + (other[..., 2:] - other[..., :2]).prod(dim=-1) - both
    hull = (torch.maximum(one[..., 2:], other[..., 2:]) - torch.minimum(one[..., :2], other[..., :2])).prod(dim=-1)
    iou = both / union.clamp(min=1e-6)
    return iou, iou - (hull - union) / hull.clamp(min=1e-6)
