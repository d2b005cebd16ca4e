"""How much of what piles up is kept."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from maskedge.support.files import make_folder, short_name, slug
from maskedge.support.text import utc

from .base import check_writable


@dataclass(frozen=True)
class Retention:
    """What to keep; 0 leaves a limit out.

    Attributes:
        count: Files.
        days: Days since they were written.
        megabytes: Of all together.
    """

    count: int = 0
    days: float = 0.0
    megabytes: float = 0.0


def prune(paths: Iterable[Path], keep: Retention) -> None:
    """Remove the oldest files until the rest is within every limit. What cannot be removed is left.

    Args:
        paths: Files of one kind.
        keep: The limits.
    """
    files = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            facts = path.stat()
            files.append((facts.st_mtime_ns, path.name, facts.st_size, path))
    oldest = time.time_ns() - keep.days * 86400e9
    total = 0
    for number, (written, _, size, path) in enumerate(sorted(files, reverse=True), 1):
        total += size
        over = 0 < keep.count < number or 0 < keep.megabytes * 1e6 < total
        if over or (keep.days > 0 and written < oldest):
            with contextlib.suppress(OSError):
                path.unlink()


def stamp(seconds: float) -> str:
    """Give seconds since the epoch as in `20260131T120000.123Z`, for names of files."""
    return re.sub("[:-]", "", utc(seconds))


_OWN = r"[A-Za-z0-9_~-]+-\d{8}T\d{6}\.\d{3}Z"


def is_own_name(name: str) -> bool:
    """Tell whether a file is called as those of an `MediaFolder` are, whatever its suffix."""
    return re.fullmatch(_OWN + r"\.\w+", name) is not None


class MediaFolder:
    """A folder of pictures or clips of alerts, of which the newest are kept. Other files in it are left alone.

    Args:
        folder: The folder; made when missing.
        suffix: Of its files, as in `.jpg`.
        keep: How much.

    Raises:
        OutputError: The folder cannot be made or written to.
    """

    def __init__(self, folder: Path, suffix: str, keep: Retention) -> None:
        self._folder = folder.expanduser()
        self._suffix = suffix
        self._keep = keep
        self._own = re.compile(_OWN + re.escape(suffix))
        make_folder(self._folder, private=True)
        check_writable(self._folder / f".maskedge{suffix}")
        # What a killed run did not complete.
        for path in self._folder.iterdir():
            if re.fullmatch(rf"\.?{self._own.pattern}(\.[0-9a-f]{{8}})?\.tmp({re.escape(suffix)})?", path.name):
                path.unlink(missing_ok=True)

    def path(self, rule: str, seconds: float) -> Path:
        """Name the file of an alert.

        Args:
            rule: Name of the rule.
            seconds: When, in seconds since the epoch.
        """
        return self._folder / short_name(slug(rule), f"-{stamp(seconds)}{self._suffix}")

    def tidy(self) -> None:
        """Remove what is not to be kept."""
        prune((path for path in self._folder.iterdir() if self._own.fullmatch(path.name)), self._keep)
