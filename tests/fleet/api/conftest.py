"""The application of the fleet over a database of each kind."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from helpers.fleet.data import create_tokens
from helpers.postgres import PostgreSQL
from maskedge_fleet.api.app import create_app
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import migrate
from maskedge_fleet.database.tables import Base
from maskedge_fleet.settings import ServerConfig, Settings

with warnings.catch_warnings():
    # It asks for another name of its client library.
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient
    from httpx import Response


@dataclass
class Api:
    """The application, and a token of each role."""

    engine: Engine
    tokens: Mapping[str, str]
    client: TestClient

    def __call__(self, method: str, path: str, role: str | None = "admin", **given: Any) -> Response:
        """Send a request below /api/v1 with the token of a role."""
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        return self.client.request(method, f"/api/v1{path}", headers={**headers, **given.pop("headers", {})}, **given)

    def get(self, path: str, role: str = "viewer", **query: Any) -> Any:
        """Return the JSON of a path."""
        response = self("GET", path, role, params={name.removesuffix("_"): value for name, value in query.items()})
        assert response.status_code == 200, response.text
        return response.json()

    def error(self, method: str, path: str, role: str | None = "admin", **given: Any) -> tuple[int, str]:
        """Return status and sentence of a refused request."""
        response = self(method, path, role, **given)
        content = response.json()
        assert list(content) == ["error"]
        assert content["error"][0].isupper() or not content["error"][0].isalpha()
        assert content["error"].endswith(".")
        return response.status_code, content["error"]

    def session(self) -> Session:
        """Open a session of the database."""
        return Session(self.engine)


@pytest.fixture(scope="session")
def shared_database(postgresql: PostgreSQL) -> str:
    """The URL of a PostgreSQL database with all tables, which each test empties first."""
    url = postgresql.create_database()
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database with empty tables, of each kind. It is ready sooner than a new one."""
    if request.param == "sqlite":
        return sqlite_url(request, tmp_path)
    url: str = request.getfixturevalue("shared_database")
    engine = open_engine(url)
    with engine.begin() as connection:
        tables = ", ".join(f'"{name}"' for name in Base.metadata.tables)
        connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
    engine.dispose()
    return url


def sqlite_url(request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URL of a new SQLite database."""
    shutil.copy(request.getfixturevalue("migrated_file"), folder / "fleet.sqlite3")
    return f"sqlite:///{folder}/fleet.sqlite3"


@pytest.fixture
def open_api(database: str) -> Iterator[Callable[..., Api]]:
    """Return a function that opens the application with settings of the section `[server]`."""
    engine = open_engine(database)
    tokens = create_tokens(engine)

    def open_with(**server: Any) -> Api:
        app = create_app(engine, Settings(server=ServerConfig(**server)))
        return Api(engine, tokens, TestClient(app, base_url="http://localhost", raise_server_exceptions=False))

    yield open_with
    engine.dispose()


@pytest.fixture
def api(open_api: Callable[..., Api]) -> Api:
    """The application with default settings."""
    return open_api()


@pytest.fixture
def lite_api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    """The application over SQLite, for requests that are refused before the database matters."""
    engine = open_engine(sqlite_url(request, tmp_path))
    app = create_app(engine, Settings())
    yield Api(engine, create_tokens(engine), TestClient(app, base_url="http://localhost", raise_server_exceptions=False))
    engine.dispose()
