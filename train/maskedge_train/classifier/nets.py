"""The classifier networks, by name. A new network is one class with the decorator `@register`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from maskedge.errors import UsageError
from maskedge_train.shared.face_crop import INPUT_SIZE
from maskedge_train.shared.layers import convolution, full_block, inverted_block
from maskedge_train.teachers.efficientnet import EfficientNetLite0, EfficientNetLite2

NetClass = TypeVar("NetClass", bound=type[nn.Module])
NETS: dict[str, type[nn.Module]] = {}
"""Network name to class.

A network is built as `cls(classes)`. It maps float32 `[N, 3, 64, 64]` in -1..1 to logits `[N,
classes]`. `EdgeNet` and its subclasses also predict the face's box in the crop (`locate`).
"""

_MEAN_PLACE = (0.15, 0.1, 0.85, 0.9)
"""Typical face box in a crop cut around a labelled face: the initial prediction of `locate`."""


def register(name: str) -> Callable[[NetClass], NetClass]:
    """Register a network class under `name`."""

    def add(cls: NetClass) -> NetClass:
        NETS[name] = cls
        return cls

    return add


def build(name: str, classes: int) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        name: Name in `NETS`.
        classes: Number of labels.

    Raises:
        UsageError: No network has that name.
    """
    if name not in NETS:
        raise UsageError(f"there is no net {name!r}; known are {', '.join(sorted(NETS))}.")
    return NETS[name](classes)


def locate(net: nn.Module, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the logits of a network, and the face boxes in the crops if it predicts them.

    Args:
        net: A network of `NETS`.
        pixels: float32 `[N, 3, 64, 64]` in -1..1.

    Returns:
        Logits, float32 `[N, classes]`, and boxes, float32 `[N, 4]`, or None.
    """
    return net.locate(pixels) if isinstance(net, EdgeNet) else (net(pixels), None)


@register("seednet")
class SeedNet(nn.Sequential):
    """The project's first network: 3 convolutional, 3 fully connected layers; 2.2 M parameters."""

    def __init__(self, classes: int) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Flatten(), nn.Dropout(0.3), nn.Linear(128 * (INPUT_SIZE // 8) ** 2, 256), nn.ReLU()]
        layers += [nn.Dropout(0.2), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, classes)]
        super().__init__(*layers)
        # Without normalisation layers the initialisation matters (He et al., "Delving deep into
        # rectifiers", 2015).
        for layer in layers:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


@register("edgenet")
class EdgeNet(nn.Module):
    """The default network, 0.14 M parameters, with two heads: label and face box.

    It has full convolutions while the picture is large, then inverted residuals. With few channels
    and many pixels, memory traffic limits the speed, and depthwise filters save no time (Tan and
    Le, "EfficientNetV2", 2021). Channel counts are multiples of 16, the width of a vector, because
    ONNX Runtime computes 24 channels as 32.
    """

    _STEM, _HEAD = 16, 128
    #                                   outputs, stride
    _FULL: tuple[tuple[int, int], ...] = ((16, 1), (32, 2), (32, 1))
    _INVERTED: tuple[tuple[int, int], ...] = ((48, 2), (48, 1), (48, 1), (64, 2), (64, 1), (64, 1))

    def __init__(self, classes: int) -> None:
        width = self._STEM
        layers: list[nn.Module] = [*convolution(3, width, 3, 2), nn.ReLU()]
        for block, shapes in ((full_block, self._FULL), (inverted_block, self._INVERTED)):
            for outputs, stride in shapes:
                layers.append(block(width, outputs, stride))
                width = outputs
        layers += [*convolution(width, self._HEAD, 1), nn.ReLU()]
        super().__init__()
        self.body = nn.Sequential(*layers)
        self.label = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(self._HEAD, classes))
        # The position of a face, unlike its label, is lost by averaging over the picture.
        self.place = nn.Sequential(nn.Conv2d(self._HEAD, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * (INPUT_SIZE // 16) ** 2, 4))
        nn.init.zeros_(self.place[3].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.place[3].bias)  # type: ignore[arg-type]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the logits of the labels, float32 `[N, classes]`."""
        logits: torch.Tensor = self.label(self.body(pixels))
        return logits

    def locate(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits and face boxes.

        Args:
            pixels: float32 `[N, 3, 64, 64]` in -1..1.

        Returns:
            Logits, float32 `[N, classes]`, and boxes as x1, y1, x2, y2 in units of the crop's side,
            float32 `[N, 4]`.
        """
        features = self.body(pixels)
        usual = torch.tensor(_MEAN_PLACE, device=features.device)
        return self.label(features), usual + 0.25 * self.place(features).float()


@register("edgenet-l")
class EdgeNetL(EdgeNet):
    """A wider and deeper EdgeNet for faster devices, 0.5 M parameters.

    Outside of training it averages the predictions for a crop and its mirror image (after
    Krizhevsky et al., 2012).
    """

    _STEM, _HEAD = 24, 256
    _FULL = ((32, 1), (48, 2), (48, 1), (48, 1))
    _INVERTED = ((80, 2), (80, 1), (80, 1), (80, 1), (112, 2), (112, 1), (112, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the logits of the labels, float32 `[N, classes]`."""
        return super().forward(pixels) if self.training else self.locate(pixels)[0]

    def locate(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits and face boxes, like `EdgeNet.locate`."""
        if self.training:
            return super().locate(pixels)
        # Both go through the network in one batch, because two calls would write every weight into
        # the exported file twice.
        logits, places = super().locate(torch.cat([pixels, pixels.flip(3)]))
        count = pixels.shape[0]  # `len` would fix the size of the batch in an exported graph
        left, top, right, bottom = places[count:].unbind(1)
        mirrored = torch.stack([1 - right, top, 1 - left, bottom], dim=1)
        return (logits[:count] + logits[count:]) / 2, (places[:count] + mirrored) / 2


# Their package must not import this one.
register("efficientnet-lite0")(EfficientNetLite0)
register("efficientnet-lite2")(EfficientNetLite2)
