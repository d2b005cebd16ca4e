"""Statements that write many rows at once: by arrays in PostgreSQL, row by row in SQLite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import Connection

ROWS = "{rows}"
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Bulk:
    """A statement that is executed for many rows.

    Attributes:
        columns: PostgreSQL's type of each value of a row, by its name.
        postgresql: The statement. `{rows}` stands for a table `r` of all rows.
        sqlite: The statement for one row, with `:NAME` for a value.
    """

    columns: Mapping[str, str]
    postgresql: str
    sqlite: str

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Execute the statement.

        Args:
            connection: Connection within a transaction.
            rows: Values in the order of `columns`. Values of type `jsonb` are JSON texts.
        """
        if not rows:
            return
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(self._for_postgresql(), self._arrays(rows))
        else:
            connection.exec_driver_sql(self.sqlite, self._named(rows))

    def run_returning(self, connection: Connection, rows: Sequence[Row]) -> list[Row]:
        """Execute a statement with the clause RETURNING, and return what it returned."""
        if not rows:
            return []
        if connection.dialect.name == "postgresql":
            return [tuple(row) for row in connection.exec_driver_sql(self._for_postgresql(), self._arrays(rows))]
        return [tuple(found) for row in self._named(rows) for found in connection.exec_driver_sql(self.sqlite, row)]

    def _for_postgresql(self) -> str:
        arrays = ", ".join(f"%s::{kind}[]" for kind in self.columns.values())
        return self.postgresql.replace(ROWS, f"unnest({arrays}) AS r({', '.join(self.columns)})")

    def _arrays(self, rows: Sequence[Row]) -> tuple[list[Any], ...]:
        return tuple(list(values) for values in zip(*rows, strict=True))

    def _named(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        return [dict(zip(self.columns, map(_sqlite_value, row), strict=True)) for row in rows]


def insert(table: str, columns: Mapping[str, str], conflict: str = "ON CONFLICT DO NOTHING", returning: str = "") -> Bulk:
    """Return the statement that inserts rows.

    Args:
        table: Name of the table.
        columns: Type of each column, by its name.
        conflict: What happens with rows whose key exists.
        returning: Columns to return of the inserted rows.
    """
    names = ", ".join(f'"{name}"' for name in columns)
    tail = f"{conflict} RETURNING {returning}" if returning else conflict
    return Bulk(
        columns,
        f"INSERT INTO {table} ({names}) SELECT * FROM {ROWS} {tail}",  # noqa: S608  (names of this program)
        f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in columns)}) {tail}",  # noqa: S608
    )


def _sqlite_value(value: Any) -> Any:
    """Return a value as SQLAlchemy stores it in SQLite."""
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).replace(tzinfo=None).isoformat(" ", "microseconds")
    return value
