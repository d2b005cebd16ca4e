"""Conversion of pictures to the tensors that the networks take."""

from __future__ import annotations

import numpy as np
import torch

from maskedge.types import Image


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """Scale pixels from 0..1 to -1..1, as the exported graph does."""
    return pixels * 2 - 1


def to_tensor(images: Image) -> torch.Tensor:
    """Convert uint8 `[N, H, W, 3]` pictures to a uint8 `[N, 3, H, W]` tensor."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
