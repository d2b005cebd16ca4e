"""What every sink is."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from maskedge.errors import OutputError
from maskedge.events import Event
from maskedge.results import FrameResult
from maskedge.support.text import displayable


class Sink(Protocol):
    """Takes answers.

    One that can fail and recover may also have `reopen()`, which is called before the first write after a failure
    (`maskedge.sinks.queued.QueuedSink`). One that only hands on may have `delivered`, the number of things that have arrived.

    Attributes:
        name: Name of its stage in the timing.
    """

    name: str

    def write(self, answer: FrameResult) -> bool:
        """Take the answer of a frame. False asks for the end of the run (the user closed the window).

        Raises:
            OutputError: It could not be written.
        """
        ...

    def handle_event(self, event: Event) -> None:
        """Take what happened between two frames, as in a source that was lost. Most sinks have nothing to do.

        Raises:
            OutputError: It could not be written.
        """
        return

    def close(self) -> None:
        """Complete what was written. May be called twice.

        Raises:
            OutputError: It could not be completed.
        """
        ...


@runtime_checkable
class StillSink(Protocol):
    """A sink that shows its last picture again while a lost source gives no newer one."""

    def still(self, answer: FrameResult) -> bool:
        """Show the answer, whose picture has a banner, again. False asks for the end of the run."""
        ...


def check_writable(path: Path) -> None:
    """Make sure that a file can be written at `path`, before the first frame.

    Raises:
        OutputError: It cannot; the text says why.
    """
    name, folder = displayable(path), displayable(path.parent)
    try:
        if path.is_dir():
            raise OutputError(f"{name} is a folder: name a file in it.")
        if not path.parent.is_dir():
            raise OutputError(f"the folder {folder} does not exist: create it (mkdir -p {folder}), or choose another output.")
        new = not path.exists()
        with path.open("ab"):
            pass
        if new:
            path.unlink()
    except OSError as error:
        raise OutputError(
            f"{name} cannot be written ({error.strerror}): check the name and the permissions, or choose another output."
        ) from error
