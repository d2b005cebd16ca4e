"""A small validator of JSON values.

A shape is one of:

- `str`, `bool`, `int`, or `float` (any finite number). An `int` must fit into a float, too;
- `ANY` or `NONE`;
- a set of admitted strings;
- a list with one shape (for any number of items) or several (one per item);
- a tuple of alternative shapes;
- a dict of shapes by key. A key that ends with `?` is optional; `"*"` stands for all further keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Any

ANY: Any = object()
"""Any JSON value."""
NONE = type(None)


def problems(value: Any, shape: Any, where: str = "the report") -> Iterator[str]:
    """Yield one message per fault of `value`, such as `pipelines[0].name is missing`."""
    if shape is ANY:
        return
    if isinstance(shape, tuple):
        faults = [list(problems(value, one, where)) for one in shape]
        if all(faults):
            # The alternative with the fewest faults is the most likely intention.
            yield from min(faults, key=len)
    elif isinstance(shape, set | frozenset):
        if not (isinstance(value, str) and value in shape):
            yield f"{where} must be one of {', '.join(sorted(shape))}, got {_short(value)}"
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{where} must be a list, got {_short(value)}"
        elif len(shape) > 1 and len(value) != len(shape):
            yield f"{where} must be a list of {len(shape)}, got {_short(value)}"
        else:
            for index, item in enumerate(value):
                yield from problems(item, shape[index % len(shape)], f"{where}[{index}]")
    elif isinstance(shape, dict):
        yield from _object_problems(value, shape, where)
    elif shape is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            yield f"{where} must be a finite number, got {_short(value)}"
    elif not isinstance(value, shape) or (shape is int and (isinstance(value, bool) or not _is_finite(value))):
        yield f"{where} must be {'null' if shape is NONE else shape.__name__}, got {_short(value)}"


def _is_finite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def _object_problems(value: Any, shape: dict[str, Any], where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} must be an object, got {_short(value)}"
        return
    known = {key.removesuffix("?"): inner for key, inner in shape.items() if key != "*"}
    for key, inner in known.items():
        if key in value:
            yield from problems(value[key], inner, f"{where}.{key}")
        elif f"{key}?" not in shape:
            yield f"{where}.{key} is missing"
    for key in value.keys() - known.keys():
        if "*" in shape:
            yield from problems(value[key], shape["*"], f"{where}.{key}")
        else:
            yield f"{where}.{key} is unknown"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
