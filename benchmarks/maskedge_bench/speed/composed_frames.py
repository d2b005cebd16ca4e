"""Input frames: read from a source, or composed with a given size and number of faces."""

from __future__ import annotations

from itertools import islice
from math import ceil, pi, sin, sqrt

import cv2
import numpy as np

from maskedge.errors import SourceError
from maskedge.sources import demo, open_source
from maskedge.sources.base import Source, stamp
from maskedge.support.text import counted
from maskedge.types import Frame, Image


def open_recorded(uri: str) -> Source:
    """Open a source whose frames are the same in every run.

    Args:
        uri: The source (`maskedge.sources.open_source`).

    Raises:
        SourceError: The source cannot be opened or is live.
    """
    source = open_source(uri)
    if source.live:
        source.close()
        raise SourceError(f"{source.name} is live, and its frames differ from run to run: record it and give the file.")
    return source


def load_frames(uri: str, most: int, skip: int = 0) -> tuple[list[Frame], list[str]]:
    """Read up to `most` frames into memory, so that the measurement excludes decoding.

    Args:
        uri: The source (`maskedge.sources.open_source`).
        most: Number of frames.
        skip: Number of frames to skip first.

    Returns:
        The frames, and a note on each problem of the source.

    Raises:
        SourceError: The source cannot be opened or has no frame after the skipped ones.
    """
    source = open_recorded(uri)
    try:
        frames = list(islice(source.frames(), skip, skip + most))
        notes = list(source.warnings)
    finally:
        source.close()
    if not frames:
        raise SourceError(f"{uri} has no frame{f' after the first {skip}' if skip else ''}: choose another --source.")
    if len({frame.size for frame in frames}) > 1:
        notes.append(f"The pictures of {source.name} differ in size: the report has the size of the first.")
    if len(frames) < most:
        notes.append(f"{source.name} has {len(frames)} of the requested {most} frames: each round uses these.")
    return frames, notes


def compose(size: tuple[int, int], faces: int, *, count: int = 6, sway: float = 0.01) -> list[Frame]:
    """Draw a grid of moving composite faces on the background of the built-in clip.

    Args:
        size: Width and height in pixels.
        faces: Number of faces. Their size is proportional to the frame.
        count: Number of different frames.
        sway: Distance that a face moves to each side, as a fraction of its part of the frame's width.

    Returns:
        Frames that form a loop.
    """
    width, height = size
    tiles, _, boxes, outline = demo._atlas()
    wall = np.asarray(cv2.resize(demo._wall(), size, interpolation=cv2.INTER_CUBIC), np.uint8)
    columns = max(1, ceil(sqrt(faces)))
    rows = max(1, ceil(faces / columns))
    side = min(0.55 * min(width / columns, height / rows), 0.35 * height)
    random = np.random.default_rng(7)
    frames = []
    for index in range(count):
        image: Image = wall.copy()
        for face in range(faces):
            tile = face % len(tiles)
            phase = 2 * pi * (index / count + face / max(faces, 1))
            x = (face % columns + 0.5) * width / columns + sway * width / columns * sin(phase)
            y = (face // columns + 0.5) * height / rows
            x1, y1, x2, y2 = boxes[tile]
            extent = side / (x2 - x1)
            demo._paste(image, tiles[tile], outline, x - (x1 + x2) / 2 * extent, y - (y1 + y2) / 2 * extent, extent)
        noise = (random.standard_normal(image.shape, np.float32) * 2.5).astype(np.int16)
        frames.append(stamp(np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8), index, counted(faces, "face")))
    return frames
