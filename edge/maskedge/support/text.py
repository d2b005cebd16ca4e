"""Text for terminals and for other programs, whatever the names of files hold."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from typing import Any, NoReturn


def displayable(name: object) -> str:
    """Escape what a terminal or a line of a log cannot hold: control characters, and bytes of a name that are no UTF-8."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in str(name))


def is_utf8(text: str) -> bool:
    """Tell whether `text` is valid Unicode, which OpenCV and FFmpeg crash without."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def to_json(value: Any, *, ensure_ascii: bool = False) -> str:
    """Give `value` as JSON on one line: what is no number (NaN, infinity) is null, as JSON has no word for it.

    Bytes of a file's name that are no UTF-8 stand in it as Python's lone surrogates; `to_bytes` escapes them.

    Args:
        value: The value, of JSON's types.
        ensure_ascii: Escape what is not ASCII.
    """
    try:
        return json.dumps(value, ensure_ascii=ensure_ascii, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=ensure_ascii, allow_nan=False)


def read_json(text: str) -> Any:
    """Read JSON text that a file brings along.

    Raises:
        ValueError: It is no JSON, holds NaN or infinity, or is nested too deep.
    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_bytes(text: str) -> bytes:
    r"""Encode as UTF-8. Bytes of a name that are no UTF-8 become `\udce9`: in JSON the same text, for `os.fsencode`."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        try:
            # Of another encoding's system (LANG=C) all bytes beyond ASCII come so, also those that are UTF-8.
            return text.encode(errors="surrogateescape").decode().encode()
        except UnicodeError:
            return text.encode(errors="backslashreplace")


def utc(seconds: float) -> str:
    """Format seconds since the epoch in UTC, as in `2026-01-31T12:00:00.123Z`."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
