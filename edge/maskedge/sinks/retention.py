"""Limits on the number, age and size of files that accumulate."""

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

_ABANDONED_DAYS = 1 / 24
"""Age in days from which a temporary file counts as left behind."""


@dataclass(frozen=True)
class Retention:
    """Limits on the files of a folder. 0 means no limit.

    Attributes:
        count: Maximum number of files.
        days: Maximum age in days.
        megabytes: Maximum size of all files together, in megabytes.
    """

    count: int = 0
    days: float = 0.0
    megabytes: float = 0.0


def prune(paths: Iterable[Path], keep: Retention) -> None:
    """Remove the oldest files until the remaining files are within every limit.

    A file that cannot be removed is kept.

    Args:
        paths: The files.
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
    """Format seconds since the epoch for a file name, for example `20260131T120000.123Z`."""
    return re.sub("[:-]", "", utc(seconds))


_OWN = r"[A-Za-z0-9_~-]+-\d{8}T\d{6}\.\d{3}Z"


def is_own_name(name: str) -> bool:
    """Return True for a file name of the form that `MediaFolder` makes, with any suffix."""
    return re.fullmatch(_OWN + r"\.\w+", name) is not None


class MediaFolder:
    """A folder that keeps the newest pictures or clips of alerts. It does not change other files.

    Args:
        folder: The folder; created if missing.
        suffix: Suffix of its files, such as `.jpg`.
        keep: The limits.

    Raises:
        OutputError: The folder cannot be created or written to.
    """

    def __init__(self, folder: Path, suffix: str, keep: Retention) -> None:
        self._folder = folder.expanduser()
        self._suffix = suffix
        self._keep = keep
        self._own = re.compile(_OWN + re.escape(suffix))
        make_folder(self._folder, private=True)
        check_writable(self._folder / f".maskedge{suffix}")
        self._temporary = re.compile(rf"\.?{self._own.pattern}(\.[0-9a-f]{{8}})?\.tmp({re.escape(suffix)})?")
        self._remove_abandoned()

    def path(self, rule: str, seconds: float) -> Path:
        """Return the path for the file of an alert. A folder that was removed during the run is created again.

        Args:
            rule: Name of the rule.
            seconds: Start of the alert, in seconds since the epoch.

        Raises:
            OutputError: The folder cannot be created.
        """
        make_folder(self._folder, private=True)
        return self._folder / short_name(slug(rule), f"-{stamp(seconds)}{self._suffix}")

    def tidy(self) -> None:
        """Remove the files beyond the limits."""
        self._remove_abandoned()
        prune((path for path in self._folder.iterdir() if self._own.fullmatch(path.name)), self._keep)

    def _remove_abandoned(self) -> None:
        """Remove the temporary files that a killed run left behind.

        A newer one may be written at this moment: by the actions before a reload, or by another run.
        """
        abandoned = (path for path in self._folder.iterdir() if self._temporary.fullmatch(path.name))
        prune(abandoned, Retention(days=_ABANDONED_DAYS))
