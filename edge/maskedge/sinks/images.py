"""Annotated pictures, one file for each picture of the source."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2

from maskedge.errors import OutputError
from maskedge.results import FrameResult
from maskedge.support.files import short_name, write_file
from maskedge.support.text import displayable

from .base import Sink


class ImageSink(Sink):
    """Writes each picture with its overlay into a folder, or into one given file.

    In a folder, a picture keeps its name and gets the suffix `.jpg`.

    Args:
        path: An existing folder, or the file for a single picture.
        single: True if `path` is a file.
        sources: All pictures of the source. `annotated_names` determines their new names.
    """

    name = "save"

    def __init__(self, path: Path, *, single: bool, sources: Iterable[Path] = ()) -> None:
        self._path = path
        self._single = single
        self._names = annotated_names(sources)
        self._used = {name.casefold() for name in self._names.values()}

    def write(self, result: FrameResult) -> bool:
        """Write one picture, completely or not at all."""
        path = self._path
        if not self._single:
            source = result.frame.source
            path /= self._names.pop(source, "") or _fresh_name(Path(source), self._used)
        ready, data = cv2.imencode(path.suffix, result.picture)
        if not ready:
            raise OutputError(f"{displayable(path)} cannot be written: OpenCV could not encode it.")
        write_file(path, data.tobytes(), remedy="check the disk and the folder")
        return True


def annotated_names(sources: Iterable[Path]) -> dict[str, str]:
    """Return the names of the annotated copies by path of the picture.

    `a.png` and `a.jpg` get different names.
    """
    used: set[str] = set()
    return {str(source): _fresh_name(source, used) for source in sources}


def _fresh_name(source: Path, used: set[str]) -> str:
    name = short_name(source.stem, ".jpg")
    if name.casefold() in used:
        name = short_name(source.name, ".jpg")
    number = 2
    while name.casefold() in used:
        name, number = short_name(source.stem, f"_{number}.jpg"), number + 1
    used.add(name.casefold())
    return name
