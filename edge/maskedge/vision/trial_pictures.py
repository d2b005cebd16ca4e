"""Pictures that every model file must be able to process before it is used."""

from __future__ import annotations

import numpy as np

from maskedge.types import Image


def trial_pictures(count: int, height: int, width: int) -> Image:
    """Return black, white and noise pictures in turn, uint8 `[count, height, width, 3]`."""
    random = np.random.default_rng(0)
    pictures = np.zeros((count, height, width, 3), np.uint8)
    pictures[1::3] = 255
    pictures[2::3] = random.integers(0, 256, pictures[2::3].shape, np.uint8)
    return pictures
