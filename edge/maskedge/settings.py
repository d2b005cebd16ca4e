"""Bounds of settings. Each key declares its bounds; creating a section checks them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, NamedTuple

from .errors import UsageError
from .support.addresses.masking import names_a_secret, without_password

PRECISIONS = ("auto", "float32", "int8")
"""Precisions of the bundled models. `auto` is int8 on a processor with dot products of bytes,
otherwise float32."""
PROVIDERS = ("auto", "cpu", "tensorrt", "cuda", "migraphx", "openvino", "qnn", "xnnpack", "acl")
"""Values of `model.provider`: the processor, and accelerators of ONNX Runtime."""
OPERATING_POINTS = ("balanced", "high", "recall")
"""Names of the face thresholds that a classifier file may carry. `balanced` has the best F1, `high`
the fewest false alarms, `recall` finds the most faces."""
DOMAINS = ("webcam", "crowds")
"""Kinds of pictures for which a classifier file may carry operating points."""
MASK = "********"
MOST_TEXT = 4096
"""Maximum length of a text in characters."""
MOST_ITEMS = 1000
"""Maximum number of items of a list."""
MOST_NAME = 64
"""Maximum length of the name of a device or a camera in characters; twice as many bytes."""
_SHOWN = 60
"""Maximum number of characters of a refused value in an error message."""


class Range(NamedTuple):
    """The numbers that a key accepts, both ends included. Stored in a field's metadata as `range`.

    Attributes:
        low: Smallest number.
        high: Greatest number.
        zero: True if 0 is accepted as well, with a meaning of its own.
    """

    low: float
    high: float
    zero: bool = False

    def __contains__(self, value: object) -> bool:
        """Return True for a number in the range. NaN is never in it."""
        return isinstance(value, int | float) and (self.low <= value <= self.high or (self.zero and value == 0))

    def __str__(self) -> str:
        ends = [f"{end:.0f}" if end == int(end) else f"{end:g}" for end in (self.low, self.high)]
        return f"{'0, or ' if self.zero else ''}from {ends[0]} to {ends[1]}"


def check_settings(section: Any, name: str) -> None:
    """Check every value of a section against the bounds of its key. Types are not checked.

    A field's metadata may hold `range` (a `Range`), `free` (True for a text that may hold control
    characters, as a path or a script) and `secret` (True if messages must not repeat the value).

    Args:
        section: The dataclass.
        name: Name of the section, for messages.

    Raises:
        UsageError: A value is out of bounds; the message names the first one.
    """
    for entry in fields(section):
        check_value(entry, getattr(section, entry.name), f"{name}.{entry.name}")


def check_value(entry: Field[Any], value: Any, where: str) -> None:
    """Check one value against the bounds of its key.

    Args:
        entry: The field of the key.
        value: Its value, of the right type.
        where: Name of the key, for messages.

    Raises:
        UsageError: The value is out of bounds.
    """
    problem = _problem(value, entry.metadata)
    if problem:
        got = f", got {MASK if entry.metadata.get('secret') else shown(value)}" if isinstance(value, int | float) else ""
        raise UsageError(f"{where} {problem}{got}.")


def check_name(name: str, where: str) -> str:
    """Check the name of a device or a camera. It becomes a part of topics, paths and addresses.

    Args:
        name: The name.
        where: Name of the key, for messages.

    Returns:
        The name in Unicode's form NFC, so that names that look the same are the same.

    Raises:
        UsageError: The name is empty or too long, or contains a character that is not allowed.
    """
    name = unicodedata.normalize("NFC", name)
    allowed = "letters and digits of any script, '-', '_', '.', and single blanks between them"
    if not name.strip():
        raise UsageError(f"{where} is empty: give a name of {allowed}.")
    if len(name) > MOST_NAME or len(name.encode(errors="replace")) > 2 * MOST_NAME:
        raise UsageError(f"{where} takes {MOST_NAME} characters and {2 * MOST_NAME} bytes at most, got {shown(name)}.")
    bad = next((sign for sign in name if not (sign in "-_. " or unicodedata.category(sign)[0] in "LMN")), None)
    if bad is not None:
        sign = bad if bad.isprintable() and not bad.isspace() else f"U+{ord(bad):04X}"
        raise UsageError(f"{where} contains {sign!r}, got {shown(name)}: use {allowed}.")
    if name[0] in ". " or name[-1] == " " or "  " in name:
        raise UsageError(f"{where} begins with '.' or has blanks at an end or side by side, got {shown(name)}: use {allowed}.")
    return name


def is_plain_name(name: str, longest: int) -> bool:
    """Return True for a name of letters (with their accents and vowel signs), digits, `_`, `-`, `.` and blanks.

    Args:
        name: Name of a zone or an alert rule.
        longest: Maximum number of characters.
    """
    return 0 < len(name) <= longest and all(sign in "-_. " or unicodedata.category(sign)[0] in "LMN" for sign in name)


def shown(value: Any) -> str:
    """Format a value for an error message, short, on one line and without the credentials of addresses."""
    if isinstance(value, int) and abs(value) >= 10**_SHOWN:
        return f"a number of {int(value.bit_length() * 0.30103) + 1} digits"
    try:
        text = repr(_masked(value))
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} that is too large to show"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _masked(value: Any) -> Any:
    """Return a value of a TOML file with the credentials in its texts masked."""
    if isinstance(value, dict):
        return {
            _masked(key): MASK if isinstance(key, str) and names_a_secret(key) else _masked(inner) for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_masked(inner) for inner in value] if isinstance(value, list) else tuple(map(_masked, value))
    return without_password(value, MASK) if isinstance(value, str) else value


def _problem(value: Any, metadata: Mapping[str, Any]) -> str | None:
    if isinstance(value, tuple):
        if len(value) > MOST_ITEMS:
            return f"takes {MOST_ITEMS} items at most, got {len(value)}"
        return next((problem for item in value if (problem := _problem(item, metadata))), None)
    if isinstance(value, int | float) and not isinstance(value, bool):
        bounds: Range | None = metadata.get("range")
        if bounds is not None and value not in bounds:
            return f"takes a number {bounds}"
    if isinstance(value, str | Path):
        text = str(value)
        if len(text) > MOST_TEXT:
            return f"takes {MOST_TEXT} characters at most, got {len(text)}"
        # A path may contain any byte except NUL, and a script contains line breaks.
        free = metadata.get("free") or isinstance(value, Path)
        bad = next((sign for sign in text if sign == "\0" or (not free and _is_control(sign))), None)
        if bad is not None:
            return f"contains a character that is not allowed (U+{ord(bad):04X})"
        if text.startswith("~") and free:
            try:
                Path(text).expanduser()
            except RuntimeError:
                return f"names a home folder that does not exist: {shown(text)}"
    return None


def _is_control(sign: str) -> bool:
    """Return True for a control character or a lone surrogate, which UTF-8 cannot encode."""
    return sign < " " or "\x7f" <= sign <= "\x9f" or "\ud800" <= sign <= "\udfff"
