"""Events: one JSON object a line and frame, or one row of CSV a face (docs/contracts.md)."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from maskedge.errors import OutputError
from maskedge.happenings import Happening, utc
from maskedge.jsontext import to_json_text
from maskedge.settings import Range, check_settings

from .base import Answer, check_writable
from .keep import Keep, prune, stamp

COLUMNS = (
    *("event", "time", "source", "frame", "track", "label", "score", "raw_label", "raw_score", "unsure"),
    *("x1", "y1", "x2", "y2", "details"),
)
"""Columns of the CSV: docs/contracts.md."""


@dataclass(frozen=True)
class EventsConfig:
    """The section `[events]`.

    Attributes:
        file: Where events go; `-` for standard output, None for nowhere.
        rotate_mb: Begin a new file at this size, 0 for never.
        rotate_daily: Begin a new file at midnight, UTC.
        keep: Files to keep beside the one in use, 0 for all.
    """

    file: str | None = field(
        default=None,
        metadata={"help": "where events go: FILE.csv, any other for JSON Lines, '-' for standard output", "free": True},
    )
    rotate_mb: float = field(
        default=0.0, metadata={"help": "begin a new events file at this many megabytes; 0: never", "range": Range(0, 1_000_000)}
    )
    rotate_daily: bool = field(default=False, metadata={"help": "begin a new events file each day (UTC)"})
    keep: int = field(default=14, metadata={"help": "finished events files to keep; 0: all", "range": Range(0, 1_000_000)})

    def __post_init__(self) -> None:
        check_settings(self, "events")

    @property
    def rotates(self) -> bool:
        """True where files are finished and kept, so that a start appends and does not write anew."""
        return self.rotate_mb > 0 or self.rotate_daily


def to_event(answer: Answer, *, stats_only: bool = False) -> dict[str, Any]:
    """Give the detection event of a frame.

    Args:
        answer: The frame and its faces.
        stats_only: Leave out where the faces are and who is who.
    """
    frame = answer.frame
    faces = [face.to_json() for face in answer.faces]
    return {
        "source": frame.source,
        "frame": frame.index,
        "time": utc(frame.time),
        "size": list(frame.size),
        "faces": [impersonal(face) for face in faces] if stats_only else faces,
        "latency_ms": {stage: round(answer.stages.get(stage, 0.0), 2) for stage in ("total", "detect", "classify")},
    }


def impersonal(event: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out where a face is and whose (`[privacy] stats_only`)."""
    return {name: value for name, value in event.items() if name not in ("box", "track", "tracks")}


class EventSink:
    """Writes events to a file, or to standard output for `-`. Each line is complete as soon as its frame is done.

    The suffix `.csv` chooses one row a face, any other one JSON object a frame; happenings stand between them. Where a disk is full
    the file ends with its last complete line, and goes on from there once there is room.

    Args:
        path: The file, `-` for standard output. Written anew, but for files that rotate: those are appended to.
        config: When a new file begins, and how many are kept.
        stats_only: Leave out where the faces are and who is who.

    Raises:
        OutputError: The file cannot be written.
    """

    name = "events"

    def __init__(self, path: str, config: EventsConfig | None = None, *, stats_only: bool = False) -> None:
        self._config = config or EventsConfig()
        self._stats_only = stats_only
        self._path = None if path == "-" else Path(path).expanduser()
        self._csv = path.lower().endswith(".csv")
        self._file: FileIO | None = None
        self._size = 0
        self._day = ""
        if self._path is None:
            return
        check_writable(self._path)
        try:
            self._open(self._path, anew=not self._config.rotates)
        except OSError as error:
            raise self._lost(error) from error

    def write(self, answer: Answer) -> bool:
        """Write the happenings of a frame and its line or rows."""
        happenings = [self._happening(happening) for happening in answer.happenings]
        event = to_event(answer, stats_only=self._stats_only)
        if self._csv:
            faces = [_face_row(event, face) for face in event["faces"]]
            return self._put(_rows([_happening_row(happening) for happening in happenings] + faces), event["time"])
        return self._put(_lines([*happenings, event]), event["time"])

    def tell(self, happening: Happening) -> None:
        """Write what happened between two frames."""
        event = self._happening(happening)
        self._put(_rows([_happening_row(event)]) if self._csv else _lines([event]), event["time"])

    def reopen(self) -> None:
        """Open the file again after a failure, behind its last complete line.

        Raises:
            OutputError: It still cannot be written.
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

    def _happening(self, happening: Happening) -> dict[str, Any]:
        event = happening.to_json()
        return impersonal(event) if self._stats_only else event

    def _put(self, text: str, now: str) -> bool:
        try:
            if self._path is None:
                sys.stdout.write(text)
                sys.stdout.flush()
            elif text:
                self._append(self._path, text.encode("utf-8", "surrogateescape"), now[:10])
        except BrokenPipeError:
            # Who read standard output has enough (`| head`). Nothing more can be said there, not even by Python at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return False
        except OSError as error:
            raise self._lost(error) from error
        return True

    def _append(self, path: Path, data: bytes, day: str) -> None:
        """Write all of `data` or nothing."""
        full = 0 < self._config.rotate_mb * 1e6 < self._size + len(data)
        if self._size and (full or (self._config.rotate_daily and day > self._day)) and path.is_file():
            self._rotate(path)
        file = self._file or self._open(path, anew=False)
        if self._csv and self._size == 0:
            data = ",".join(COLUMNS).encode() + b"\n" + data
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            # Half a line would spoil the next one.
            with contextlib.suppress(OSError):
                file.truncate(self._size)
            raise
        self._size += len(data)
        self._day = day

    def _open(self, path: Path, *, anew: bool) -> FileIO:
        # Without a buffer, so that what failed is known, and what is said to be written is.
        self._file = file = FileIO(path, "w" if anew else "a")
        self._size = os.fstat(file.fileno()).st_size if path.is_file() else 0
        if self._size:
            self._day = utc(path.stat().st_mtime)[:10]
            self._size = _mend(path)
            file.truncate(self._size)
        return file

    def _shut(self) -> None:
        file, self._file = self._file, None
        if file:
            file.close()

    def _rotate(self, path: Path) -> None:
        """Put the file aside under the time of its last line, and forget the oldest ones."""
        self._shut()
        finished_at = stamp(path.stat().st_mtime)
        aside, number = path.with_name(f"{path.stem}.{finished_at}{path.suffix}"), 1
        while aside.exists():
            number += 1
            aside = path.with_name(f"{path.stem}.{finished_at}-{number}{path.suffix}")
        path.rename(aside)
        self._size = 0
        finished = re.compile(re.escape(path.stem) + r"\.\d{8}T\d{6}\.\d{3}Z(-\d+)?" + re.escape(path.suffix))
        prune((other for other in path.parent.iterdir() if finished.fullmatch(other.name)), Keep(count=self._config.keep))

    def _lost(self, error: OSError) -> OutputError:
        where = "standard output" if self._path is None else self._path
        return OutputError(f"events could not be written to {where} ({error.strerror}); the lines before are complete.")


def _mend(path: Path) -> int:
    """Tell where the last complete line of a file ends: the program may have been killed in the middle of the next."""
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


def _lines(events: Iterable[dict[str, Any]]) -> str:
    return "".join(to_json_text(event, ensure_ascii=False) + "\n" for event in events)


def _rows(rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, COLUMNS, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _face_row(event: dict[str, Any], face: dict[str, Any]) -> dict[str, Any]:
    corners = dict(zip(("x1", "y1", "x2", "y2"), face.get("box", ()), strict=False))
    named = {name: value for name, value in face.items() if name in COLUMNS} | {"unsure": to_json_text(face["unsure"])}
    return {"event": "face", "time": event["time"], "source": event["source"], "frame": event["frame"]} | named | corners


def _happening_row(event: dict[str, Any]) -> dict[str, Any]:
    """Put what has a column into it, and the rest into `details` as JSON."""
    row = {name: value for name, value in event.items() if name in COLUMNS and not isinstance(value, dict | list)}
    rest = {name: value for name, value in event.items() if name not in row}
    return row | ({"details": to_json_text(rest, ensure_ascii=False)} if rest else {})
