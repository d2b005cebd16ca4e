"""The detector network: three feature maps, each for a range of face sizes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from maskedge_train.shared.layers import convolution, full_block, inverted_block

STRIDES = (8, 16, 32)
"""Input pixels between neighbouring locations of each map."""
_LARGEST = 5.0
"""Limit of a distance's logarithm, against overflow."""


class _Separable(nn.Sequential):
    """A depthwise separable convolution (Howard et al., "MobileNets", 2017)."""

    def __init__(self, inputs: int, outputs: int, size: int = 3) -> None:
        super().__init__(*convolution(inputs, inputs, size, groups=inputs), nn.ReLU(), *convolution(inputs, outputs, 1), nn.ReLU())


class EdgeFace(nn.Module):
    """Anchor-free one-stage detector, 0.12 M parameters (after Tian et al., "FCOS", 2019).

    It has full convolutions while the picture is large, then inverted residuals, a top-down path
    (Lin et al., "Feature Pyramid Networks", 2017), and one head shared by the three maps.
    """

    _WIDTH = 32

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*convolution(3, 16, 3, 2), nn.ReLU(), full_block(16, 32, 2))
        self.body8 = nn.Sequential(inverted_block(32, 40, 2, 2), inverted_block(40, 40, 1, 2), inverted_block(40, 40, 1, 2))
        self.body16 = nn.Sequential(inverted_block(40, 64, 2, 2), inverted_block(64, 64, 1, 2, 5), inverted_block(64, 64, 1, 2, 5))
        self.body32 = nn.Sequential(inverted_block(64, 56, 2, 2), inverted_block(56, 56, 1, 1, 5))
        self.lateral = nn.ModuleList(nn.Sequential(*convolution(width, self._WIDTH, 1)) for width in (40, 64, 56))
        self.smooth = nn.ModuleList(_Separable(self._WIDTH, self._WIDTH) for _ in STRIDES)
        self.head = nn.Sequential(_Separable(self._WIDTH, self._WIDTH, 5), _Separable(self._WIDTH, self._WIDTH))
        self.objectness = nn.Conv2d(self._WIDTH, 1, 1)
        self.distances = nn.Conv2d(self._WIDTH, 4, 1)
        # Faces are rare. Without this initial bias the first steps would learn only that (Lin et
        # al., "Focal Loss", 2017).
        nn.init.constant_(self.objectness.bias, -4.0)  # type: ignore[arg-type]
        # A picture takes two thirds of the time in this memory format.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Predict a face for each of the A locations of the three maps.

        The finest map comes first; locations are ordered row by row.

        Args:
            pixels: float32 `[N, 3, H, W]` in -1..1, H and W multiples of 32.

        Returns:
            Objectness logits, float32 `[N, A]`, and boxes as x1, y1, x2, y2 in pixels, float32 `[N,
            A, 4]`.
        """
        fine = self.body8(self.stem(pixels))
        middle = self.body16(fine)
        coarse = self.body32(middle)
        maps = [lateral(level) for lateral, level in zip(self.lateral, (fine, middle, coarse), strict=True)]
        maps[1] = maps[1] + functional.interpolate(maps[2], scale_factor=2.0, mode="nearest")
        maps[0] = maps[0] + functional.interpolate(maps[1], scale_factor=2.0, mode="nearest")
        logits, boxes = [], []
        for stride, smooth, level in zip(STRIDES, self.smooth, maps, strict=True):
            features = self.head(smooth(functional.relu(level)))
            logits.append(self.objectness(features).flatten(1).float())
            # Distances from the location to the four sides, in units of twice the stride.
            distances = torch.exp(self.distances(features).float().clamp(-_LARGEST, _LARGEST)) * (2.0 * stride)
            rows, columns = features.shape[2], features.shape[3]
            y = (torch.arange(rows, device=features.device, dtype=torch.float32) + 0.5) * stride
            x = (torch.arange(columns, device=features.device, dtype=torch.float32) + 0.5) * stride
            left, top, right, bottom = distances.unbind(1)
            sides = [x[None, None, :] - left, y[None, :, None] - top, x[None, None, :] + right, y[None, :, None] + bottom]
            boxes.append(torch.stack(sides, dim=-1).flatten(1, 2))
        return torch.cat(logits, dim=1), torch.cat(boxes, dim=1)
