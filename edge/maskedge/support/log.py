"""What a long run says: single lines on standard error, for people or for machines, without secrets."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable

from .text import displayable, to_json, utc

NAME = "maskedge"
_MASK = "********"


class _Formatter(logging.Formatter):
    """One line a record."""

    def __init__(self, style: str, secrets: Iterable[str]) -> None:
        super().__init__()
        self._json = style == "json"
        # Longest first: a secret may hold another one.
        self._secrets = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """Give the line, without secrets and without the line breaks of others."""
        message = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            message += f" ({record.exc_info[1]!r})"
        for secret in self._secrets:
            message = message.replace(secret, _MASK)
        message = displayable(" ".join(message.split()))
        level = record.levelname.lower()
        if self._json:
            facts = {"time": utc(record.created), "level": level, "message": message}
            details = getattr(record, "happening", None)
            line = to_json(facts | ({"happening": details} if details else {}))
            # An encoding that lacks letters must not escape them in its own way, which JSON does not know.
            encoding = (getattr(sys.stderr, "encoding", None) or "utf-8").lower().replace("-", "")
            return line if encoding == "utf8" else to_json(facts | ({"happening": details} if details else {}), ensure_ascii=True)
        text = message if record.levelno == logging.INFO else f"{level}: {message}"
        # A terminal may show a line of progress.
        return f"\r\033[K{text}" if sys.stderr.isatty() else text


class _StandardError(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what is standard error at that time."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the library's name)
        """A log that cannot be written stops nothing."""


def set_up(style: str = "text", level: str = "info", secrets: Iterable[str] = ()) -> logging.Logger:
    """Send what is logged to standard error, and give the logger of the project. May be called again.

    Args:
        style: `text` or `json`.
        level: The least that is said: `debug`, `info`, `warning`, `error`.
        secrets: Texts that never stand in a line.
    """
    logger = logging.getLogger(NAME)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    handler = _StandardError()
    handler.setFormatter(_Formatter(style, secrets))
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False
    return logger
