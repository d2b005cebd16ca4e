"""Single pictures: one file, a folder, or the files that match a glob pattern."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from maskedge.errors import SourceError
from maskedge.sources.base import BaseSource, stamp
from maskedge.sources.kinds import RecordedKind
from maskedge.support.addresses.masking import without_password
from maskedge.support.files import is_file
from maskedge.support.pictures import is_picture, list_pictures, natural_key, read_picture
from maskedge.support.text import displayable
from maskedge.types import Frame

from .paths import stat_path, to_path
from .video import holds_video

_MOST_REPEATED = 100
"""Mean number of names of a file from which a search runs in circles. One link back makes 41."""


class PictureSource(BaseSource):
    """A source with one frame for each picture.

    A picture that cannot be read is skipped, counted and named in a warning.

    Args:
        name: The URI as the user wrote it.
        paths: The files, in order.
    """

    def __init__(self, name: str, paths: list[Path]) -> None:
        super().__init__(name, video=False, fps=1.0, length=len(paths))
        self.paths = paths

    def frames(self) -> Iterator[Frame]:
        """Yield the pictures that can be read.

        Raises:
            SourceError: None of the pictures can be read.
        """
        first = ""
        for index, path in enumerate(self.paths):
            if self._stopping:
                return
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


def _matches(uri: str) -> bool:
    path = to_path(uri)
    status = stat_path(path)
    if status is None:
        return glob.has_magic(uri)
    # A FIFO must not be opened to look for a picture, because opening it could block for ever.
    is_regular = stat.S_ISREG(status.st_mode)
    return stat.S_ISDIR(status.st_mode) or (is_regular and is_picture(path) and not holds_video(path))


def _open(uri: str) -> PictureSource:
    path = to_path(uri)
    status = stat_path(path)
    if status is None:
        return PictureSource(uri, _expand(uri, path))
    if not stat.S_ISDIR(status.st_mode):
        return PictureSource(uri, [path])
    try:
        pictures = list_pictures(path)
    except OSError as error:
        raise SourceError(f"the folder {path} cannot be read ({error.strerror}): check its permissions.") from error
    if not pictures:
        raise SourceError(f"the folder {path} contains no picture: give a folder of pictures, or a video file.")
    return PictureSource(uri, pictures)


def _expand(pattern: str, path: Path) -> list[Path]:
    """Return the pictures that a glob pattern matches, in natural order."""
    matches = sorted(map(Path, _find(str(path))), key=natural_key)
    pictures = [match for match in matches if is_file(match) and is_picture(match)]
    if not pictures and matches:
        raise SourceError(
            f"{without_password(pattern)} matches {len(matches)} names, but no picture: "
            "give videos one by one, or one folder of pictures."
        )
    if not pictures:
        raise SourceError(
            f"no picture matches {without_password(pattern)}: check the pattern, and quote it so that the shell does not expand it."
        )
    return pictures


def _find(pattern: str) -> Iterable[str]:
    """Return the names that a glob pattern matches; with `**`, each file once.

    A link to a folder above it leads to every file again and again.

    Raises:
        SourceError: There are several such links, so that the search would not end.
    """
    names = glob.iglob(pattern, recursive=True)  # noqa: PTH207  (absolute patterns)
    if "**" not in pattern:
        return names
    found: dict[str, str] = {}
    for count, name in enumerate(names):
        real = os.path.realpath(name)
        found[real] = min(found.get(real, name), name, key=len)
        if count > _MOST_REPEATED * (len(found) + 10):
            raise SourceError(
                f"{displayable(pattern)} finds the same files again and again, because links lead back to folders above them: "
                "give the folder of the pictures."
            )
    return found.values()


KIND = RecordedKind(_matches, _open, video=False)
