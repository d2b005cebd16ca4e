"""Databases for the tests of the fleet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.postgres import PostgreSQL
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import migrate


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server. Tests that stop it start one of their own."""
    server = PostgreSQL()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/fleet.sqlite3"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.create_database()


@pytest.fixture
def database(empty_database: str) -> str:
    """The URL of a database with all tables, of each kind."""
    engine = open_engine(empty_database)
    migrate(engine)
    engine.dispose()
    return empty_database
