from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, func, select

from helpers.brokers import Mosquitto, wait_for
from helpers.fleet.device_client import FleetDevice, Ingest, event, fleet_broker, statistics
from helpers.postgres import PostgreSQL
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import migrate
from maskedge_fleet.database.tables import Camera, Device, Event, MinuteCounts, Reject, Statistics

START = datetime.now(timezone.utc).replace(second=0, microsecond=0) - timedelta(days=1)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = fleet_broker(tmp_path / "broker")
    yield broker
    broker.stop()


@contextmanager
def devices(broker: Mosquitto, count: int) -> Iterator[list[FleetDevice]]:
    made = [FleetDevice(broker.port, f"door{number}", spool=f"{number:08x}") for number in range(count)]
    yield made
    for device in made:
        device.close()


def add_load(device: FleetDevice, first: int, last: int) -> None:
    """Add events and statistics to the spool of a device: of each three messages, one is of statistics."""
    for number in range(first, last):
        moment = START + timedelta(seconds=10 * number)
        if number % 3:
            device.add("events", event(number, time_of_day=moment))
        else:
            device.add("statistics", statistics(moment, with_mask=1))


def assert_nothing_lost_or_doubled(engine: Engine, made: list[FleetDevice], messages: int) -> None:
    """Compare the database message by message with what devices sent."""
    with engine.connect() as connection:
        found = [row[0] for table in (Event, Statistics) for row in connection.execute(select(table.message_id))]
        assert sorted(found) == sorted(f"{device.spool}-{number}" for device in made for number in range(1, messages + 1))
        numbers = [number for number in range(messages) if number % 3 == 0]
        seconds, people = connection.execute(select(func.sum(MinuteCounts.observed_s), func.sum(MinuteCounts.masked))).one()
        assert (seconds, people) == (10.0 * len(numbers) * len(made), len(numbers) * len(made))
        assert connection.scalar(select(func.count()).select_from(Reject)) == 0


def test_events_and_statistics_are_stored_and_confirmed(engine: Engine, database: str, broker: Mosquitto, tmp_path: Path) -> None:
    with devices(broker, 1) as [device], Ingest(broker.port, database, tmp_path) as ingest:
        for number in range(50):
            device.add("events", event(number))
        device.add("statistics", statistics(datetime.now(timezone.utc), with_mask=2))
        device.publish("availability", "online", retain=True)
        wait_for(lambda: not device.waiting, "the confirmations")
        with engine.connect() as connection:
            assert connection.scalar(select(func.count()).select_from(Event)) == 50
            assert connection.scalar(select(func.count()).select_from(Statistics)) == 1
            assert connection.execute(select(MinuteCounts.observed_s, MinuteCounts.masked)).one() == (10.0, 2)
            wait_for(lambda: connection.rollback() or connection.scalar(select(Device.online)), "the device")
            row = connection.execute(select(Device)).one()
            assert (row.name, row.prefix, row.health) == ("door0", "maskedge/door0", {"temperature_c": 50.0})
            assert abs(row.clock_offset_s) < 5
            assert connection.execute(select(Camera.name, Camera.online)).one() == ("camera", True)
        assert ingest.stop() == 0
        assert ingest.log() == ""


def test_a_connected_device_that_was_removed_comes_back_as_it_is(
    engine: Engine, database: str, broker: Mosquitto, tmp_path: Path
) -> None:
    def found() -> list[tuple[object, ...]]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(select(Device.name, Device.online, Device.version))]

    with devices(broker, 1) as [device], Ingest(broker.port, database, tmp_path) as ingest:
        ingest.wait_until_subscribed(broker)
        device.publish("availability", "online", retain=True)
        device.publish("state", '{"version": "1.2"}', retain=True)
        wait_for(lambda: found() == [(device.name, True, "1.2")], "the device")
        with engine.begin() as connection:
            connection.execute(delete(Device))
        device.add("events", event())
        wait_for(lambda: found() == [(device.name, True, "1.2")], "the state of the device that was removed")
        wait_for(lambda: "Sending UNSUBACK" in broker.log(), "the end of the subscription")


def test_a_device_uses_its_own_topics_only_and_logs_in(tmp_path: Path, database: str, engine: Engine) -> None:
    broker = fleet_broker(tmp_path / "broker", users=["fleet", "door", "other"])
    password = tmp_path / "password"
    password.write_text("fleet\n")
    device = FleetDevice(broker.port, "door", username="door")
    stranger = FleetDevice(broker.port, "door", spool="ffffffff", username="other")
    with Ingest(broker.port, database, tmp_path, "--username", "fleet", "--password-file", str(password)) as ingest:
        device.add("events", event(1))
        stranger.add("events", event(2))
        wait_for(lambda: not device.waiting, "the confirmation")
        time.sleep(0.3)
        with engine.connect() as connection:
            assert connection.scalars(select(Event.message_id)).all() == ["1a2b3c4d-1"]
        assert stranger.waiting
        assert ingest.stop() == 0
    device.close()
    stranger.close()
    broker.stop()


def test_a_refused_login_is_logged_in_one_line(tmp_path: Path, database: str) -> None:
    broker = fleet_broker(tmp_path / "broker", users=["fleet"])
    with Ingest(broker.port, database, tmp_path) as ingest:
        wait_for(lambda: "refuses the connection" in ingest.log(), "the refusal")
        time.sleep(1.5)
        assert ingest.stop() == 0
        assert len(ingest.log().splitlines()) == 1
    broker.stop()


def test_bad_messages_are_rejected_with_the_reason_and_the_rest_arrives(
    engine: Engine, database: str, broker: Mosquitto, tmp_path: Path
) -> None:
    with devices(broker, 1) as [device], Ingest(broker.port, database, tmp_path) as ingest:
        ingest.wait_until_subscribed(broker)
        device.publish("events", "no JSON")
        device.publish("events", b"x" * 4_900_000)
        device.add("events", event(1, note="x" * 300_000))
        device.add("events", event(2, protocol=2))
        device.add("events", event(3, time_of_day=datetime(2035, 1, 1, tzinfo=timezone.utc)))
        device.add("statistics", statistics(datetime(1970, 1, 1, 0, 5, tzinfo=timezone.utc)))
        device.add("events", event(5))
        wait_for(lambda: not device.waiting, "the confirmations")
        with engine.connect() as connection:
            assert connection.scalars(select(Event.message_id)).all() == ["00000000-5"]
            wait_for(
                lambda: connection.rollback() or connection.scalar(select(func.count()).select_from(Reject)) == 6, "the rejects"
            )
            rows = connection.execute(select(Reject.reason, Reject.size, func.length(Reject.payload))).all()
            assert max(length for _, _, length in rows) == 2000
            reasons = " ".join(reason for reason, _, _ in rows)
            for part in ("not JSON", "4900000 bytes", "protocol", "the clock of the device is wrong", "1970"):
                assert part in reasons


def test_a_payload_of_ten_megabytes_is_rejected_and_the_broker_drops_a_larger_one(
    tmp_path: Path, database: str, engine: Engine
) -> None:
    # A broker without a limit.
    broker = Mosquitto(tmp_path / "broker")
    with devices(broker, 1) as [device], Ingest(broker.port, database, tmp_path) as ingest:
        ingest.wait_until_subscribed(broker)
        device.publish("events", b"x" * 17_000_000)
        device.publish("events", b"x" * 10_000_000)
        device.add("events", event(1))
        wait_for(lambda: not device.waiting, "the confirmation")
        with engine.connect() as connection:
            wait_for(lambda: connection.rollback() or connection.scalar(select(Reject.size)), "the reject")
            assert connection.scalars(select(Reject.size)).all() == [10_000_000]
    broker.stop()


@pytest.mark.slow
def test_a_device_that_was_offline_delivers_its_day(engine: Engine, database: str, broker: Mosquitto, tmp_path: Path) -> None:
    with devices(broker, 1) as [device], Ingest(broker.port, database, tmp_path):
        for number in range(8640):
            device.add("statistics", statistics(START + timedelta(seconds=10 * number), with_mask=1))
        wait_for(lambda: not device.waiting, "the confirmations", 300)
        with engine.connect() as connection:
            assert connection.scalar(select(func.count()).select_from(Statistics)) == 8640
            minutes = connection.execute(select(MinuteCounts).order_by(MinuteCounts.start)).all()
            assert [(row.start, row.observed_s, row.masked) for row in minutes] == [
                (START + timedelta(minutes=number), 60.0, 6) for number in range(1440)
            ]
            newest = START + timedelta(seconds=10 * 8639)
            assert connection.scalar(select(Camera.statistics_time)) == newest


@pytest.mark.slow
def test_two_processes_share_the_messages(engine: Engine, database: str, broker: Mosquitto, tmp_path: Path) -> None:
    with (
        devices(broker, 8) as made,
        Ingest(broker.port, database, tmp_path, name="one") as one,
        Ingest(broker.port, database, tmp_path, name="two") as two,
    ):
        one.wait_until_subscribed(broker)
        two.wait_until_subscribed(broker)
        for device in made:
            add_load(device, 0, 300)
        wait_for(lambda: not any(device.waiting for device in made), "the confirmations", 60)
        assert one.stop() == two.stop() == 0
        assert one.log() == two.log() == ""
        for name in ("one", "two"):
            assert f"Received PUBLISH from {name}" in broker.log(), "a process did nothing"
    assert_nothing_lost_or_doubled(engine, made, 300)


@pytest.mark.slow
def test_a_killed_ingest_loses_and_doubles_nothing(engine: Engine, database: str, broker: Mosquitto, tmp_path: Path) -> None:
    ingest = Ingest(broker.port, database, tmp_path)
    with devices(broker, 4) as made:
        for turn in range(5):
            with ingest:
                for device in made:
                    add_load(device, 200 * turn, 200 * turn + 200)
                wait_for(lambda: sum(len(device.waiting) for device in made) < 600, "a part of the load", 60)
                ingest.stop(signal.SIGKILL)
        with ingest:
            wait_for(lambda: not any(device.waiting for device in made), "the confirmations", 60)
    assert_nothing_lost_or_doubled(engine, made, 1000)


@pytest.mark.slow
def test_a_killed_broker_loses_and_doubles_nothing(engine: Engine, database: str, broker: Mosquitto, tmp_path: Path) -> None:
    with devices(broker, 4) as made, Ingest(broker.port, database, tmp_path) as ingest:
        for turn in range(5):
            for device in made:
                add_load(device, 200 * turn, 200 * turn + 200)
            wait_for(lambda: sum(len(device.waiting) for device in made) < 600, "a part of the load", 60)
            broker.stop(signal.SIGKILL)
            time.sleep(0.2)
            broker.start()
        wait_for(lambda: not any(device.waiting for device in made), "the confirmations", 60)
        wait_for(lambda: "is back" in ingest.log(), "the log line")
        assert ingest.stop() == 0
        assert "Traceback" not in ingest.log()
    assert_nothing_lost_or_doubled(engine, made, 1000)


@pytest.mark.slow
def test_a_killed_database_loses_and_doubles_nothing(broker: Mosquitto, tmp_path: Path) -> None:
    server = PostgreSQL()
    url = server.create_database()
    engine = open_engine(url)
    migrate(engine)
    with devices(broker, 4) as made, Ingest(broker.port, url, tmp_path) as ingest:
        for turn in range(5):
            for device in made:
                add_load(device, 200 * turn, 200 * turn + 150)
            wait_for(lambda: sum(len(device.waiting) for device in made) < 450, "a part of the load", 60)
            server.kill()
            # A fast machine may have stored all of it by now: some comes while the database is away.
            for device in made:
                add_load(device, 200 * turn + 150, 200 * turn + 200)
            time.sleep(0.5)
            server.start()
        wait_for(lambda: not any(device.waiting for device in made), "the confirmations", 60)
        assert ingest.stop() == 0
        lines = ingest.log().splitlines()
        assert lines
        assert all("messages wait at the broker" in line or "the database is back" in line for line in lines), lines
    assert_nothing_lost_or_doubled(engine, made, 1000)
    engine.dispose()
    server.remove()


def test_the_ingest_waits_for_a_database_that_is_away_at_the_start(broker: Mosquitto, tmp_path: Path) -> None:
    server = PostgreSQL()
    url = server.create_database()
    engine = open_engine(url)
    migrate(engine)
    server.stop()
    with devices(broker, 1) as [device], Ingest(broker.port, url, tmp_path) as ingest:
        device.add("events", event(1))
        wait_for(lambda: "cannot be used" in ingest.log(), "the log line")
        server.start()
        wait_for(lambda: not device.waiting, "the confirmation")
        assert ingest.stop() == 0
        assert ingest.log().splitlines()[-1] == "the database is back."
    engine.dispose()
    server.remove()
