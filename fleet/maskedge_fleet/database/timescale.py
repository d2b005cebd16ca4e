"""TimescaleDB, if PostgreSQL has it: tables divided by time, whose old parts are compressed."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

OLDEST = (2, 11)
"""Oldest version that adds rows to compressed parts, as late messages need."""
TABLES: Mapping[str, tuple[str, str, str, str]] = {
    "event": ("time", "camera_id", "7 days", "30 days"),
    "statistics": ("time", "camera_id", "1 day", "2 days"),
    "minute_counts": ("start", "series_id", "7 days", "14 days"),
    "hour_counts": ("start", "series_id", "90 days", "180 days"),
    "day_counts": ("start", "series_id", "730 days", "1460 days"),
}
"""Column of the time, column that divides compressed rows, length of a part, and age at which it is compressed."""


def hypertables(engine: Engine) -> set[str]:
    """Return the tables that TimescaleDB divides; none without it."""
    if engine.dialect.name != "postgresql":
        return set()
    with engine.connect() as connection:
        if connection.scalar(text("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'")) is None:
            return set()
        names = connection.scalars(
            text("SELECT hypertable_name FROM timescaledb_information.hypertables WHERE hypertable_schema = current_schema()")
        )
        return set(names) & TABLES.keys()


def missing_timescale(engine: Engine) -> str | None:
    """Return why TimescaleDB cannot be used in a database; None if it can."""
    if engine.dialect.name != "postgresql":
        return "the database is not PostgreSQL"
    with engine.connect() as connection:
        version = connection.scalar(
            text("SELECT coalesce(installed_version, default_version) FROM pg_available_extensions WHERE name = 'timescaledb'")
        )
    if version is None:
        return "PostgreSQL does not have the extension timescaledb"
    parts = str(version).split(".")
    if not all(part.isdigit() for part in parts[:2]) or tuple(map(int, parts[:2])) < OLDEST:
        return f"TimescaleDB {version} is older than {OLDEST[0]}.{OLDEST[1]}"
    return None


def use_timescale(engine: Engine) -> str | None:
    """Divide the large tables by time, and let TimescaleDB compress old parts.

    It can be called again, and leaves tables as they are that are divided already. All tables are
    divided, or none.

    Args:
        engine: A database of the newest revision.

    Returns:
        Why TimescaleDB is not used; None if it is.
    """
    reason = missing_timescale(engine)
    if reason is not None:
        return reason
    try:
        # Some versions refuse to change the settings of a table that has compressed parts.
        divided = hypertables(engine)
        with engine.begin() as connection:
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS timescaledb"))
            for table, details in TABLES.items():
                if table not in divided:
                    _divide(connection, table, *details)
    except SQLAlchemyError as error:
        # The user may not create extensions, or this build has no compression.
        return f"TimescaleDB refuses ({str(getattr(error, 'orig', None) or error).strip().splitlines()[0]:.200})"
    return None


def _divide(connection: Connection, table: str, time: str, segment: str, part: str, age: str) -> None:
    connection.execute(
        text(
            "SELECT create_hypertable(CAST(:table AS regclass), CAST(:time AS name), "
            "chunk_time_interval => CAST(:part AS interval), "
            "create_default_indexes => false, migrate_data => true, if_not_exists => true)"
        ),
        {"table": table, "time": time, "part": part},
    )
    options = f"timescaledb.compress, timescaledb.compress_segmentby = '{segment}', timescaledb.compress_orderby = '{time} DESC'"
    connection.execute(text(f"ALTER TABLE {table} SET ({options})"))
    connection.execute(
        text("SELECT add_compression_policy(CAST(:table AS regclass), CAST(:age AS interval), if_not_exists => true)"),
        {"table": table, "age": age},
    )
