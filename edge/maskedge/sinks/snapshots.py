"""Snapshots: the picture of an alert, as JPEG."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from maskedge.errors import UsageError
from maskedge.results import FrameResult
from maskedge.settings import Range, check_settings
from maskedge.support.files import write_file
from maskedge.types import Image

from .retention import MediaFolder, Retention


@dataclass(frozen=True)
class SnapshotsConfig:
    """The section `[snapshots]`. Without a folder nothing is stored."""

    folder: Path | None = field(default=None, metadata={"help": "folder for the pictures of alerts with the action 'snapshot'"})
    quality: int = field(default=90, metadata={"help": "JPEG quality", "range": Range(1, 100)})
    keep: int = field(default=200, metadata={"help": "pictures to keep; 0: any number", "range": Range(0, 1_000_000)})
    keep_days: float = field(default=30.0, metadata={"help": "days to keep them; 0: for ever", "range": Range(0, 36500)})
    keep_mb: float = field(
        default=200.0, metadata={"help": "megabytes to keep of all together; 0: any size", "range": Range(0, 10_000_000)}
    )

    def __post_init__(self) -> None:
        check_settings(self, "snapshots")


class SnapshotStore:
    """Writes the outgoing picture of an alert (with its overlay, and pixelated where that was asked for).

    Args:
        config: The section, with a folder.

    Raises:
        UsageError: The section makes no sense.
        OutputError: The folder cannot be written to.
    """

    def __init__(self, config: SnapshotsConfig) -> None:
        if config.folder is None:
            raise UsageError("an alert has the action 'snapshot': say where its pictures go ([snapshots] folder).")
        self._quality = config.quality
        self._folder = MediaFolder(config.folder, ".jpg", Retention(config.keep, config.keep_days, config.keep_mb))

    def save(self, rule: str, seconds: float, answer: FrameResult) -> Path:
        """Write a picture beside its place and rename it, then remove what is not to be kept.

        Args:
            rule: Name of the rule.
            seconds: When its alert began, in seconds since the epoch.
            answer: The frame.

        Raises:
            OutputError: It cannot be written.
        """
        path = self._folder.path(rule, seconds)
        picture = encode_jpeg(answer.picture, self._quality)
        write_file(path, picture, remedy="free some space, or choose another [snapshots] folder", private=True)
        self._folder.tidy()
        return path


def encode_jpeg(image: Image, quality: int, width: int = 0) -> bytes:
    """Encode uint8 `[H, W, 3]` BGR as JPEG.

    Args:
        image: The picture.
        quality: 1 to 100.
        width: Greatest width in pixels; 0 for any.
    """
    if 0 < width < image.shape[1]:
        size = width, max(1, round(image.shape[0] * width / image.shape[1]))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))[1].tobytes()
