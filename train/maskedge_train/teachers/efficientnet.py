"""EfficientNet-Lite (Tan and Le, "EfficientNet", 2019): teachers, too slow for devices."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

FINAL = "_fc"
"""Name of the only layer whose shape depends on the labels."""

_SIDE = 112
"""Side to which a crop is scaled: with 64 pixels, the last stages would see 2 x 2 positions."""
_STEM, _HEAD = 32, 1280
_EPSILON = 1e-3
#          repeats, kernel, stride, expand, outputs
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after an axis as TensorFlow's 'SAME', for `ceil(size / stride)` outputs.

    Args:
        size: Pixels of the axis.
        kernel: Size of the filter.
        stride: Its step.
    """
    missing = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return missing // 2, missing - missing // 2


def scaled_width(channels: int, factor: float) -> int:
    """Return `channels` times `factor` as a multiple of 8, at most a tenth below the product."""
    product = channels * factor
    rounded = max(8, int(product + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * product else rounded + 8


class SameConv2d(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's 'SAME'.

    The ImageNet weights were trained so: a symmetric padding would shift every map after a stride of 2.
    """

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, size, stride, groups=groups, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `[N, inputs, H, W]` to `[N, outputs, ceil(H / stride), ceil(W / stride)]`."""
        rows, columns = (same_padding(x.shape[axis], self.kernel_size[0], self.stride[0]) for axis in (2, 3))
        padding = 0, 0
        if rows[0] == rows[1] and columns[0] == columns[1]:
            padding = rows[0], columns[0]  # no padded copy
        else:
            x = functional.pad(x, (*columns, *rows))
        return functional.conv2d(x, self.weight, None, self.stride, padding, 1, self.groups)


class _Block(nn.Module):
    """An inverted residual block. Its layers have the names of the ImageNet weights."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = inputs * expand
        self.expands, self.shortcut = expand > 1, stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv = SameConv2d(inputs, wide, 1)
            self._bn0 = nn.BatchNorm2d(wide, _EPSILON)
        self._depthwise_conv = SameConv2d(wide, wide, size, stride, wide)
        self._bn1 = nn.BatchNorm2d(wide, _EPSILON)
        self._project_conv = SameConv2d(wide, outputs, 1)
        self._bn2 = nn.BatchNorm2d(outputs, _EPSILON)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.shortcut else y


class EfficientNetLite(nn.Module):
    """An EfficientNet without squeeze-and-excitation, with ReLU6 and without a head for the face's box.

    Stem and head keep their widths, and the first and last stage their repeats, whatever the factors.

    Args:
        classes: Number of labels.
    """

    WIDTH: ClassVar[float]
    """Factor of the channels."""
    DEPTH: ClassVar[float]
    """Factor of the repeats of a stage."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, _STEM, 3, 2)
        self._bn0 = nn.BatchNorm2d(_STEM, _EPSILON)
        width, blocks = _STEM, []
        for number, (repeats, size, stride, expand, channels) in enumerate(_STAGES):
            outputs = scaled_width(channels, self.WIDTH)
            count = repeats if number in (0, len(_STAGES) - 1) else math.ceil(repeats * self.DEPTH)
            for repeat in range(count):
                blocks.append(_Block(width, outputs, size, 1 if repeat else stride, expand))
                width = outputs
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = SameConv2d(width, _HEAD, 1)
        self._bn1 = nn.BatchNorm2d(_HEAD, _EPSILON)
        self._dropout = nn.Dropout(0.3)
        self._fc = nn.Linear(_HEAD, classes)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map RGB pixels, float32 `[N, 3, H, W]` in -1..1, to float32 `[N, 1280, ceil(H / 32), ceil(W / 32)]`."""
        x = self._blocks(functional.relu6(self._bn0(self._conv_stem(pixels))))
        return functional.relu6(self._bn1(self._conv_head(x)))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the logits of the labels.

        Args:
            pixels: float32 `[N, 3, 64, 64]` in -1..1, BGR.

        Returns:
            float32 `[N, classes]`.
        """
        scaled = functional.interpolate(pixels.flip(1), (_SIDE, _SIDE), mode="bilinear", align_corners=False)
        logits: torch.Tensor = self._fc(self._dropout(self.features(scaled).mean((2, 3))))
        return logits


class EfficientNetLite0(EfficientNetLite):
    """EfficientNet-Lite0, 3.4 M parameters."""

    WIDTH, DEPTH = 1.0, 1.0


class EfficientNetLite2(EfficientNetLite):
    """EfficientNet-Lite2, 4.8 M parameters."""

    WIDTH, DEPTH = 1.1, 1.2
