"""A database that is away, locked, or of another version; errors of the server itself."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Engine, text, update
from sqlalchemy.orm import Session

from helpers.fleet.data import NOON, add_device, camera_of, create_tokens
from helpers.fleet.server import FleetServer
from helpers.postgres import PostgreSQL
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import migrate
from maskedge_fleet.database.tables import Device, Statistics

from .conftest import Api, sqlite_url


@pytest.fixture
def own_postgresql() -> Iterator[PostgreSQL]:
    """A server that the test may kill."""
    server = PostgreSQL()
    yield server
    server.remove()


def test_a_database_that_is_away_is_an_error_of_one_sentence_until_it_is_back(own_postgresql: PostgreSQL) -> None:
    engine = open_engine(own_postgresql.create_database())
    migrate(engine)
    with FleetServer(engine, create_tokens(engine)) as server, server.live() as messages:
        client, headers = server.client, server.bearer()
        assert next(messages)[0] == "summary"
        assert client.get("/readyz").status_code == 200
        own_postgresql.kill()
        for _ in range(3):
            answer = client.get("/api/v1/devices", headers=headers)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert answer.json() == {"error": "The database cannot be used at the moment: try again later."}
        assert client.get("/healthz").status_code == 200
        ready = client.get("/readyz")
        assert (ready.status_code, "postgres" in ready.text) == (503, False)
        assert "maskedge_fleet_database_up 0.0" in client.get("/metrics").text
        own_postgresql.start()
        assert client.get("/api/v1/devices", headers=headers).status_code == 200
        assert client.get("/readyz").status_code == 200
        with Session(engine) as session:
            add_device(session, "door")
            session.commit()
        # The live connection has lasted.
        assert any("door" in data for kind, data in messages if kind == "device")
    engine.dispose()


def test_a_database_without_tables_is_named_by_readyz(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/empty.sqlite3")
    with FleetServer(engine, {"viewer": "mef_" + "A" * 43}) as server:
        ready = server.client.get("/readyz")
        assert (ready.status_code, "edge-fleet migrate" in ready.json()["error"]) == (503, True)
        assert server.client.get("/api/v1/devices", headers=server.bearer()).status_code == 503
    engine.dispose()


def test_changes_wait_for_other_writers_of_sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = sqlite_url(request, tmp_path)
    engine, other = open_engine(url), open_engine(url)
    with Session(engine) as session:
        add_device(session, "door")
        session.commit()
    end = threading.Event()

    def write() -> None:
        while not end.is_set():
            with other.begin() as connection:
                connection.execute(text("BEGIN IMMEDIATE"))
                connection.execute(update(Device).values(seen=NOON))
            end.wait(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with FleetServer(engine, create_tokens(engine)) as server:
            for number in range(20):
                change = {"note": str(number)}
                answer = server.client.patch("/api/v1/devices/door", json=change, headers=server.bearer("operator"))
                assert answer.status_code == 200, answer.text
    finally:
        end.set()
        writer.join()
        engine.dispose()
        other.dispose()


def test_an_error_of_the_server_shows_no_internals(
    lite_api: Api, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("maskedge"), "propagate", True)

    @lite_api.client.app.get("/api/v1/broken")  # type: ignore[attr-defined, untyped-decorator]
    def broken() -> None:
        raise RuntimeError("the secret is 42")

    with caplog.at_level(logging.ERROR, "maskedge.fleet"):
        status, sentence = lite_api.error("GET", "/broken")
    assert (status, "42" in sentence) == (500, False)
    assert "GET /api/v1/broken failed" in caplog.text
    assert "42" in caplog.text


def test_two_changes_at_once_are_a_conflict_of_one_sentence(api: Api) -> None:
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(api("POST", "/sites", "operator", json={"name": "Shop"}))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
    assert all("error" in answer.json() for answer in answers if answer.status_code == 409)


def test_no_token_is_logged(engine_and_log: tuple[Engine, pytest.LogCaptureFixture]) -> None:
    engine, log = engine_and_log
    with FleetServer(engine, create_tokens(engine)) as server:
        server.client.get("/api/v1/summary?token=mef_in_the_address", headers=server.bearer())
        server.client.post("/api/v1/session", json={"token": server.tokens["admin"]}, headers={"X-Requested-With": "page"})
        server.client.get("/api/v1/summary", headers={"Authorization": "Bearer mef_" + "A" * 43})
    # Those of the client are not the server's.
    lines = [record.getMessage() for record in log.records if not record.name.startswith("http")]
    assert any(line.endswith("GET /api/v1/summary 200") for line in lines)
    assert "mef_" not in "".join(lines)


@pytest.fixture
def engine_and_log(
    request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Engine, pytest.LogCaptureFixture]]:
    """A database, and the log of all that the server does."""
    engine = open_engine(sqlite_url(request, tmp_path))
    for name in ("maskedge", "uvicorn"):
        # A command of another test may have set them up.
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    with caplog.at_level(logging.DEBUG):
        yield engine, caplog
    engine.dispose()


def test_the_metrics_count_devices_alerts_and_rejects(api: Api) -> None:
    viewer = {"Authorization": f"Bearer {api.tokens['viewer']}"}
    first = api.client.get("/metrics", headers=viewer).text
    age = re.search(r"(?m)^maskedge_fleet_newest_message_age_seconds (\S+)$", first)
    assert age is not None, "a rule can warn of a broker that has delivered nothing since the start"
    assert 0 <= float(age[1]) < 3600
    assert "maskedge_fleet_ingest_lag_seconds" not in first
    now = datetime.now(timezone.utc)
    with api.session() as session:
        add_device(session, "door")
        add_device(session, "gate", online=False)
        # The clock of the gate is hours ahead. More of its messages than are measured have come, now and hours ago.
        ahead = timedelta(hours=3)
        sent = [("door", now - timedelta(seconds=60), now)]
        sent += [
            ("gate", at + ahead, at) for n in range(120) for at in (now - timedelta(seconds=n), now - ahead - timedelta(seconds=n))
        ]
        for number, (name, at, received) in enumerate(sent):
            message = {"camera_id": camera_of(session, name).id, "message_id": str(number), "content": {}}
            session.add(Statistics(time=at, received=received, **message))
        session.commit()
    content = api.client.get("/metrics", headers=viewer).text
    assert "maskedge_fleet_ingest_lag_seconds 60.0" in content
    assert 'maskedge_fleet_devices{state="online"} 1.0' in content
    assert 'maskedge_fleet_devices{state="offline"} 1.0' in content
    assert 'maskedge_fleet_alerts{acknowledged="no"} 0.0' in content
    assert "maskedge_fleet_rejects_total 0.0" in content
    assert "maskedge_fleet_recent_events 0.0" in content
    assert "maskedge_fleet_newest_message_age_seconds" in content
    assert api.client.get("/metrics").status_code == 401


def test_the_document_of_the_api_describes_each_endpoint(lite_api: Api) -> None:
    document = lite_api.client.get("/api/v1/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, endpoint in methods.items():
            assert endpoint["summary"], (method, path)
            assert endpoint["description"], (method, path)
            if path.startswith("/api/"):
                assert {"400", "401", "403", "429", "503"} <= endpoint["responses"].keys(), (method, path)
    assert {"token", "page"} <= document["components"]["securitySchemes"].keys()
    assert len(json.dumps(document)) < 500_000
