"""What people upload: told by its content and not by its name, bounded, and refused in one sentence."""

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
"""Suffixes that the page offers for pictures. HEIC is among them so that its refusal can say what to do."""
VIDEOS = ("mp4", "mov", "m4v", "avi", "mkv", "webm")
"""Suffixes that the page offers for videos."""
MAX_PICTURES = 20
"""Pictures that are answered at a time."""
MAX_PIXELS = 80_000_000
"""Pixels of the largest picture: 80 megapixels are 240 MB once decoded."""

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
    """An uploaded picture, decoded.

    Attributes:
        name: What the user's file is called.
        image: uint8 `[H, W, 3]`, BGR, upright.
        notes: What the user should know of it, a sentence each.
    """

    name: str
    image: Image
    notes: tuple[str, ...] = ()


def kind_of(name: str, content: bytes) -> Literal["picture", "video"]:
    """Tell what an upload is, by its first bytes; by its name where they say nothing.

    Raises:
        SourceError: It is neither; the text says what it is instead, where that can be told.
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
            raise SourceError(f"{name} is {what}, whatever its name says: upload a picture (JPEG, PNG, WebP) or a video (MP4).")
    return "video" if PurePath(name).suffix.lower().lstrip(".") in VIDEOS else "picture"


def read_picture_upload(name: str, content: bytes) -> Picture:
    """Decode an uploaded picture. It is never written to a disk.

    Raises:
        SourceError: It is no picture that can be read, or larger than `MAX_PIXELS`.
    """
    try:
        # Only the header is read here: size and kind are known before a large picture is decoded.
        with Pillow.open(BytesIO(content)) as header:
            width, height = header.size
            notes = _notes(header)
    except Pillow.DecompressionBombError as error:
        raise SourceError(_too_large(name, "more than 170")) from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError) as error:
        raise SourceError(f"{name} is no picture that can be read, or is damaged: try another file (JPEG, PNG, WebP).") from error
    if width * height > MAX_PIXELS:
        raise SourceError(_too_large(name, f"{width * height / 1e6:.0f}"))
    try:
        return Picture(name, decode_picture(content), notes)
    except ValueError as error:
        raise SourceError(f"{name} {error}: try another file (JPEG, PNG, WebP).") from error


def _too_large(name: str, megapixels: str) -> str:
    return f"{name} has {megapixels} megapixels and {MAX_PIXELS // 1_000_000} are the most: make it smaller first."


def _notes(header: ImageFile.ImageFile) -> tuple[str, ...]:
    notes = []
    if getattr(header, "n_frames", 1) > 1:
        notes.append("This file holds several pictures: the first one is looked at.")
    if header.mode == "CMYK":
        notes.append("This picture was made for printing (CMYK): its colours are converted, and may differ a little.")
    return tuple(notes)


@contextmanager
def private_file(name: str, content: bytes) -> Iterator[Path]:
    """Lend `content` to a library that reads files only: a file that none but this user may read, removed after the block.

    Args:
        name: What the user's file is called; only its last part is used.
        content: All of it.
    """
    with tempfile.TemporaryDirectory(prefix="maskedge-app-") as folder:
        path = Path(folder) / (PurePath(name.replace("\\", "/")).name[-100:] or "upload")
        path.write_bytes(content)
        yield path
