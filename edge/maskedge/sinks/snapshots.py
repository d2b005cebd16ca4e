"""Snapshots: pictures of alerts, as JPEG."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from maskedge.errors import UsageError
from maskedge.rendering.jpeg import encode_jpeg
from maskedge.results import FrameResult
from maskedge.settings import Range, check_settings
from maskedge.support.files import write_file

from .retention import MediaFolder, Retention


@dataclass(frozen=True)
class SnapshotsConfig:
    """The section `[snapshots]`. Without a folder, no pictures are stored."""

    folder: Path | None = field(
        default=None, metadata={"help": "folder for the pictures of alerts with the action 'snapshot'", "camera": "folder"}
    )
    quality: int = field(default=90, metadata={"help": "JPEG quality", "range": Range(1, 100)})
    keep: int = field(default=200, metadata={"help": "number of pictures to keep; 0: no limit", "range": Range(0, 1_000_000)})
    keep_days: float = field(default=30.0, metadata={"help": "days to keep a picture; 0: no limit", "range": Range(0, 36500)})
    keep_mb: float = field(
        default=200.0, metadata={"help": "megabytes to keep in total; 0: no limit", "range": Range(0, 10_000_000)}
    )

    def __post_init__(self) -> None:
        check_settings(self, "snapshots")


class SnapshotStore:
    """Writes the published picture of an alert, with overlay and anonymisation.

    Args:
        config: The section, with a folder.

    Raises:
        UsageError: No folder is set.
        OutputError: The folder cannot be written to.
    """

    def __init__(self, config: SnapshotsConfig) -> None:
        if config.folder is None:
            raise UsageError("an alert has the action 'snapshot': set the folder for its pictures ([snapshots] folder).")
        self._quality = config.quality
        self._folder = MediaFolder(config.folder, ".jpg", Retention(config.keep, config.keep_days, config.keep_mb))

    def save(self, rule: str, seconds: float, result: FrameResult) -> Path:
        """Write a picture, and remove the pictures beyond the limits.

        Args:
            rule: Name of the rule.
            seconds: Start of the alert, in seconds since the epoch.
            result: The frame.

        Raises:
            OutputError: The picture cannot be written.
        """
        path = self._folder.path(rule, seconds)
        picture = encode_jpeg(result.picture, self._quality)
        write_file(path, picture, remedy="free some space, or choose another [snapshots] folder", private=True)
        self._folder.tidy()
        return path
