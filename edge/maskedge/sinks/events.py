"""The events file, with one JSON object per line or one CSV row per face (docs/contracts.md)."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import re
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from maskedge.errors import OutputError, UsageError
from maskedge.events import Event
from maskedge.results import FrameResult
from maskedge.settings import Range, check_settings
from maskedge.support.outputs import is_taken, put_aside
from maskedge.support.text import displayable, guard_formula, to_bytes, to_json, utc

from .base import Sink, SinkContext, check_writable
from .retention import Retention, prune

_FIRST_LINE = 1 << 20
COLUMNS = (
    *("event", "time", "source", "frame", "track", "label", "score", "raw_label", "raw_score", "unsure"),
    *("x1", "y1", "x2", "y2", "details", "film_s", "camera", "device"),
)
"""Columns of the CSV: docs/contracts.md."""
_HEADER = ",".join(COLUMNS).encode()
_OLDER_HEADER = ",".join(COLUMNS[:-2]).encode()
"""The header that versions before 1.1 wrote."""
_STAGES = ("total", "detect", "classify", "detection_age")
"""Stages that an event contains, in frames that have them."""
LIVE_ROTATE_MB = 100.0
"""Default size at which the events file of a camera rotates, in megabytes (about 1 GB a day)."""


@dataclass(frozen=True)
class EventsConfig:
    """The section `[events]`.

    Attributes:
        file: Destination; `-` for standard output, None for no events.
        frames: Write a line for each frame; False writes only events.
        rotate_mb: Size in megabytes at which a new file starts; 0 for never. None means
            `LIVE_ROTATE_MB` for a live source, and never for a file.
        rotate_daily: Start a new file at midnight, UTC.
        keep: Number of finished files to keep; 0 for all.
    """

    file: str | None = field(
        default=None,
        metadata={
            "help": "destination of events: FILE.csv for CSV, any other name for JSON Lines, '-' for standard output",
            "free": True,
            "camera": "file",
        },
    )
    frames: bool = field(
        default=True,
        metadata={"help": "write a line for each frame; false: only events (people, labels, alerts, health)"},
    )
    rotate_mb: float | None = field(
        default=None,
        metadata={
            "help": "start a new events file at this size in megabytes; 0: never; "
            f"default: {LIVE_ROTATE_MB:g} for cameras and streams, never for files",
            "range": Range(0.001, 1_000_000, zero=True),
        },
    )
    rotate_daily: bool = field(default=False, metadata={"help": "start a new events file each day (UTC)"})
    keep: int = field(
        default=14, metadata={"help": "number of finished events files to keep; 0: all", "range": Range(0, 1_000_000)}
    )

    def __post_init__(self) -> None:
        check_settings(self, "events")

    def limit_mb(self, *, live: bool) -> float:
        """Return the size in megabytes at which a new file starts; 0 for never.

        Args:
            live: True for a camera or a stream.
        """
        if self.rotate_mb is None:
            return LIVE_ROTATE_MB if live else 0.0
        return self.rotate_mb

    def appends(self, *, live: bool) -> bool:
        """Return True if an existing file is appended to: with live sources or rotation.

        Args:
            live: True for a camera or a stream.
        """
        return live or self.rotate_daily or self.limit_mb(live=live) > 0


def to_event(result: FrameResult) -> dict[str, Any]:
    """Return the detection event of a frame (docs/contracts.md)."""
    frame = result.frame
    return {
        "source": frame.source,
        "camera": result.camera,
        "device": result.device,
        "frame": frame.index,
        "time": utc(frame.time),
        **({} if result.film_s is None else {"film_s": round(result.film_s, 3)}),
        "size": list(frame.size),
        "faces": [face.to_json() for face in result.faces],
        "latency_ms": {stage: round(result.stages[stage], 2) for stage in _STAGES if stage in result.stages},
    }


class EventSink(Sink):
    """Writes events to a file or to standard output. After each frame, its lines are complete.

    The suffix `.csv` selects one row per face. Any other name selects one JSON object per frame.
    Events are written between them. On a full disk, the file ends with its last complete line, and
    continues there when space is available again.

    Args:
        path: The file; `-` for standard output. A rotating file and the file of a live source are
            appended to. Any other file is replaced. Only the current user may read it.
        config: Content, rotation and number of files to keep.
        live: True for a camera or a stream.

    Raises:
        OutputError: The file cannot be written.
        UsageError: The file would be appended to, but does not contain events.
    """

    name = "events"
    section = "events"
    settings_class = EventsConfig
    queue_capacity = 64

    def __init__(self, path: str, config: EventsConfig | None = None, *, live: bool = False) -> None:
        self._config = config or EventsConfig()
        self._limit = self._config.limit_mb(live=live) * 1e6
        self._path = None if path == "-" else Path(path).expanduser()
        self._csv = path.lower().endswith(".csv")
        self._file: FileIO | None = None
        self._size = 0
        self._day = ""
        if self._path is None:
            return
        check_writable(self._path)
        appends = self._config.appends(live=live)
        try:
            if appends and is_taken(self._path) and not self._holds_events(self._path):
                raise UsageError(f"{displayable(path)} does not contain events, but would be appended to: name another file.")
            if appends and self._has_older_columns(self._path):
                self._rotate(self._path)
            self._open(self._path, anew=not appends)
        except OSError as error:
            raise self._lost(error) from error

    @classmethod
    def is_wanted(cls, settings: EventsConfig) -> bool:
        """Return True if a file is set."""
        return bool(settings.file)

    @classmethod
    def open(cls, settings: EventsConfig, context: SinkContext) -> Sink | None:
        """Open the file."""
        return cls(settings.file or "-", settings, live=context.source.live)

    def write(self, result: FrameResult) -> bool:
        """Write the events of a frame, then its line or rows."""
        events = [event.to_json() for event in result.events]
        rows = [_event_row(event) for event in events] if self._csv else []
        if self._config.frames:
            event = to_event(result)
            events.append(event)
            rows += [_face_row(event, face) for face in event["faces"]] if self._csv else []
        return self._put(_rows(rows) if self._csv else _lines(events), utc(result.frame.time))

    def handle_event(self, event: Event) -> None:
        """Write an event that occurred between two frames."""
        line = event.to_json()
        self._put(_rows([_event_row(line)]) if self._csv else _lines([line]), line["time"])

    def reopen(self) -> None:
        """Open the file again after a failure, at the end of its last complete line.

        Raises:
            OutputError: The file still cannot be written.
        """
        if self._path is None:
            return
        try:
            self._shut()
            self._open(self._path, anew=False)
        except OSError as error:
            raise self._lost(error) from error

    def close(self) -> None:
        """Close the file."""
        try:
            self._shut()
        except OSError as error:
            raise self._lost(error) from error

    def _put(self, text: str, now: str) -> bool:
        try:
            if not text:
                return True
            if self._path is None:
                _standard_output.write(text)
            else:
                self._append(self._path, to_bytes(text), now[:10])
        except BrokenPipeError:
            # The reader of standard output has closed it (`| head`). Python flushes it again at
            # exit, and this flush must not fail.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return False
        except OSError as error:
            raise self._lost(error) from error
        return True

    def _append(self, path: Path, data: bytes, day: str) -> None:
        """Write `data` completely or not at all."""
        full = 0 < self._limit < self._size + len(data)
        if self._file and not self._is_there(path, self._file):
            # Another program has removed or renamed the file. Further lines would be lost, or
            # written to the wrong file.
            self._shut()
        if self._size and (full or (self._config.rotate_daily and day > self._day)) and path.is_file():
            self._rotate(path)
        file = self._file or self._open(path, anew=False)
        if self._csv and self._size == 0:
            data = _HEADER + b"\n" + data
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            # A partial line would corrupt the next one.
            with contextlib.suppress(OSError):
                file.truncate(self._size)
            raise
        self._size += len(data)
        self._day = day

    def _open(self, path: Path, *, anew: bool) -> FileIO:
        # The file is unbuffered, so that a failure is detected at once. Events are about people, so
        # only the user may read the file.
        self._file = file = FileIO(path, "w" if anew else "a", opener=lambda name, flags: os.open(name, flags, 0o600))
        self._size = os.fstat(file.fileno()).st_size if path.is_file() else 0
        if self._size:
            self._day = utc(path.stat().st_mtime)[:10]
            self._size = _mend(path)
            file.truncate(self._size)
        return file

    @staticmethod
    def _is_there(path: Path, file: FileIO) -> bool:
        try:
            return os.path.samestat(path.stat(), os.fstat(file.fileno()))
        except FileNotFoundError:
            return False

    def _holds_events(self, path: Path) -> bool:
        """Return True if a file starts like an events file, even with a part of its first line."""
        with path.open("rb") as file:
            line, end, _ = file.read(_FIRST_LINE).partition(b"\n")
        if self._csv:
            return line in (_HEADER, _OLDER_HEADER) if end else _HEADER.startswith(line)
        try:
            return bool({"frame", "event"} & json.loads(line).keys())
        except (ValueError, AttributeError):
            return not end and line.startswith((b'{"source": ', b'{"event": '))

    def _has_older_columns(self, path: Path) -> bool:
        """Return True for a CSV file of an earlier version, which has fewer columns."""
        if not (self._csv and path.is_file()):
            return False
        with path.open("rb") as file:
            line, end, _ = file.read(_FIRST_LINE).partition(b"\n")
        return bool(end) and line == _OLDER_HEADER

    def _shut(self) -> None:
        file, self._file = self._file, None
        if file:
            file.close()

    def _rotate(self, path: Path) -> None:
        """Rename the file after the time of its last line, and remove the oldest files."""
        self._shut()
        put_aside(path)
        self._size = 0
        finished = re.compile(re.escape(path.stem) + r"\.\d{8}T\d{6}\.\d{3}Z(-\d+)?" + re.escape(path.suffix))
        prune((other for other in path.parent.iterdir() if finished.fullmatch(other.name)), Retention(count=self._config.keep))

    def _lost(self, error: OSError) -> OutputError:
        if self._path is None:
            reason = "it is closed" if error.errno == errno.EBADF else error.strerror
            return OutputError(f"standard output cannot be written ({reason}): redirect it to a file, or free some space.")
        return OutputError(
            f"events could not be written to {displayable(self._path)} ({error.strerror}); the lines before are complete."
        )


def _mend(path: Path) -> int:
    """Return the end of the last complete line, in bytes.

    A killed program may leave a partial one.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        while size:
            start = max(0, size - 65536)
            file.seek(start)
            found = file.read(size - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            size = start
    return 0


class _StandardOutput:
    """Writes lines to standard output, for the events of all cameras.

    On a full disk, the last line may be cut off. Its rest precedes the next line.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cut = b""
        self._rest = b""

    def write(self, text: str) -> None:
        """Write JSON or CSV as UTF-8, regardless of the terminal's encoding.

        Args:
            text: Complete lines. After a failure, the same lines may be given again.

        Raises:
            OSError: Standard output is closed or cannot be written.
        """
        binary = getattr(sys.stdout, "buffer", None)
        if binary is None:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        data = to_bytes(text)
        with self._lock:
            sys.stdout.flush()
            if self._rest:
                self._finish(binary)
                if data == self._cut:
                    return
            self._cut = self._rest = data
            try:
                self._finish(binary)
            except OSError:
                if len(self._rest) == len(data):
                    self._rest = b""  # nothing was written
                raise

    def _finish(self, binary: Any) -> None:
        """Write the rest. The buffer of the stream is left out, because it would keep what cannot be written."""
        raw = getattr(binary, "raw", binary)
        while self._rest:
            # Standard output of a command reports a failure once and discards the later writes (`prepare_streams`).
            count = FileIO.write(raw, self._rest) if isinstance(raw, FileIO) else raw.write(self._rest)
            if count is None:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            self._rest = self._rest[count:]


_standard_output = _StandardOutput()


def _lines(events: Iterable[dict[str, Any]]) -> str:
    return "".join(to_json(event) + "\n" for event in events)


def _rows(rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    guarded = ({name: guard_formula(value) for name, value in row.items()} for row in rows)
    csv.DictWriter(text, COLUMNS, lineterminator="\n").writerows(guarded)
    return text.getvalue()


def _face_row(event: dict[str, Any], face: dict[str, Any]) -> dict[str, Any]:
    corners = dict(zip(("x1", "y1", "x2", "y2"), face.get("box", ()), strict=False))
    named = {name: value for name, value in face.items() if name in COLUMNS} | {"unsure": to_json(face["unsure"])}
    own = {name: value for name, value in event.items() if name in ("time", "source", "camera", "device", "frame", "film_s")}
    return {"event": "face"} | own | named | corners


def _event_row(event: dict[str, Any]) -> dict[str, Any]:
    """Return the row of an event. Values without a column are JSON in the column `details`."""
    row = {name: value for name, value in event.items() if name in COLUMNS and not isinstance(value, dict | list)}
    rest = {name: value for name, value in event.items() if name not in row}
    return row | ({"details": to_json(rest)} if rest else {})
