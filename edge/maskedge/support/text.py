"""Conversion of text for terminals and other programs. Every file name is safe."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from typing import Any, NoReturn

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def displayable(name: object) -> str:
    """Escape characters that a terminal or a log line cannot show.

    These are control characters, and bytes of a file name that are not UTF-8.
    """
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in str(name))


def guard_formula(value: Any) -> Any:
    """Return a value that no spreadsheet takes for a formula: text gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def is_utf8(text: str) -> bool:
    """Return True for valid Unicode. OpenCV and FFmpeg crash on other text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def to_json(value: Any, *, ensure_ascii: bool = False) -> str:
    """Return `value` as JSON on one line.

    NaN and infinity become null, because JSON lacks these numbers.

    Bytes of a file name that are not UTF-8 appear as Python's lone surrogates. `to_bytes` escapes
    them.

    Args:
        value: A value of JSON types.
        ensure_ascii: Escape non-ASCII characters.
    """
    try:
        return json.dumps(value, ensure_ascii=ensure_ascii, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=ensure_ascii, allow_nan=False)


def read_json(text: str) -> Any:
    """Parse JSON text from a file.

    Raises:
        ValueError: The text is not JSON, contains NaN or infinity, or is nested too deeply.
    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_bytes(text: str) -> bytes:
    r"""Encode as UTF-8.

    Bytes of a name that are not UTF-8 become `\udce9`, which JSON decodes for `os.fsencode`.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        try:
            # With a locale other than UTF-8 (LANG=C), all non-ASCII bytes arrive as surrogates,
            # including valid UTF-8.
            return text.encode(errors="surrogateescape").decode().encode()
        except UnicodeError:
            return text.encode(errors="backslashreplace")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 thread` or `2,000 threads`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def utc(seconds: float) -> str:
    """Format seconds since the epoch in UTC, for example `2026-01-31T12:00:00.123Z`."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
