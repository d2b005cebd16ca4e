"""A server with a filled fleet, and a browser that leaves its page after each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from helpers.fleet_page.rows import fill_counts, fill_devices, fill_rest
from helpers.fleet_page.server import PageServer


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, command_key: Path) -> Iterator[PageServer]:
    """A server with 24 devices at three sites, and counts of a month."""
    with PageServer(tmp_path_factory.mktemp("fleet"), command_key) as server:
        with Session(server.engine) as session, session.begin():
            fill_devices(session, 24, sites=3)
            fill_counts(session)
            fill_rest(session)
        yield server


@pytest.fixture
def new_fleet(tmp_path_factory: pytest.TempPathFactory, command_key: Path) -> Iterator[PageServer]:
    """A server without devices."""
    with PageServer(tmp_path_factory.mktemp("fleet"), command_key) as server:
        yield server


@pytest.fixture(autouse=True)
def _page_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A page that stays open would log errors of a server that has ended in the next test."""
    yield
    if "browser" in request.fixturenames:
        browser: Any = request.getfixturevalue("browser")
        browser.get("about:blank")
        browser.get_log("browser")
