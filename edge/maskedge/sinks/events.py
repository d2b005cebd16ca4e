"""Events: one JSON object a line and frame (docs/contracts.md)."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from maskedge.errors import OutputError
from maskedge.happenings import Happening

from .base import Answer, check_writable


def to_event(answer: Answer) -> dict[str, Any]:
    """Give the detection event of a frame."""
    frame = answer.frame
    moment = datetime.fromtimestamp(frame.time, timezone.utc).isoformat(timespec="milliseconds")
    return {
        "source": frame.source,
        "frame": frame.index,
        "time": moment.replace("+00:00", "Z"),
        "size": list(frame.size),
        "faces": [face.to_json() for face in answer.faces],
        "latency_ms": {stage: round(answer.stages.get(stage, 0.0), 2) for stage in ("total", "detect", "classify")},
    }


class EventSink:
    """Writes events to a file, or to standard output for `-`. Each line is complete as soon as its frame is done.

    Args:
        path: The file, written anew; `-` for standard output.

    Raises:
        OutputError: The file cannot be written.
    """

    name = "events"

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: TextIO = sys.stdout
        if path != "-":
            check_writable(Path(path))
            self._file = Path(path).open("w", encoding="utf-8")  # noqa: SIM115  (closed by close)

    def write(self, answer: Answer) -> bool:
        """Write one line."""
        try:
            self._file.write(json.dumps(to_event(answer), ensure_ascii=False) + "\n")
            self._file.flush()
        except BrokenPipeError:
            # Who read standard output has enough (`| head`). Nothing more can be said there, not even by Python at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._file.fileno())
            return False
        except OSError as error:
            raise self._lost(error) from error
        return True

    def tell(self, happening: Happening) -> None:
        """Write what happened between two frames."""

    def close(self) -> None:
        """Close the file."""
        if self._file is sys.stdout:
            return
        try:
            self._file.close()
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, error: OSError) -> OutputError:
        where = "standard output" if self._path == "-" else self._path
        return OutputError(f"events could not be written to {where} ({error.strerror}); the lines before are complete.")
