"""Every SQL query of the dashboards and alert rules answers with rows, in a PostgreSQL that a short simulation has filled."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timezone

import psycopg
import pytest
from paho.mqtt.publish import single
from sqlalchemy import make_url

from helpers.brokers import wait_for
from helpers.fleet.device_client import Ingest, fleet_broker
from helpers.monitoring.dashboards import DEPLOY, POSTGRESQL, Query, alerting, targets, to_sql, utc_now
from helpers.postgres import PostgreSQL
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import migrate
from maskedge_fleet.upkeep.rollup import roll_up

pytestmark = pytest.mark.slow
Command = Callable[..., "subprocess.CompletedProcess[str]"]
SITES = ["site 01", "site 02"]
# What a few seconds of simulation do not bring: a roll-out, two devices of one name, and health that is no number.
MORE = (
    "INSERT INTO model (sha256, name, kind, release, size, signature, card, content, created, created_by) "
    "VALUES ('00', 'edgenet.onnx', 'classifier', 2, 1, '{}', '{}', 'x', now(), '')",
    "INSERT INTO rollout (model_id, state, stages, stage, scope, limits, reason, created, created_by, changed) "
    "SELECT id, 'running', '[]', 0, '{}', '{}', '', now(), '', now() FROM model",
    "INSERT INTO rollout_device (rollout_id, device_id, stage, state, before, baseline, sentence, changed) "
    "SELECT rollout.id, device.id, 0, 'active', '', '{}', '', now() FROM rollout, device",
    "UPDATE device SET duplicate_seen = now() WHERE id = (SELECT min(id) FROM device)",
    """UPDATE device SET health = '{"temperature_c": "warm"}' WHERE id = (SELECT max(id) FROM device)""",
)


@pytest.fixture(scope="module")
def connection(
    postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory, command: Command
) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    folder = tmp_path_factory.mktemp("sql")
    url = postgresql.create_database()
    engine = open_engine(url)
    migrate(engine)
    broker = fleet_broker(folder / "broker")
    parts = make_url(url)
    address = f"host={parts.query['host']} user={parts.username} dbname={parts.database}"
    with Ingest(broker.port, url, folder), psycopg.connect(address, autocommit=True) as connection:
        done = command(
            *("edge-fleet", "simulate", "8", "--broker", f"mqtt://127.0.0.1:{broker.port}", "--seconds", "12", "--sites", "2"),
            *("--events-per-s", "40", "--interval", "1", "--database", url, "--drain-s", "5"),
        )
        assert done.returncode == 0, done.stderr
        single("maskedge/door/events", "no JSON", qos=1, port=broker.port)
        wait_for(lambda: connection.execute("SELECT count(*) FROM reject").fetchone() != (0,), "the reject")
        wait_for(lambda: connection.execute("SELECT count(*) FROM alert").fetchone() != (0,), "an alert")
        roll_up(engine, datetime(2020, 1, 1, tzinfo=timezone.utc))  # the ingest does so every few seconds
        wait_for(lambda: connection.execute("SELECT count(*) FROM day_counts").fetchone() != (0,), "the sums")
        for statement in MORE:
            connection.execute(statement.encode())
        # The queries run as the role of docs/grafana.md, who may read only what the dashboards need.
        connection.execute(b"CREATE ROLE grafana LOGIN")
        connection.execute((DEPLOY / "grafana" / "grants.sql").read_bytes())
        connection.execute("SET ROLE grafana")
        yield connection
    engine.dispose()
    broker.stop()


@pytest.mark.parametrize("query", [*targets(POSTGRESQL), *alerting()], ids=lambda query: query.name)
def test_a_query_answers_with_rows(connection: psycopg.Connection[tuple[object, ...]], query: Query) -> None:
    found = connection.execute(to_sql(query.text, utc_now(), SITES).encode())
    assert found.description is not None
    names = [column.name for column in found.description]
    assert len(set(names)) == len(names)
    rows = found.fetchall()
    assert rows
    assert any(value is not None for value in rows[0])


def test_a_lost_camera_of_a_device_that_is_off_is_no_alert(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    lost = next(query.text for query in alerting() if query.name == "Cameras are lost")
    with connection.transaction(force_rollback=True):
        connection.execute("RESET ROLE")
        connection.execute("UPDATE camera SET state = 'lost', since = now() - interval '1 hour'")
        for online, found in (("false", (0,)), ("true", connection.execute("SELECT count(*) FROM camera").fetchone())):
            connection.execute(f"UPDATE device SET online = {online}".encode())  # noqa: S608  (constants)
            assert connection.execute(lost.encode()).fetchone() == found


@pytest.mark.parametrize("column", ["token.hash", "command.token", "model.content"])
def test_grafana_may_not_read_secrets(connection: psycopg.Connection[tuple[object, ...]], column: str) -> None:
    table, _, name = column.partition(".")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(f"SELECT {name} FROM {table}".encode())  # noqa: S608  (constants)
