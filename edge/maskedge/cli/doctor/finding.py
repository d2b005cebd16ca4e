"""The result of a check of `edge-doctor`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from maskedge.errors import MaskedgeError
from maskedge.support.install_hint import install_command


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
    except ModuleNotFoundError as error:
        return [f"{error.name} is not installed: install the extra mqtt: {install_command('mqtt')}"]
    return []
