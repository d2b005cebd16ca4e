"""Logging to standard error. Each record is one line of text or JSON, without secrets."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable

from .text import displayable, to_json, utc

NAME = "maskedge"
_MASK = "********"
_thread = threading.local()
"""`camera`: name of the camera whose loop runs in this thread."""


def log_as(camera: str) -> None:
    """Name a camera in the log lines of this thread."""
    _thread.camera = camera


class _Formatter(logging.Formatter):
    """Formats a record as one line."""

    def __init__(self, style: str, secrets: Iterable[str]) -> None:
        super().__init__()
        self._json = style == "json"
        # The longest secrets are masked first, because one secret may contain another.
        self._secrets = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with secrets masked and line breaks removed."""
        message = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            message += f" ({record.exc_info[1]!r})"
        for secret in self._secrets:
            message = message.replace(secret, _MASK)
        message = displayable(" ".join(message.split()))
        camera = getattr(_thread, "camera", "")
        level = record.levelname.lower()
        if self._json:
            facts = {"time": utc(record.created), "level": level, "message": message} | ({"camera": camera} if camera else {})
            details = getattr(record, "happening", None)
            line = to_json(facts | ({"happening": details} if details else {}))
            # Standard error escapes characters that its encoding lacks. JSON does not allow these
            # escapes.
            encoding = (getattr(sys.stderr, "encoding", None) or "utf-8").lower().replace("-", "")
            return line if encoding == "utf8" else to_json(facts | ({"happening": details} if details else {}), ensure_ascii=True)
        message = f"{camera}: {message}" if camera else message
        text = message if record.levelno == logging.INFO else f"{level}: {message}"
        # On a terminal, the line replaces the progress line.
        return f"\r\033[K{text}" if sys.stderr.isatty() else text


class _StandardError(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to the current standard error."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the library's name)
        """Ignore a failed write: it must not end the run."""


def set_up(style: str = "text", level: str = "info", secrets: Iterable[str] = ()) -> logging.Logger:
    """Send log records to standard error, and return the logger of the package.

    It may be called again with other settings.

    Args:
        style: `text` or `json`.
        level: Lowest level that is logged: `debug`, `info`, `warning` or `error`.
        secrets: Texts to mask in every line.
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
