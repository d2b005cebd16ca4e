"""An output: a file with the number of faces in each frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from maskedge.results import FrameResult
from maskedge.sinks.base import Sink, SinkContext


@dataclass(frozen=True)
class ToyConfig:
    """The section `[toy]` of edge.toml."""

    file: Path | None = field(default=None, metadata={"help": "text file for the number of faces per frame"})


class ToySink(Sink):
    """Write the number of faces of each frame on a line of its own."""

    name = section = "toy"
    settings_class = ToyConfig

    def __init__(self, file: Path) -> None:
        self._file = file.open("w", encoding="utf-8")

    @classmethod
    def is_wanted(cls, settings: ToyConfig) -> bool:
        """Return True where a file is configured."""
        return settings.file is not None

    @classmethod
    def open(cls, settings: ToyConfig, context: SinkContext) -> ToySink:
        """Open the file."""
        assert settings.file is not None
        return cls(settings.file)

    def write(self, result: FrameResult) -> bool:
        """Write one line."""
        self._file.write(f"{len(result.faces)}\n")
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()
