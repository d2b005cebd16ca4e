"""Pictures that every model file must be able to process before it is used."""

from __future__ import annotations

import random

import numpy as np

from maskedge.types import Image


def trial_pictures(count: int, height: int, width: int) -> Image:
    """Return black, white and noise pictures in turn, uint8 `[count, height, width, 3]`."""
    pictures = np.zeros((count, height, width, 3), np.uint8)
    pictures[1::3] = 255
    noise = pictures[2::3]
    # Not from numpy.random, which nothing else at the start of a run needs.
    noise[:] = np.frombuffer(random.Random(0).randbytes(noise.size), np.uint8).reshape(noise.shape)  # noqa: S311  (no secret)
    return pictures
