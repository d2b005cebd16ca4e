"""Every expression of the dashboards and rules answers with data: Prometheus scrapes edge-run and edge-fleet, all real."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from helpers.brokers import wait_for
from helpers.fleet.device_client import FleetDevice, Ingest, event, fleet_broker, statistics
from helpers.monitoring.dashboards import (
    DEPLOY,
    PROMETHEUS,
    RULES,
    Query,
    rules,
    selectors,
    targets,
    to_promql,
    without_comparisons,
)
from helpers.monitoring.prometheus import Prometheus
from helpers.support import command_line, environment, free_port
from maskedge.sinks.web.metrics import CONTENT_TYPE, Exposition, Facts
from maskedge_fleet.access.tokens import create_token
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import migrate

pytestmark = pytest.mark.slow
TOKEN = "scrape-me"  # noqa: S105  (of this test)
CONFIGURATION = """
[source]
uri = "demo"
live = true
loop = true
[web]
serve = "127.0.0.1:{port}"
token = "{token}"
[zones]
roi = ["till=0,0 1,0 1,1 0,1"]
[[line]]
name = "door"
points = "0.5,1 0.5,0"
[[alerts]]
name = "no mask"
when = "person_without_mask"
seconds = 1
[events]
file = "{folder}/events.jsonl"
"""


class _Pi(BaseHTTPRequestHandler):
    """The metrics of a device with sensors, which the machine of the test may lack."""

    def do_GET(self) -> None:
        health = {"temperature_c": 51.0, "throttled": False, "frequency_mhz": 1500.0, "memory_mb": 100.0, "load": 0.4}
        facts = Facts({"health": {**health, "rate_limit_fps": 10.0}})
        content, _ = Exposition(lambda: {"": facts}).write()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


@contextmanager
def running(*arguments: str | Path, folder: Path) -> Iterator[None]:
    """Run a command in the background."""
    with (folder / f"{arguments[0]}.log").open("wb") as log:
        process = subprocess.Popen(command_line(arguments), stdout=log, stderr=log, env=environment(), cwd=folder)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def fleet(folder: Path, port: int) -> Iterator[Path]:
    """Run the server of a fleet with one device on a port. The value is the file with a token."""
    url = f"sqlite:///{folder / 'fleet.sqlite3'}"
    engine = open_engine(url)
    migrate(engine)
    with Session(engine) as session:
        token = create_token(session, "prometheus", "viewer")
        session.commit()
    engine.dispose()
    (folder / "fleet-token").write_text(token)
    broker = fleet_broker(folder / "broker")
    with (
        Ingest(broker.port, url, folder),
        running("edge-fleet", "web", "--database", url, "--serve", f"127.0.0.1:{port}", folder=folder),
    ):
        device = FleetDevice(broker.port, "door")
        device.add("events", event(1))
        device.add("statistics", statistics(datetime.now(timezone.utc), with_mask=1))
        yield folder / "fleet-token"
        device.close()
    broker.stop()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    port, fleet_port = free_port(), free_port()
    (folder / "edge.toml").write_text(CONFIGURATION.format(port=port, token=TOKEN, folder=folder))
    (folder / "token").write_text(TOKEN)
    pi = ThreadingHTTPServer(("127.0.0.1", 0), _Pi)
    threading.Thread(target=pi.serve_forever, daemon=True).start()
    jobs = {"maskedge": [f"127.0.0.1:{port}", f"127.0.0.1:{pi.server_port}"], "maskedge-fleet": [f"127.0.0.1:{fleet_port}"]}
    with running("edge-run", "--config", folder / "edge.toml", folder=folder), fleet(folder, fleet_port) as token:
        credentials = {"maskedge": folder / "token", "maskedge-fleet": token}
        server = Prometheus(folder, DEPLOY / "prometheus" / "prometheus.yml", RULES, jobs, credentials)
        wait_for(lambda: server.query('maskedge_people{label="with_mask"} > 0'), "people", 60)
        wait_for(lambda: server.query("maskedge_fleet_ingest_lag_seconds"), "the server of the fleet")
        wait_for(lambda: server.query("maskedge:people_share:ratio5m"), "the rules")
        wait_for(lambda: all(rule["health"] == "ok" for rule in server.rules()), "every rule to be evaluated")
        yield server
        server.stop()
    pi.shutdown()


@pytest.mark.parametrize("query", list(targets(PROMETHEUS)), ids=lambda query: query.name)
def test_a_panel_answers_with_data(prometheus: Prometheus, query: Query) -> None:
    expression = to_promql(query.text)
    wait_for(lambda: prometheus.query(expression), expression)
    for selector in selectors(expression):
        assert prometheus.query(selector), selector


@pytest.mark.parametrize("query", list(rules()), ids=lambda query: query.name)
def test_a_rule_has_data(prometheus: Prometheus, query: Query) -> None:
    expression = without_comparisons(query.text)
    wait_for(lambda: prometheus.query(expression), expression)
    for selector in selectors(query.text):
        assert prometheus.query(selector), selector


def test_every_rule_is_evaluated_without_an_error(prometheus: Prometheus) -> None:
    loaded = prometheus.rules()
    assert len(loaded) == len(list(rules()))
    assert {rule["health"] for rule in loaded} == {"ok"}
    assert [rule["name"] for rule in loaded if rule.get("state") == "firing"] == []
