"""The classifier networks, by name. A new net is one class with `features(labels)` and one `@register` line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from maskedge.errors import UsageError

NetClass = TypeVar("NetClass", bound=type[nn.Module])
NETS: dict[str, type[nn.Module]] = {}
"""Name to class. Built as `cls(classes)`; float32 `[N, 3, 64, 64]` in -1..1 goes in, logits `[N, classes]` come out."""

INPUT_SIZE = 64
"""Side of the input in pixels."""


def register(name: str) -> Callable[[NetClass], NetClass]:
    """Make a net known under `name`."""

    def add(cls: NetClass) -> NetClass:
        NETS[name] = cls
        return cls

    return add


def build(name: str, classes: int) -> nn.Module:
    """Build the net `name` with fresh weights.

    Raises:
        UsageError: No net has that name.
    """
    if name not in NETS:
        raise UsageError(f"there is no net {name!r}; known are {', '.join(sorted(NETS))}.")
    return NETS[name](classes)


def count_parameters(net: nn.Module) -> int:
    """Count the trainable numbers of `net`."""
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


@register("seednet")
class SeedNet(nn.Sequential):
    """The network the project began with: 3 convolutional and 3 fully connected layers, 2.2 M parameters."""

    def __init__(self, classes: int) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Flatten(), nn.Dropout(0.3), nn.Linear(128 * (INPUT_SIZE // 8) ** 2, 256), nn.ReLU()]
        layers += [nn.Dropout(0.2), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, classes)]
        super().__init__(*layers)
        # Without normalisation layers the start matters (He et al., "Delving deep into rectifiers", 2015).
        for layer in layers:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


class _InvertedResidual(nn.Module):
    """Widen, filter each channel on its own, narrow (Sandler et al., "MobileNetV2", 2018); a shortcut where shapes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = inputs * expand
        self.shortcut = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU(),
            nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, inputs, H, W]` to `[N, outputs, H / stride, W / stride]`."""
        y: torch.Tensor = self.body(x)
        return x + y if self.shortcut else y


@register("edgenet")
class EdgeNet(nn.Sequential):
    """The small default: a stem and eight inverted residuals, 0.11 M parameters."""

    #                                 outputs, stride
    _BLOCKS: tuple[tuple[int, int], ...] = ((24, 2), (24, 1), (40, 2), (40, 1), (40, 1), (64, 2), (64, 1), (64, 1))
    _STEM, _HEAD = 16, 128

    def __init__(self, classes: int) -> None:
        width = self._STEM
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        for outputs, stride in self._BLOCKS:
            layers.append(_InvertedResidual(width, outputs, stride, expand=3))
            width = outputs
        layers += [nn.Conv2d(width, self._HEAD, 1, bias=False), nn.BatchNorm2d(self._HEAD), nn.ReLU()]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(self._HEAD, classes)]
        super().__init__(*layers)


@register("edgenet-l")
class EdgeNetL(EdgeNet):
    """The same, wider and deeper, for a device with time to spare: 0.5 M parameters."""

    _BLOCKS = ((32, 2), (32, 1), (64, 2), (64, 1), (64, 1), (112, 2), (112, 1), (112, 1), (112, 1))
    _STEM, _HEAD = 24, 256
