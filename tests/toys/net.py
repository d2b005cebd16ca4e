"""A net: a linear classifier."""

from __future__ import annotations

import torch
from torch import nn

from maskedge_train.classifier.nets import register


@register("toy")
class ToyNet(nn.Module):
    """Classify the mean colours of 64 parts of a crop.

    Args:
        classes: Number of labels.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3 * 64, classes))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return logits, float32 `[N, classes]`, of pixels, float32 `[N, 3, 64, 64]` in -1..1."""
        logits: torch.Tensor = self.layers(pixels)
        return logits
