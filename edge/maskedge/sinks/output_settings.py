"""The section `[output]`, shared by the saved file and the window.

This module must import quickly, because `--help` needs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from maskedge.settings import Range, check_settings


@dataclass(frozen=True)
class OutputConfig:
    """The section `[output]`."""

    show: bool | None = field(default=None, metadata={"help": "open a window; default: if there is a display"})
    save: str | None = field(
        default=None,
        metadata={
            "help": "write the annotated video (.mp4, .mkv, .avi); for pictures also an existing folder or a picture file",
            "free": True,
            "camera": "file",
        },
    )
    overwrite: bool = field(default=False, metadata={"help": "replace existing outputs"})
    max_frames: int | None = field(default=None, metadata={"help": "stop after this many frames", "range": Range(1, 10**12)})

    def __post_init__(self) -> None:
        check_settings(self, "output")
