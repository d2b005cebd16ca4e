"""Check uploads by content, not by name, and decode pictures within bounds."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePath
from typing import Literal

from PIL import Image as Pillow
from PIL import ImageFile, UnidentifiedImageError

from maskedge.errors import OutputError, SourceError
from maskedge.support.picture_header import sniff
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

# `MAX_PIXELS` replaces the limit that Pillow warns about.
warnings.filterwarnings("ignore", category=Pillow.DecompressionBombWarning)

_PREFIX = "maskedge-app-"
"""How the names of private folders begin."""
_MAX_NAME_BYTES = 140
"""Maximum length of a file name. Most file systems allow 255 bytes, encrypted ones 143."""
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
    kind = sniff(start)
    if kind == "HEIC":
        raise SourceError(
            f"{name} is a HEIC picture, which OpenCV cannot read: share it as JPEG "
            "(on an iPhone: Settings, Camera, Formats, Most Compatible)."
        )
    if kind is not None:
        return "picture"
    if start[4:8] == b"ftyp":
        return "video"
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
        remedy = "" if ": " in str(error) else ": try another file (JPEG, PNG, WebP)"
        raise SourceError(f"{name} {error}{remedy}.") from error


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
        name: Name of the user's file; only the end of its last component is used.
        content: Bytes of the file.

    Raises:
        OutputError: The file cannot be written, for example because the disk is full.
    """
    with private_folder(name) as folder:
        path = folder / _file_name(name)
        try:
            path.write_bytes(content)
        except OSError as error:
            raise storage_error(name, str(error.strerror)) from error
        yield path


@contextmanager
def private_folder(what: str) -> Iterator[Path]:
    """Make a folder that only this user may read, and remove it after the block.

    Args:
        what: Names what is stored there, for the message.

    Raises:
        OutputError: The folder cannot be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_PREFIX)))
        except OSError as error:
            raise storage_error(what, str(error.strerror)) from error
        with contextlib.suppress(OSError):  # a network's file system may lock no folders
            stack.enter_context(_lock(path))
        yield path


def remove_left_folders() -> None:
    """Remove the folders that a killed server of this user has left. Those in use are locked."""
    with contextlib.suppress(OSError):
        for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError), _lock(path):
                if path.stat().st_uid == os.getuid():
                    shutil.rmtree(path)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Lock a folder during the block. The lock of a process that is killed ends.

    Raises:
        OSError: The folder is locked, or cannot be opened.
    """
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(number)


def storage_error(what: str, reason: str) -> OutputError:
    """Return the error for a file that the server cannot store in its temporary folder."""
    return OutputError(
        f"{what} cannot be stored in the temporary folder of the server ({reason}): free some space there, "
        "or start edge-app with TMPDIR set to another folder."
    )


def _file_name(name: str) -> str:
    """Return the end of the last component of `name`, as a name that every file system accepts."""
    last = PurePath(name.replace("\\", "/").replace("\0", "")).name
    kept = last.encode("utf-8", "ignore")[-_MAX_NAME_BYTES:].decode("utf-8", "ignore")
    return kept if kept not in ("", ".", "..") else "upload"
