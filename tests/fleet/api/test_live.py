"""Changes as server-sent events, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from helpers.fleet.data import NOON, add_device, camera_of, create_tokens
from helpers.fleet.server import FleetServer
from maskedge_fleet.api.app import create_app
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.tables import Alert, Device
from maskedge_fleet.settings import ServerConfig, Settings

from .conftest import sqlite_url


@pytest.fixture
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database with two devices."""
    opened = open_engine(sqlite_url(request, tmp_path))
    with Session(opened) as session:
        add_device(session, "door")
        add_device(session, "gate")
        session.commit()
    yield opened
    opened.dispose()


@pytest.fixture
def live_server(engine: Engine) -> Iterator[FleetServer]:
    """A server of the database."""
    with FleetServer(engine, create_tokens(engine), max_live_clients=3) as running:
        yield running


def _next(messages: Iterator[tuple[str, str]], kind: str) -> Any:
    """Return the content of the next message of a kind."""
    for found, data in messages:
        if found == kind:
            return json.loads(data)
    raise AssertionError("the connection has ended")


def _touch(session: Session, name: str, **values: Any) -> None:
    device = session.query(Device).filter_by(name=name).one()
    for key, value in {"seen": datetime.now(timezone.utc), **values}.items():
        setattr(device, key, value)
    session.commit()


def test_changes_arrive_once(live_server: FleetServer, engine: Engine) -> None:
    with live_server.live() as messages, Session(engine) as session:
        assert _next(messages, "summary")["devices"]["total"] == 2
        _touch(session, "door")  # nothing that the page shows, except the time
        _touch(session, "gate", online=False)
        assert [(row["name"], row["state"]) for row in _next(messages, "device")["items"]] == [("gate", "offline")]
        camera_of(session, "door").state = "lost"
        _touch(session, "door")
        assert [(row["name"], row["state"]) for row in _next(messages, "device")["items"]] == [("door", "lost")]
        assert _next(messages, "summary")["cameras"]["lost"] == 1


def test_a_last_will_is_a_change_even_if_the_time_stays(live_server: FleetServer, engine: Engine) -> None:
    with live_server.live() as messages, Session(engine) as session:
        _next(messages, "summary")
        _touch(session, "door", online=False, seen=NOON)
        assert [row["name"] for row in _next(messages, "device")["items"]] == ["door"]


def test_alerts_arrive_when_they_begin_are_acknowledged_and_end(live_server: FleetServer, engine: Engine) -> None:
    with live_server.live() as messages, Session(engine) as session:
        _next(messages, "summary")
        device = session.query(Device).filter_by(name="door").one()
        alert = Alert(rule="no_mask", source="device", subject="door", device_id=device.id, since=NOON, details={})
        session.add(alert)
        session.commit()
        assert [(row["device"], row["ended"]) for row in _next(messages, "alert")["items"]] == [("door", None)]
        path = f"/api/v1/alerts/{alert.id}/acknowledge"
        assert live_server.client.post(path, headers=live_server.bearer("operator")).status_code == 200
        assert [row["acknowledged_by"] for row in _next(messages, "alert")["items"]] == ["operator"]
        session.refresh(alert)
        alert.ended = NOON + timedelta(hours=1)
        session.commit()
        assert [row["ended"] for row in _next(messages, "alert")["items"]] == ["2026-03-14T13:00:00Z"]


def test_a_removed_device_asks_the_page_to_load_again(live_server: FleetServer) -> None:
    with live_server.live() as messages:
        _next(messages, "summary")
        assert live_server.client.delete("/api/v1/devices/door", headers=live_server.bearer("admin")).status_code == 204
        assert _next(messages, "reload") == {}


def test_a_token_that_is_revoked_ends_its_connection(live_server: FleetServer) -> None:
    with live_server.live("viewer") as messages, live_server.live("operator") as others:
        _next(messages, "summary")
        _next(others, "summary")
        assert live_server.client.delete("/api/v1/tokens/viewer", headers=live_server.bearer("admin")).status_code == 204
        start = time.monotonic()
        assert not [kind for kind, _ in messages if kind != "summary"]
        assert time.monotonic() - start < 15
        live_server.client.post("/api/v1/sites", json={"name": "Shop"}, headers=live_server.bearer("operator"))
        live_server.client.patch("/api/v1/devices/door", json={"site": "Shop"}, headers=live_server.bearer("operator"))


def test_the_number_of_clients_is_limited(live_server: FleetServer) -> None:
    with live_server.live() as one, live_server.live() as two, live_server.live() as three:
        for messages in (one, two, three):
            _next(messages, "summary")
        refused = live_server.client.get("/api/v1/live", headers=live_server.bearer())
        assert (refused.status_code, refused.json()["error"].endswith("close one.")) == (503, True)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with live_server.live() as messages:
                _next(messages, "summary")
                return
        except AssertionError:
            time.sleep(0.2)
    raise AssertionError("the places of clients that left stay taken")


def test_of_clients_in_the_same_moment_only_one_gets_the_last_place(engine: Engine) -> None:
    app = create_app(engine, Settings(server=ServerConfig(max_live_clients=1)))
    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {create_tokens(engine)['viewer']}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/api/v1/live", "query_string": b"", "headers": headers}

    async def ask(meanwhile: Callable[[], Awaitable[object]] | None = None) -> int:
        """Return the status. The client does something else when it has come, and then leaves."""
        statuses, requests, left = [], [{"type": "http.request"}], asyncio.Event()

        async def receive() -> dict[str, Any]:
            if requests:
                return requests.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
                if meanwhile is not None:
                    assert await meanwhile() == 503
                left.set()

        await app({**scope, "client": ("127.0.0.1", 1)}, receive, send)
        return int(statuses[0])

    async def ask_all() -> list[int]:
        return [await ask(ask), await ask()]

    assert asyncio.run(ask_all()) == [200, 200]


def test_the_end_of_the_server_ends_the_connections(engine: Engine) -> None:
    server = FleetServer(engine, create_tokens(engine))
    with server, server.live() as messages:
        _next(messages, "summary")
        closing = threading.Thread(target=server.close)
        closing.start()
        with contextlib.suppress(httpx.TransportError):
            assert not [kind for kind, _ in messages if kind not in ("summary", "device")]
        closing.join(15)
        assert not closing.is_alive()
