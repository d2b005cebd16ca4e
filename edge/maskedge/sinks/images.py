"""Annotated pictures: one file for each picture of the source."""

from __future__ import annotations

from pathlib import Path

import cv2

from maskedge.errors import OutputError
from maskedge.happenings import Happening

from .base import Answer


class ImageSink:
    """Writes each picture with its overlay into a folder, under its own name with the suffix `.jpg`, or to one given file.

    Args:
        path: A folder that exists, or the file for a single picture.
        single: True when `path` is a file.
    """

    name = "save"

    def __init__(self, path: Path, *, single: bool) -> None:
        self._path = path
        self._single = single
        self._used: set[str] = set()

    def write(self, answer: Answer) -> bool:
        """Write one picture."""
        path = self._path if self._single else self._path / self._fresh_name(Path(answer.frame.source))
        ready, data = cv2.imencode(path.suffix, answer.picture)
        try:
            if not ready:
                raise OSError(0, "OpenCV could not encode it")
            path.write_bytes(data.tobytes())
        except OSError as error:
            raise OutputError(f"{path} cannot be written ({error.strerror}).") from error
        return True

    def _fresh_name(self, source: Path) -> str:
        """Name the copy so that `a.png` and `a.jpg` do not overwrite one another."""
        stem = source.stem
        name = f"{stem}.jpg"
        if name in self._used:
            name = f"{source.name}.jpg"
        number = 2
        while name in self._used:
            name, number = f"{stem}_{number}.jpg", number + 1
        self._used.add(name)
        return name

    def tell(self, happening: Happening) -> None:
        """Nothing: a picture shows frames."""

    def close(self) -> None:
        """Nothing is left to complete."""
