"""Requests that change or delete the same object in the same moment, and many clients at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, delete, func, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from helpers.fleet.data import NOON, add_device, add_events, add_site, camera_of, create_tokens
from helpers.fleet.races import meanwhile
from helpers.fleet.server import FleetServer
from maskedge_fleet.cli import preparation
from maskedge_fleet.database.tables import Alert, Audit, Device, Site, Token

from .conftest import Api, sqlite_url


@pytest.fixture
def fleet(open_api: Callable[..., Api], command_key: Path) -> Api:
    """The application with a device, a site and an alert."""
    api = open_api(command_key=command_key)
    with api.session() as session, session.begin():
        add_site(session, "Shop")
        device = add_device(session, "door", commands=["reload"])
        session.add(Alert(rule="quiet", source="fleet", subject="door", device_id=device.id, since=NOON))
    # The time of use of the token is stored already.
    api.get("/summary", "operator")
    api.get("/summary", "admin")
    return api


_LIST = "SELECT device.id, device.name, site.name"


@pytest.mark.parametrize(
    ("method", "path", "body", "statement", "status"),
    [
        ("GET", "/devices/door", None, _LIST, 404),
        ("PATCH", "/devices/door", {"note": "x"}, "INSERT INTO audit", 409),
        ("PATCH", "/devices/door", {"note": "x"}, _LIST, 404),
        ("DELETE", "/devices/door", None, "DELETE FROM device", 404),
        ("POST", "/devices/door/commands", {"command": "reload"}, "UPDATE device", 400),
        ("PATCH", "/sites/Shop", {"name": "Store"}, "SELECT site.id \nFROM site", 409),
        ("DELETE", "/sites/Shop", None, "DELETE FROM site", 404),
        ("POST", "/alerts/1/acknowledge", None, "UPDATE alert", 404),
    ],
)
def test_an_object_that_is_deleted_in_the_same_moment_is_an_error_of_one_sentence(
    fleet: Api, method: str, path: str, body: dict[str, Any] | None, statement: str, status: int
) -> None:
    def remove(session: Session) -> None:
        session.execute(delete(Device))
        session.execute(delete(Site))

    with meanwhile(fleet.engine, statement, remove):
        assert fleet.error(method, path, json=body)[0] == status
    with fleet.session() as session:
        # A change of the note was stored before.
        assert session.scalars(select(Audit.action)).all() == (["device.change"] if statement == _LIST and body else [])


def test_of_two_acknowledgements_in_the_same_moment_the_first_one_counts(fleet: Api) -> None:
    taken = update(Alert).values(acknowledged=NOON, acknowledged_by="Ada")
    with meanwhile(fleet.engine, "UPDATE alert", lambda session: session.execute(taken)):
        status, sentence = fleet.error("POST", "/alerts/1/acknowledge")
    assert (status, "by Ada already" in sentence) == (409, True)


def test_answers_that_take_long_keep_no_connection_of_the_database(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    engine = create_engine(sqlite_url(request, tmp_path), pool_size=1, max_overflow=0, pool_timeout=30)
    with Session(engine) as session, session.begin():
        add_device(session, "door")
        add_events(session, camera_of(session, "door"), 3)
    with FleetServer(engine, create_tokens(engine), max_live_clients=1) as server, server.live() as messages:
        assert next(messages)[0] == "summary"
        table = server.client.get("/api/v1/events?format=csv", headers=server.bearer())
        assert (table.status_code, table.text.count("\n")) == (200, 4)
        assert server.client.get("/api/v1/live", headers=server.bearer()).status_code == 503
    engine.dispose()


@pytest.mark.parametrize("between", ["the first look and the lock", "the lock and the token"])
def test_two_servers_that_start_in_the_same_moment_create_one_token(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    between: str,
) -> None:
    url = sqlite_url(request, tmp_path)
    engine, other = create_engine(url), create_engine(url, connect_args={"timeout": 0.05})
    has_tokens = preparation.has_tokens

    def find(engine: Engine) -> bool:
        found = has_tokens(engine)
        monkeypatch.setattr(preparation, "has_tokens", has_tokens)
        preparation.create_first_token(other)
        return found

    def wait_for_the_first(_: Session) -> None:
        with pytest.raises(OperationalError, match="locked"):
            preparation.create_first_token(other)

    if between == "the first look and the lock":
        monkeypatch.setattr(preparation, "has_tokens", find)
        preparation.create_first_token(engine)
    else:
        with meanwhile(engine, "INSERT INTO token", wait_for_the_first):
            preparation.create_first_token(engine)
        preparation.create_first_token(other)
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(Token)) == 1
    assert capsys.readouterr().out.count("mef_") == 1
    engine.dispose()
    other.dispose()
