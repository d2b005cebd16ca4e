"""Pages of lists. A cursor is the sort key of the last row of a page."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Annotated, Any, Generic, TypeVar

from fastapi import HTTPException, Query
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, literal, tuple_
from sqlalchemy.orm import InstrumentedAttribute

Item = TypeVar("Item")
MOST_ITEMS = 2000
_LONGEST_CURSOR = 2000

Cursor = Annotated[
    str | None, Query(max_length=_LONGEST_CURSOR, description="The `next` of the page before; none for the first page")
]
Limit = Annotated[int, Query(ge=1, le=MOST_ITEMS, description="Maximum number of items")]


class Page(BaseModel, Generic[Item]):
    """A page of a list."""

    items: list[Item]
    next: str | None = Field(description="Cursor of the next page; null at the end")


def write_cursor(*key: int | str | datetime) -> str:
    """Return the cursor for a sort key."""
    values = [value.timestamp() if isinstance(value, datetime) else value for value in key]
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def read_cursor(cursor: str | None, *kinds: type[Any]) -> tuple[Any, ...] | None:
    """Return the sort key of a cursor; None for the first page.

    Args:
        cursor: The text that the client sent.
        kinds: `int`, `str` or `datetime` of each part of the key.

    Raises:
        HTTPException: The cursor is not one of this list (400).
    """
    if cursor is None:
        return None
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(values, list) or len(values) != len(kinds):
            raise ValueError
        return tuple(map(_convert, values, kinds))
    except (ValueError, OverflowError, OSError, RecursionError):
        raise HTTPException(400, "The cursor is not one of this list: send the next of the page before.") from None


def _convert(value: Any, kind: type[Any]) -> Any:
    if kind is datetime and isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, timezone.utc)
    if kind is not datetime and type(value) is kind and "\0" not in str(value):
        if kind is int and not -(2**31) <= value < 2**63:
            raise ValueError
        return value
    raise ValueError


def is_before(key: Sequence[Any], *columns: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """Return the condition that a row comes after a sort key in descending order.

    Args:
        key: The key of the last row of a page.
        columns: The columns of the key.
    """
    values = [literal(value, column.type) for value, column in zip(key, columns, strict=True)]
    return tuple_(*columns) < tuple_(*values)


def make_page(
    rows: Sequence[Any], limit: int, convert: Callable[[Any], Any], key: Callable[[Any], tuple[Any, ...]]
) -> dict[str, Any]:
    """Return a page as JSON types.

    Args:
        rows: The rows of the page and, if there are more, one more.
        limit: Maximum number of items.
        convert: Returns the item of a row.
        key: Returns the sort key of a row.
    """
    shown = rows[:limit]
    return {"items": [convert(row) for row in shown], "next": write_cursor(*key(shown[-1])) if len(rows) > limit else None}
