"""The base class of the outputs of a run."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from maskedge.errors import OutputError
from maskedge.events import UNNAMED, Event
from maskedge.results import FrameResult
from maskedge.sources import Source
from maskedge.support.text import displayable

CAMERAS = "cameras"
"""Key of the names of all cameras in `SinkContext.shared`."""
_PIPE_SECONDS = 1.0
"""Seconds that a checked pipe stays open. The output opens it within a few milliseconds."""


@dataclass(frozen=True)
class RunNames:
    """Names that the configuration defines. A reload may change them.

    Attributes:
        rules: Actions of each alert rule, by name of the rule.
        zones: Names of the zones.
        lines: Names of the counting lines.
        commands: Commands of a fleet that the device takes.
    """

    rules: Mapping[str, Sequence[str]] = field(default_factory=dict)
    zones: Sequence[str] = ()
    lines: Sequence[str] = ()
    commands: Sequence[str] = ()


@dataclass(frozen=True)
class SinkContext:
    """The parts of a run that its outputs may use.

    Attributes:
        source: The opened source.
        labels: Labels that are counted.
        snapshot: Returns the state of the run (`RunState.snapshot`); safe on any thread.
        publish_event: Takes events of the output, such as `output_lost`; safe on any thread.
        names: Returns the names of the rules, zones and lines in effect.
        stopped: Returns True after a request to end the run.
        warnings: Messages for the user, logged as warnings.
        notices: Messages for the user, logged as information.
        camera: Name of the camera.
        device: Name of the device.
        shared: Objects that the outputs of all named cameras share, by name of the output. An object
            with a method `close` is closed on the main thread at the end of the process. The key
            `CAMERAS` holds the names of the cameras in the order of the configuration, each with
            the reason why it has ended (empty while it runs).
        history: File of the history; None if none is kept.
        named: True if the user has named the camera. Topics and files then contain its name.
        fleet: True to deliver to a fleet (`[fleet] enabled`).
    """

    source: Source
    labels: Sequence[str] = ()
    snapshot: Callable[[], dict[str, Any]] = dict
    publish_event: Callable[[Event], None] = lambda _: None
    names: Callable[[], RunNames] = RunNames
    stopped: Callable[[], bool] = lambda: False
    warnings: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    camera: str = UNNAMED
    device: str = ""
    shared: dict[str, Any] = field(default_factory=dict)
    history: Path | None = None
    named: bool = False
    fleet: bool = False


class Sink:
    """An output of a run: a file, a page, a broker, a window.

    A subclass implements `write`. The other methods do nothing unless they are overridden. An
    output of `edge-run` also defines `section`, `settings_class`, `is_wanted` and `open`, and is
    listed in `maskedge.sinks.SINKS`. "A sink" in CONTRIBUTING.md has an example.

    Attributes:
        name: Name of the output in the timing, the state and the events of a run.
        section: Section of edge.toml that configures the output.
        settings_class: Dataclass of that section; None if several outputs share the section.
        queue_capacity: Maximum number of frames that wait for the output when the source is live.
            With None, the loop calls the output directly. The output then returns at once, or must
            run on the loop's thread.
        main_thread: True if the output must be closed on the loop's thread, as a window.
        delivered: Number of delivered items, for an output that delivers later than `write`; None
            if a successful `write` is the delivery.
        url: Address of the page that the output serves; None if it serves none.
    """

    name: str = ""
    section: ClassVar[str] = ""
    settings_class: ClassVar[type[Any] | None] = None
    queue_capacity: ClassVar[int | None] = 8
    main_thread: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Refuse an output whose `still` or `main_thread` would have no effect behind a queue."""
        super().__init_subclass__()
        if cls.queue_capacity is not None and (cls.main_thread or cls.still is not Sink.still):
            raise TypeError(f"{cls.__name__}: `still` and `main_thread` need `queue_capacity = None`.")

    @classmethod
    def is_wanted(cls, settings: Any) -> bool:
        """Return True if a configuration requests this output.

        Args:
            settings: The section `section`.
        """
        return False

    @classmethod
    def validate(cls, settings: Any) -> None:
        """Refuse invalid settings without writing anything. `edge-doctor` calls it; `open` refuses the same settings.

        Raises:
            UsageError: The settings are invalid.
            OutputError: The output exists and cannot be used.
            ImportError: A library of an extra is missing.
        """

    @classmethod
    def check(cls, settings: Any) -> None:
        """Refuse invalid settings. Called for every requested output before one of them is opened.

        Raises:
            UsageError: The settings are invalid.
            OutputError: The output cannot be written.
        """

    @classmethod
    def open(cls, settings: Any, context: SinkContext) -> Sink | None:
        """Open the output for a run.

        Args:
            settings: The section `section`.
            context: The run.

        Returns:
            The output; None if it is not available and the run continues without it.

        Raises:
            UsageError: The settings are invalid.
            OutputError: The output cannot be opened.
            ImportError: A library of an extra is missing.
        """
        raise NotImplementedError

    @property
    def delivered(self) -> int | None:
        """Number of items that have arrived at their destination; None if `write` delivers them."""
        return None

    @property
    def url(self) -> str | None:
        """Address of the page that this output serves; None if it serves none."""
        return None

    def write(self, result: FrameResult) -> bool:
        """Write the result of a frame.

        Returns:
            False to end the run, as after the user closes the window.

        Raises:
            OutputError: The result cannot be written.
        """
        raise NotImplementedError

    def handle_event(self, event: Event) -> None:
        """Write an event that occurred between two frames, such as `source_lost`.

        Raises:
            OutputError: The event cannot be written.
        """

    def still(self, result: FrameResult) -> bool:
        """Show the last result again, with a banner, while a lost source delivers no frame.

        Returns:
            False to end the run.
        """
        return True

    def reopen(self) -> None:
        """Prepare for the next write after a failure.

        Raises:
            OutputError: The output is still unusable.
        """

    def status(self) -> dict[str, Any] | None:
        """Return written, dropped, state and error for the state of the run.

        If the method returns None, the loop determines these values.
        """
        return None

    def update_names(self, names: RunNames) -> None:
        """Apply the names of rules, zones and lines after a reload."""

    def forget_pictures(self) -> None:
        """Discard the pictures that are kept, because a reload has made privacy stricter.

        Frames that have arrived before may still be in a queue.
        """

    def forget_identities(self) -> None:
        """Discard the events in memory, because a reload has turned `[privacy] stats_only` on."""

    def retire(self) -> None:
        """Withdraw what others keep about the camera, because it is removed. `close` follows."""

    def set_page(self, url: str) -> None:
        """Set the address of the status page."""

    def close(self) -> None:
        """Complete the output. May be called repeatedly.

        Raises:
            OutputError: The output cannot be completed.
        """


def check_writable(path: Path) -> None:
    """Check before the first frame that a file can be written at `path`.

    Raises:
        OutputError: The file cannot be written. The message names the cause.
    """
    name, folder = displayable(path), displayable(path.parent)
    try:
        if path.is_dir():
            raise OutputError(f"{name} is a folder: name a file in it.")
        if not path.parent.is_dir():
            raise OutputError(f"the folder {folder} does not exist: create it (mkdir -p {folder}), or choose another output.")
        new = not path.exists()
        # Without O_NONBLOCK, opening a pipe without a reader would block for ever.
        number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        if stat.S_ISFIFO(os.fstat(number).st_mode):
            # The reader would see the end of the pipe before the output opens it, so it stays open.
            timer = threading.Timer(_PIPE_SECONDS, os.close, [number])
            timer.daemon = True
            timer.start()
            return
        os.close(number)
        if new:
            # A link to a file that does not exist yet stays.
            Path(os.path.realpath(path)).unlink()
    except OSError as error:
        if error.errno == errno.ENXIO and path.is_fifo():
            raise OutputError(f"{name} is a pipe without a reader: start the reader first.") from error
        raise OutputError(
            f"{name} cannot be written ({error.strerror}): check the name and the permissions, or choose another output."
        ) from error
