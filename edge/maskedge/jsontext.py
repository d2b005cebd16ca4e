"""JSON as every reader takes it: numbers that JSON does not know become null."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


def to_json_text(value: Any, **options: Any) -> str:
    """Write `value` as JSON text. NaN and infinity, which Python would write as no other program reads them, become null.

    Args:
        value: Of JSON's types.
        options: As of `json.dumps`.
    """
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, **options)


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
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
