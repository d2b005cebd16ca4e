"""Databases for the tests of the fleet."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from helpers.postgres import PostgreSQL
from maskedge.modelfile.key_files import write_key_pair
from maskedge_fleet.commands.signing import CommandSigner
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import migrate


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server. Tests that stop it start one of their own."""
    server = PostgreSQL()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def template(postgresql: PostgreSQL) -> str:
    """The name of a database with all tables, which tests copy."""
    url = postgresql.create_database()
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
    return str(engine.url.database)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with all tables, which tests copy."""
    path = tmp_path_factory.mktemp("fleet") / "empty.sqlite3"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    engine.dispose()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/fleet.sqlite3"
        return
    server: PostgreSQL = request.getfixturevalue("postgresql")
    url = server.create_database()
    yield url
    server.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with all tables, of each kind."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "fleet.sqlite3")
        yield f"sqlite:///{tmp_path}/fleet.sqlite3"
        return
    server: PostgreSQL = request.getfixturevalue("postgresql")
    url = server.create_database(request.getfixturevalue("template"))
    yield url
    server.drop_database(url)


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """A database with all tables, of each kind."""
    engine = open_engine(database)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def command_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The private key that signs commands. The public one beside it ends with .pub."""
    path = tmp_path_factory.mktemp("keys") / "commands.pem"
    write_key_pair(path)
    return path


@pytest.fixture(scope="session")
def signer(command_key: Path) -> CommandSigner:
    """The signer with that key."""
    return CommandSigner(command_key)
