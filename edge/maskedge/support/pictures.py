"""Reading of picture files with any name, in any format that OpenCV decodes."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

from maskedge.types import Image

from .files import is_file, read_regular
from .picture_header import CONVERT, check_header, named_unread, not_read, sniff, without_ancillary_chunks

# Text may follow a suffix, for example `mask.jpg_1088wx1632h`.
_SUFFIX = re.compile(r"^\.(jpe?g|jpe$|jfif|png|bmp|webp|tiff?|gif|avif|jp2|pnm|ppm|pgm|pbm)", re.IGNORECASE)
# Consecutive JPEGs, as camera programs record them. The file begins like a picture, but is a video.
_RECORDINGS = (".mjpeg", ".mjpg")
_MAX_BYTES = 400_000_000


def is_picture(path: Path) -> bool:
    """Return True for a picture, judged by its suffix or else by its first bytes.

    Formats that cannot be read (HEIC, camera raw) count as pictures, and `read_picture` reports how
    to convert them. Recordings of consecutive JPEGs (`.mjpeg`, `.mjpg`) are videos.
    """
    if path.suffix.lower() in _RECORDINGS:
        return False
    if _SUFFIX.match(path.suffix) or named_unread(path.suffix):
        return True
    # OpenCV's own check is not used: it crashes on names that are not UTF-8.
    try:
        if not is_file(path):
            return False
        with path.open("rb") as file:
            return sniff(file.read(64)) is not None
    except OSError:
        return False


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Return a sort key that puts `face2.jpg` before `face10.jpg`."""
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def list_pictures(folder: Path) -> list[Path]:
    """Return the pictures in `folder` (not in its subfolders), in natural order."""
    return sorted((path for path in folder.iterdir() if is_file(path) and is_picture(path)), key=natural_key)


def read_picture(path: Path) -> Image:
    """Read a picture file. `maskedge.support.picture_header` limits the memory for decoding.

    Returns:
        uint8 `[H, W, 3]`, BGR, upright (EXIF orientation applied).

    Raises:
        ValueError: The file cannot be read as a picture. The message names the cause.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise ValueError(f"has {size / 1e6:,.0f} MB, and the maximum for a picture is {_MAX_BYTES // 1_000_000} MB")
        content = read_regular(path, _MAX_BYTES)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
    unread = named_unread(path.suffix)
    # Many camera raw files are TIFF files, from which a decoder would read only a thumbnail.
    if content and unread and sniff(content) in (None, "TIFF", unread):
        raise ValueError(not_read(unread))
    return decode_picture(content)


def decode_picture(content: bytes) -> Image:
    """Decode a picture file that `maskedge.support.picture_header.check_header` has accepted.

    Returns:
        uint8 `[H, W, 3]`, BGR, upright (EXIF orientation applied).

    Raises:
        ValueError: The content cannot be decoded as a picture. The message names the cause.
    """
    if not content:
        raise ValueError("is empty (0 bytes)")
    header = check_header(content)
    if header.format == "PNG":
        content = without_ancillary_chunks(content)
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError(f"cannot be decoded ({error.err.strip() or 'OpenCV refused it'})") from error
    if image is None:
        # The header is right, so the body is damaged, or of a kind that this build lacks: AVIF, TIFF of floating-point pixels.
        raise ValueError(
            f"is a picture ({header.format}) that this OpenCV ({cv2.__version__}) cannot decode, or is damaged: {CONVERT}"
        )
    return np.asarray(image, np.uint8)
