"""Sets values in an edge.toml without changing anything else in it."""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

# tomllib is in the standard library since Python 3.11.
tomllib = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

Values = Mapping[tuple[str, str], str | int]
"""Values by section and key."""


def with_values(text: str, values: Values) -> str | None:
    """Set values in the text of a TOML file. All other lines, and comments, stay.

    Args:
        text: A valid TOML file.
        values: The values.

    Returns:
        The new text; None if the file is written in a form for which a small edit is not safe.
    """
    wanted = copy.deepcopy(tomllib.loads(text))
    for (section, key), value in values.items():
        if not isinstance(wanted.setdefault(section, {}), dict):
            return None
        wanted[section][key] = value
        text = _set(text, section, key, value)
    try:
        found: dict[str, Any] = tomllib.loads(text)
    except ValueError:
        return None
    return text if found == wanted else None


def as_lines(values: Values) -> str:
    """Return the values as the lines of a TOML file."""
    sections = dict.fromkeys(section for section, _ in values)
    return "\n\n".join(
        "\n".join([f"[{section}]", *(_line(key, value) for (own, key), value in values.items() if own == section)])
        for section in sections
    )


def _line(key: str, value: str | int) -> str:
    return f"{key} = {json.dumps(value)}"


def _set(text: str, section: str, key: str, value: str | int) -> str:
    """Set one value. `with_values` checks the result, so this may fail on unusual files."""
    end = "\r" if "\r\n" in text else ""
    lines = (text if text.endswith("\n") or not text else f"{text}{end}\n").split("\n")[:-1]
    header = re.compile(rf"\s*\[\s*{re.escape(section)}\s*\]\s*(#.*)?")
    start = next((number for number, line in enumerate(lines) if header.fullmatch(line)), None)
    if start is None:
        gap = [end] if lines and lines[-1].strip() else []
        lines += [*gap, f"[{section}]{end}", _line(key, value) + end]
        return "\n".join(lines) + "\n"
    last = next((number for number in range(start + 1, len(lines)) if lines[number].lstrip().startswith("[")), len(lines))
    own = re.compile(rf"(\s*{re.escape(key)}\s*=\s*)(\"[^\"\\]*\"|'[^']*'|[\w.+-]+)(\s*(?:#.*)?)")
    for number in range(start + 1, last):
        if match := own.fullmatch(lines[number]):
            lines[number] = f"{match[1]}{json.dumps(value)}{match[3]}"
            return "\n".join(lines) + "\n"
    lines.insert(start + 1, _line(key, value) + end)
    return "\n".join(lines) + "\n"
