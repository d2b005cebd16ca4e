"""`edge-fleet serve`: one command runs everything, with a real broker and a device."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from paho.mqtt.client import MQTTv5
from paho.mqtt.publish import single

from helpers.brokers import Mosquitto, wait_for
from helpers.postgres import PostgreSQL
from helpers.support import command_line, environment


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker."""
    started = Mosquitto(tmp_path / "broker")
    yield started
    started.stop()


@contextmanager
def _serve(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """Run the command, and yield its process, its address and the token that it printed."""
    command = command_line(["edge-fleet", "serve", "--serve", "127.0.0.1:0", *arguments])
    log = folder / "serve.log"
    with log.open("a") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment(), cwd=folder)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("page and API: http"), log.read_text()
        url = line.removeprefix("page and API: ").strip().rstrip("/")
        first = process.stdout.readline() if not (folder / "token").exists() else (folder / "token").read_text()
        (folder / "token").write_text(first)
        yield process, url, first.rpartition(" ")[2].strip()
    finally:
        process.kill()
        process.wait()


def _client(url: str, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=url, headers=headers, transport=httpx.HTTPTransport(retries=3), trust_env=False, timeout=20)


def _publish(broker: Mosquitto, topic: str, content: Any, *, retain: bool = False) -> None:
    payload = content if isinstance(content, str) else json.dumps(content)
    single(topic, payload, qos=1, retain=retain, hostname="127.0.0.1", port=broker.port, protocol=MQTTv5)


def test_one_command_serves_a_device(broker: Mosquitto, tmp_path: Path) -> None:
    arguments = "--broker", f"mqtt://127.0.0.1:{broker.port}"
    with _serve(tmp_path, *arguments) as (process, url, token):
        assert re.fullmatch(r"mef_[\w-]{43}", token)
        with _client(url, token) as client:
            assert client.get("/readyz").text == "ok\n"
            _publish(broker, "maskedge/door/availability", "online", retain=True)
            event = {"id": "1a2b3c4d-1", "event": "source_open", "time": "2026-03-14T12:00:00Z", "source": "demo"}
            _publish(broker, "maskedge/door/events", event)

            def arrived() -> bool:
                events = client.get("/api/v1/events").json()["items"]
                devices = client.get("/api/v1/devices").json()["items"]
                return [row["id"] for row in events] == ["1a2b3c4d-1"] and [row["online"] for row in devices] == [True]

            wait_for(arrived, "the event and the state of the device")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stdout is not None
        assert not process.stdout.read()
    # The second start uses the same database and token.
    with _serve(tmp_path, *arguments) as (process, url, _), _client(url, token) as client:
        assert [row["name"] for row in client.get("/api/v1/devices").json()["items"]] == ["door"]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stdout is not None
        assert "token" not in process.stdout.read()
    assert token not in (tmp_path / "serve.log").read_text()
    assert "Traceback" not in (tmp_path / "serve.log").read_text()


def test_postgresql_is_changed_only_if_asked_for(broker: Mosquitto, postgresql: PostgreSQL, tmp_path: Path) -> None:
    arguments = ["--broker", f"mqtt://127.0.0.1:{broker.port}", "--database", postgresql.create_database()]
    command = command_line(["edge-fleet", "serve", "--serve", "127.0.0.1:0", *arguments])
    refused = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), cwd=tmp_path, timeout=60)
    assert (refused.returncode, refused.stdout, "edge-fleet migrate" in refused.stderr) == (5, "", True)
    with _serve(tmp_path, *arguments, "--migrate") as (process, url, token), _client(url, token) as client:
        assert client.get("/api/v1/summary").json()["devices"]["total"] == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    # What `migrate` prints about TimescaleDB, `serve` logs.
    migrated = subprocess.run(
        command_line(["edge-fleet", "migrate", *arguments[2:]]), capture_output=True, text=True, check=True, env=environment()
    )
    line = migrated.stdout.splitlines()[-1]
    assert line == "with TimescaleDB" or line.startswith("without TimescaleDB: PostgreSQL does not have")
    assert (tmp_path / "serve.log").read_text().count(f"the tables are ready {line}.") == 1


def test_a_part_that_fails_ends_the_process_with_its_sentence(broker: Mosquitto, tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text("[notify]\nurls = ['nonsense://']\n")
    arguments = ["--config", "fleet.toml", "--broker", f"mqtt://127.0.0.1:{broker.port}"]
    command = command_line(["edge-fleet", "serve", "--serve", "127.0.0.1:0", *arguments])
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), cwd=tmp_path, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.count("error:") == 1
    assert "Traceback" not in ended.stderr


def test_a_broker_is_required(tmp_path: Path) -> None:
    command = command_line(["edge-fleet", "serve", "--database", f"sqlite:///{tmp_path}/fleet.sqlite3"])
    refused = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), timeout=60)
    assert (refused.returncode, "--broker mqtt://HOST:PORT" in refused.stderr) == (2, True)
    assert not (tmp_path / "fleet.sqlite3").exists()


@pytest.mark.parametrize(
    ("address", "code", "sentence"),
    [
        ("a..b:80", 5, "the page cannot be served on a..b:80 (the host name is not valid)"),
        ("::1:80", 2, "write an IPv6 address in brackets"),
    ],
)
def test_an_address_that_cannot_be_served_on_is_named(
    broker: Mosquitto, tmp_path: Path, address: str, code: int, sentence: str
) -> None:
    command = command_line(["edge-fleet", "serve", "--serve", address, "--broker", f"mqtt://127.0.0.1:{broker.port}"])
    refused = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), cwd=tmp_path, timeout=60)
    assert (refused.returncode, sentence in refused.stderr, "Traceback" in refused.stderr) == (code, True, False), refused.stderr
