"""Simulated devices against a real Mosquitto and a real `edge-fleet ingest`."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from helpers.brokers import Listener, Mosquitto, wait_for
from helpers.fleet.device_client import Ingest, fleet_broker
from helpers.support import command_line, free_port
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import migrate
from maskedge_fleet.database.tables import Camera, Device, Event, MinuteCounts, Reject, Series, Site, Statistics
from maskedge_fleet.simulate.plan import DEVICES_A_PROCESS, Plan
from maskedge_fleet.simulate.scene import LABELS, Scene

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@contextmanager
def running(*arguments: str | Path, log: Path) -> Iterator[None]:
    """Run a command in the background."""
    with log.open("wb") as file:
        process = subprocess.Popen(command_line(arguments), stdout=file, stderr=file)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = fleet_broker(tmp_path / "broker")
    yield broker
    broker.stop()


@pytest.mark.slow
def test_every_message_of_the_record_is_in_the_database_once(broker: Mosquitto, command: Command, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.sqlite3'}"
    engine = open_engine(url)
    migrate(engine)
    record = tmp_path / "record.json"
    with Ingest(broker.port, url, tmp_path):
        done = command(
            *("edge-fleet", "simulate", "6", "--broker", f"mqtt://127.0.0.1:{broker.port}", "--seconds", "8"),
            *("--events-per-s", "30", "--interval", "1", "--processes", "2", "--sites", "3", "--record", record),
            *("--database", url),
        )
        assert done.returncode == 0, done.stderr
        content = json.loads(record.read_text())
        expected = {f"{one['spool']}-{number}" for one in content["devices"].values() for number in range(1, one["last"] + 1)}

        def stored() -> list[str]:
            with engine.connect() as connection:
                return [*connection.scalars(select(Event.message_id)), *connection.scalars(select(Statistics.message_id))]

        wait_for(lambda: len(stored()) >= len(expected), "the messages")
    assert sorted(stored()) == sorted(expected)
    assert len(expected) > 6 * 8
    assert content["refused"] == 0
    assert list(content["devices"]) == [f"site{index % 3 + 1:02}-{index:05}" for index in range(6)]
    with engine.connect() as connection:
        kinds = dict(connection.execute(select(Event.kind, func.count()).group_by(Event.kind)).all())
        assert kinds == content["events"]
        sums = select(func.sum(MinuteCounts.masked), func.sum(MinuteCounts.unmasked), func.sum(MinuteCounts.incorrect))
        whole = sums.join(Series, Series.id == MinuteCounts.series_id).where(Series.zone == "", Series.line == "")
        assert connection.execute(whole).one() == tuple(content["people"].get(label, 0) for label in LABELS)
        assert connection.scalar(select(func.count()).select_from(Camera)) == 6
        assert connection.scalar(select(func.count()).select_from(Reject)) == 0
        assert connection.scalar(select(func.count()).select_from(Site)) == 3
        assert connection.scalar(select(func.count()).select_from(Device).where(Device.site_id.is_(None))) == 0
    engine.dispose()


@pytest.mark.slow
def test_a_simulation_ends_when_it_is_asked_to(broker: Mosquitto, tmp_path: Path) -> None:
    url = f"mqtt://127.0.0.1:{broker.port}"
    arguments = ("edge-fleet", "simulate", "3", "--broker", url, "--folder", tmp_path / "spools", "--drain-s", "0")
    process = subprocess.Popen(command_line(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    listener = Listener(broker.port, "+/+/availability")
    wait_for(lambda: len(listener.messages) == 3, "the devices")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "not confirmed" in out
    wait_for(lambda: len(listener.messages) == 6, "the end of the devices")
    assert {payload for _, payload, _ in listener.messages[3:]} == {"offline"}
    listener.close()


@pytest.mark.slow
def test_simulated_devices_answer_signed_commands(broker: Mosquitto, command: Command, tmp_path: Path) -> None:
    key, port = tmp_path / "key.pem", free_port()
    assert command("edge-fleet", "key", "create", key).returncode == 0
    (tmp_path / "fleet.toml").write_text(
        f'[server]\nserve = "127.0.0.1:{port}"\ncommand_key = "{key}"\n[broker]\nurl = "mqtt://127.0.0.1:{broker.port}"\n'
        f'[database]\nurl = "sqlite:///{tmp_path}/fleet.sqlite3"\n'
    )
    with (
        running("edge-fleet", "serve", "--config", tmp_path / "fleet.toml", log=tmp_path / "serve.log"),
        running(
            *("edge-fleet", "simulate", "2", "--broker", f"mqtt://127.0.0.1:{broker.port}", "--command-key", f"{key}.pub"),
            log=tmp_path / "simulate.log",
        ),
    ):

        def send(*arguments: str) -> subprocess.CompletedProcess[str]:
            names = ("site01-00000", "site02-00001")
            return command("edge-fleet", "command", *names, *arguments, "--config", tmp_path / "fleet.toml", "--wait", "20")

        # A command that is sent before the devices are there waits until it expires.
        wait_for(lambda: (tmp_path / "fleet.sqlite3").exists(), "the database", 60)
        engine = open_engine(f"sqlite:///{tmp_path}/fleet.sqlite3")

        def online() -> int:
            with suppress(SQLAlchemyError), engine.connect() as connection:
                return connection.scalar(select(func.count()).select_from(Device).where(Device.online, Device.commands != [])) or 0
            return 0  # no table yet

        wait_for(lambda: online() == 2, "the devices", 60)
        engine.dispose()
        for name in ("reload", "snapshot"):
            done = send(name)
            assert done.returncode == 0, done.stdout + done.stderr
        assert send("restart").returncode != 0


def test_a_wrong_address_is_one_sentence(command: Command) -> None:
    done = command("edge-fleet", "simulate", "1", "--broker", "http://x", "--seconds", "1")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: a broker is given as mqtt://HOST:PORT or mqtts://HOST:PORT ([mqtt] url)."


def test_a_broker_that_is_not_there_ends_the_simulation_with_its_reason(command: Command) -> None:
    broker = f"127.0.0.1:{free_port()}"
    done = command("edge-fleet", "simulate", "1", "--broker", f"mqtt://{broker}", "--seconds", "2", "--drain-s", "0")
    assert done.returncode == 5
    assert "not confirmed" in done.stdout
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: no message was confirmed (check --broker): the broker {broker} cannot be reached")
    assert "Traceback" not in done.stderr


def test_devices_are_divided_among_processes_and_sites(tmp_path: Path) -> None:
    plan = Plan(1000, "mqtt://x", tmp_path, sites=7)
    assert max(len(part) for part in plan.parts) <= DEVICES_A_PROCESS
    assert sorted(index for part in plan.parts for index in part) == list(range(1000))
    assert len({plan.name_of(index) for index in range(1000)}) == 1000
    assert len({plan.site_of(index) for index in range(1000)}) == 7


def test_people_appear_once_and_leave_once() -> None:
    scene = Scene("door", 2.0, 0.7, "1")
    kinds: Counter[str] = Counter()
    people: Counter[str] = Counter()
    for second in range(2, 20_000, 2):
        moment = scene.step(1_800_000_000.0 + second)
        kinds.update(event.kind for event in moment.events)
        people.update(moment.people.get("", {}))
    assert kinds["face_appeared"] == sum(people.values()) == sum(scene.totals.values())
    assert 0 <= kinds["face_appeared"] - kinds["face_left"] < 60
    assert 0 <= kinds["alert"] - kinds["alert_ended"] <= 1
    assert 0 <= kinds["source_lost"] - kinds["source_back"] <= 1
    assert sum(kinds.values()) / 20_000 == pytest.approx(2.0, rel=0.15)
    assert people[LABELS[0]] > people[LABELS[1]] > people[LABELS[2]] > 0
