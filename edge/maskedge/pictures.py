"""Reading picture files: any name, any format that OpenCV knows, one sentence when it fails."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

from maskedge.types import Image

# A suffix may carry a tail, as in `mask.jpg_1088wx1632h`.
_SUFFIX = re.compile(r"^\.(jpe?g|jfif|png|bmp|webp|tiff?|gif|avif|jp2|pnm|ppm|pgm)", re.IGNORECASE)


def is_picture(path: Path) -> bool:
    """Tell whether `path` is meant as a picture: by its suffix or, failing that, by its first bytes."""
    return bool(_SUFFIX.match(path.suffix)) or (path.is_file() and cv2.haveImageReader(str(path)))


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that puts `face2.jpg` before `face10.jpg`."""
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def list_pictures(folder: Path) -> list[Path]:
    """List the pictures of `folder` (not of folders below it), in natural order."""
    return sorted((path for path in folder.iterdir() if path.is_file() and is_picture(path)), key=natural_key)


def read_picture(path: Path) -> Image:
    """Read a picture file.

    Returns:
        uint8 `[H, W, 3]`, BGR, upright (EXIF orientation applied).

    Raises:
        ValueError: The file cannot be read as a picture; the text says why.
    """
    try:
        return decode_picture(path.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error


def decode_picture(content: bytes) -> Image:
    """Decode the content of a picture file.

    Returns:
        uint8 `[H, W, 3]`, BGR, upright (EXIF orientation applied).

    Raises:
        ValueError: It cannot be decoded as a picture; the text says why.
    """
    if not content:
        raise ValueError("is empty (0 bytes)")
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError(f"cannot be decoded ({error.err.strip() or 'OpenCV refused it'})") from error
    if image is None:
        raise ValueError("is no picture that OpenCV can decode, or it is damaged")
    return np.asarray(image, np.uint8)
