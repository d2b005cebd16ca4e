"""Single pictures: a file, a folder, or what a glob matches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from maskedge.errors import SourceError
from maskedge.sources.base import BaseSource, stamp
from maskedge.support.pictures import read_picture
from maskedge.types import Frame


class PictureSource(BaseSource):
    """Each picture is one frame. One that cannot be read is named, skipped and counted; the others are done.

    Args:
        name: What the user called it.
        paths: The files, in order.
    """

    def __init__(self, name: str, paths: list[Path]) -> None:
        super().__init__(name, video=False, fps=1.0, length=len(paths))
        self.paths = paths

    def frames(self) -> Iterator[Frame]:
        """Give the pictures that can be read.

        Raises:
            SourceError: None could be read.
        """
        first = ""
        for index, path in enumerate(self.paths):
            try:
                image = read_picture(path)
            except ValueError as error:
                first = first or f"{path} {error}"
                self.skipped += 1
                self.warnings.append(f"skipped {path}: it {error}")
                continue
            self.captured += 1
            yield stamp(image, index, str(path))
        if self.skipped == len(self.paths):
            one = self.skipped == 1
            raise SourceError(
                f"{first}." if one else f"none of the {self.skipped} pictures in {self.name} could be read (first: {first})."
            )
