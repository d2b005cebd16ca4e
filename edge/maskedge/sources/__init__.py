"""Where frames come from: one syntax for all of it."""

from __future__ import annotations

import glob
import re
from pathlib import Path

from maskedge.errors import SourceError
from maskedge.pictures import is_picture, list_pictures, natural_key

from .base import BaseSource, Source
from .demo import DemoSource
from .live import open_camera, open_stream
from .pictures import PictureSource
from .video import VideoFileSource

__all__ = [
    "BaseSource",
    "DemoSource",
    "PictureSource",
    "Source",
    "VideoFileSource",
    "open_camera",
    "open_source",
    "open_stream",
]


def open_source(uri: str) -> Source:
    """Open a source.

    Args:
        uri: `demo` (the built-in clip), a camera (`0`, `/dev/video0`), a stream (`rtsp://`, `http://`), or a path: a picture,
            a folder of pictures, a glob pattern of pictures, a video file.

    Raises:
        SourceError: It cannot be opened; the text says why and what to try.
    """
    if uri == "demo":
        return DemoSource()
    if re.fullmatch(r"\d+|/dev/video\d+", uri):
        return open_camera(uri)
    if "://" in uri:
        return open_stream(uri)
    path = Path(uri).expanduser()
    if path.is_dir():
        pictures = list_pictures(path)
        if not pictures:
            raise SourceError(f"the folder {path} holds no picture: give a folder of pictures, or a video file.")
        return PictureSource(uri, pictures)
    if not path.exists() and glob.has_magic(uri):
        matches = sorted((Path(match) for match in glob.glob(str(path), recursive=True)), key=natural_key)  # noqa: PTH207  (absolute patterns)
        files = [match for match in matches if match.is_file() and is_picture(match)]
        if not files:
            raise SourceError(f"no picture matches {uri}: check the pattern (quote it, so that the shell leaves it alone).")
        return PictureSource(uri, files)
    if not path.exists():
        raise SourceError(f"there is no file or folder {path}: check the path, or try --source demo.")
    if not path.is_file():
        raise SourceError(f"{path} is no regular file: give a picture, a folder, a video file or a camera.")
    return PictureSource(uri, [path]) if is_picture(path) else VideoFileSource(path)
