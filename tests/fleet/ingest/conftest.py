"""Rows of the database, for the tests of the ingest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from maskedge_fleet.database.engine import open_engine


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """A database with all tables, of each kind."""
    engine = open_engine(database)
    yield engine
    engine.dispose()
