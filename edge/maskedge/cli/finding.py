"""The result of a check of `edge-doctor`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Result of a check.

    Attributes:
        state: `ok`, `note` (works, but with a limitation) or `FAIL`.
        text: Result in words.
        remedy: Remedy for the user; empty for `ok`.
    """

    state: str
    text: str
    remedy: str = ""
