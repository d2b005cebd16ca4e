"""Building blocks of the networks."""

from __future__ import annotations

import torch
from torch import nn


def count_parameters(net: nn.Module) -> int:
    """Return the number of trainable parameters of `net`."""
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


def convolution(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Return a convolution and its normalisation, which ONNX Runtime merges into one operator."""
    return [nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)]


class Residual(nn.Module):
    """A sequence of layers with an optional shortcut connection."""

    def __init__(self, body: list[nn.Module], shortcut: bool) -> None:
        super().__init__()
        self.body, self.shortcut = nn.Sequential(*body), shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `[N, inputs, H, W]` to `[N, outputs, H / stride, W / stride]`."""
        y: torch.Tensor = self.body(x)
        return x + y if self.shortcut else y


def full_block(inputs: int, outputs: int, stride: int) -> Residual:
    """Return a residual block of one full 3x3 convolution."""
    return Residual([*convolution(inputs, outputs, 3, stride), nn.ReLU()], stride == 1 and inputs == outputs)


def inverted_block(inputs: int, outputs: int, stride: int, expand: int = 3, size: int = 3) -> Residual:
    """Return an inverted residual block (Sandler et al., "MobileNetV2", 2018).

    It widens the channels, filters each channel on its own, and narrows them again.
    """
    wide = inputs * expand
    body = [*convolution(inputs, wide, 1), nn.ReLU(), *convolution(wide, wide, size, stride, wide), nn.ReLU()]
    return Residual([*body, *convolution(wide, outputs, 1)], stride == 1 and inputs == outputs)
