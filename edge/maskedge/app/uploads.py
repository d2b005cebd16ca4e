"""Check uploads by content, not by name, and decode pictures within bounds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePath
from typing import Literal

from PIL import Image as Pillow
from PIL import ImageFile, UnidentifiedImageError

from maskedge.errors import SourceError
from maskedge.support.pictures import decode_picture
from maskedge.types import Image

PICTURES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "heif")
"""File suffixes of pictures. HEIC is included so that its error message can explain how to get a
JPEG."""
VIDEOS = ("mp4", "mov", "m4v", "avi", "mkv", "webm")
"""File suffixes of videos."""
MAX_PICTURES = 20
"""Maximum number of pictures processed at a time."""
MAX_PIXELS = 80_000_000
"""Maximum number of pixels of a picture. 80 megapixels take 240 MB when decoded."""

_HEIC = {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"}
_OTHERS = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive or an office document"),
    (b"<svg", "a drawing (SVG)"),
    (b"<?xml", "a drawing or a document (XML)"),
    (b"<!DOCTYPE html", "a web page"),
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded upload.

    Attributes:
        name: Name of the user's file.
        image: uint8 `[H, W, 3]`, BGR, upright.
        notes: Notes for the user, a sentence each.
    """

    name: str
    image: Image
    notes: tuple[str, ...] = ()


def upload_kind(name: str, content: bytes) -> Literal["picture", "video"]:
    """Return the kind of an upload by its first bytes, or by its name if they are inconclusive.

    Raises:
        SourceError: The file is neither a picture nor a video; the message names its type if it is
            known.
    """
    if not content:
        raise SourceError(f"{name} is empty (0 bytes): copy it again, then upload it.")
    start = content[:64]
    if start[4:8] == b"ftyp":
        if start[8:12] in _HEIC:
            raise SourceError(
                f"{name} is a HEIC picture, which OpenCV cannot read: share it as JPEG "
                "(on an iPhone: Settings, Camera, Formats, Most Compatible)."
            )
        return "picture" if start[8:12] in (b"avif", b"avis") else "video"
    if start.startswith(b"\x1aE\xdf\xa3") or (start.startswith(b"RIFF") and start[8:12] == b"AVI "):
        return "video"
    for magic, what in _OTHERS:
        if start.lstrip().startswith(magic):
            raise SourceError(f"{name} is {what}: upload a picture (JPEG, PNG, WebP) or a video (MP4).")
    return "video" if PurePath(name).suffix.lower().lstrip(".") in VIDEOS else "picture"


def read_picture_upload(name: str, content: bytes) -> Picture:
    """Decode an uploaded picture in memory, without writing it to disk.

    Raises:
        SourceError: The picture cannot be read, or is larger than `MAX_PIXELS`.
    """
    try:
        # Pillow reads only the header here, so a too large picture is never decoded.
        with Pillow.open(BytesIO(content)) as header:
            width, height = header.size
            notes = _notes(header)
    except Pillow.DecompressionBombError as error:
        raise SourceError(_too_large(name, "more than 170")) from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError) as error:
        raise SourceError(f"{name} cannot be read as a picture: it may be damaged, try another file (JPEG, PNG, WebP).") from error
    if width * height > MAX_PIXELS:
        raise SourceError(_too_large(name, f"{width * height / 1e6:.0f}"))
    try:
        return Picture(name, decode_picture(content), notes)
    except ValueError as error:
        raise SourceError(f"{name} {error}: try another file (JPEG, PNG, WebP).") from error


def _too_large(name: str, megapixels: str) -> str:
    return f"{name} has {megapixels} megapixels, the limit is {MAX_PIXELS // 1_000_000}: make it smaller first."


def _notes(header: ImageFile.ImageFile) -> tuple[str, ...]:
    notes = []
    if getattr(header, "n_frames", 1) > 1:
        notes.append("This file holds several pictures. Only the first one is used.")
    if header.mode == "CMYK":
        notes.append("This picture has print colours (CMYK). They are converted to RGB and may differ slightly.")
    return tuple(notes)


@contextmanager
def private_file(name: str, content: bytes) -> Iterator[Path]:
    """Write `content` to a file that only this user may read, and remove it after the block.

    OpenCV and ONNX Runtime read videos and models from files.

    Args:
        name: Name of the user's file; only its last component is used.
        content: Bytes of the file.
    """
    with tempfile.TemporaryDirectory(prefix="maskedge-app-") as folder:
        path = Path(folder) / (PurePath(name.replace("\\", "/")).name[-100:] or "upload")
        path.write_bytes(content)
        yield path
