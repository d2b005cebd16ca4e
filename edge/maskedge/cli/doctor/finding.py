"""The result of a check of `edge-doctor`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from maskedge.errors import MaskedgeError


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


def problem_of(check: Callable[..., Any], *arguments: Any, **options: Any) -> list[str]:
    """Run a check. Return the message of its error, or an empty list."""
    try:
        check(*arguments, **options)
    except MaskedgeError as error:
        return [str(error)]
    except ImportError as error:
        # Imported here: it loads OpenCV and ONNX Runtime, and edge-doctor also runs without them.
        from maskedge.runtime.camera import missing_library

        return [str(missing_library(error))]
    return []
