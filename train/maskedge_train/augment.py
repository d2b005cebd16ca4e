"""What is done to training pictures so that the net meets what cameras and detectors give."""

from __future__ import annotations

import kornia.augmentation as K  # noqa: N812  (the library's own convention)
from torch import nn

from .nets import INPUT_SIZE

AUGMENTATIONS = ("camera", "light")


def training_augmentation(kind: str) -> nn.Module:
    """Build the augmentation of a training batch.

    float32 `[N, 3, R, R]` in 0..1 to float32 `[N, 3, 64, 64]` in 0..1. `camera` is for the device: its crop stands for a
    detector that boxes a face too tightly, too widely or off centre; the rest for light, colour, focus and noise of small
    cameras. `light` is what a first project does: small turns and shifts, mirror images, a little brightness.
    """
    if kind == "light":
        return nn.Sequential(
            K.RandomAffine(degrees=10, p=0.5, padding_mode="border"),
            K.RandomResizedCrop((INPUT_SIZE, INPUT_SIZE), scale=(0.85, 1.0), ratio=(0.92, 1.09)),
            K.RandomHorizontalFlip(),
            K.RandomBrightness((0.8, 1.2), p=0.5),
        )
    return nn.Sequential(
        K.RandomAffine(degrees=12, shear=4, p=0.5, padding_mode="border"),
        K.RandomResizedCrop((INPUT_SIZE, INPUT_SIZE), scale=(0.75, 1.0), ratio=(0.85, 1.18)),
        K.RandomHorizontalFlip(),
        K.ColorJiggle(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.04, p=0.7),
        K.RandomGrayscale(p=0.05),
        K.RandomGaussianBlur((5, 5), (0.3, 1.5), p=0.2),
        K.RandomGaussianNoise(std=0.03, p=0.25),
    )
