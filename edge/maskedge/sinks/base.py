"""What every sink is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from maskedge.draw import draw_faces
from maskedge.errors import OutputError
from maskedge.timing import inner_stage
from maskedge.types import Face, Frame, Image


@dataclass
class Answer:
    """A frame and what was found in it.

    Attributes:
        frame: The frame.
        faces: Its faces.
        stages: Milliseconds of each stage, `total` among them.
        status: Text for the overlay.
    """

    frame: Frame
    faces: list[Face]
    stages: dict[str, float]
    status: str = ""

    @cached_property
    def picture(self) -> Image:
        """The frame with the overlay, uint8 `[H, W, 3]` BGR: drawn once, and only if a sink wants it."""
        with inner_stage("draw"):
            return draw_faces(self.frame.image, self.faces, self.status)


class Sink(Protocol):
    """Takes answers.

    Attributes:
        name: Name of its stage in the timing.
    """

    name: str

    def write(self, answer: Answer) -> bool:
        """Take the answer of a frame. False asks for the end of the run (the user closed the window).

        Raises:
            OutputError: It could not be written.
        """
        ...

    def close(self) -> None:
        """Complete what was written. May be called twice.

        Raises:
            OutputError: It could not be completed.
        """
        ...


def check_writable(path: Path) -> None:
    """Make sure that a file can be written at `path`, before the first frame.

    Raises:
        OutputError: It cannot; the text says why.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder: name a file in it.")
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist: create it (mkdir -p {path.parent}), or choose another output.")
    new = not path.exists()
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}): check the permissions, or choose another output."
        ) from error
    if new:
        path.unlink()
