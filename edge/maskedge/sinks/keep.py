"""How much of what piles up is kept."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Keep:
    """What to keep; 0 leaves a limit out.

    Attributes:
        count: Files.
        days: Days since they were written.
        megabytes: Of all together.
    """

    count: int = 0
    days: float = 0.0
    megabytes: float = 0.0


def prune(paths: Iterable[Path], keep: Keep) -> None:
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
