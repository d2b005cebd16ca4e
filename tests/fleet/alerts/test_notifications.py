"""Notifications: sent once to each receiver, tried again, and never with an address in the log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from helpers.brokers import wait_for
from helpers.fleet.commands import START, add_devices, change_device
from helpers.fleet.receiver import HttpReceiver
from helpers.support import free_port
from maskedge.errors import UsageError
from maskedge_fleet.alerts.engine import AlertEngine
from maskedge_fleet.alerts.notifications import Service, open_services, remove_unknown
from maskedge_fleet.alerts.rules import FleetRule
from maskedge_fleet.alerts.runner import run_alerts
from maskedge_fleet.database.tables import Alert, Notification
from maskedge_fleet.settings import AlertsConfig, NotifyConfig, ServerConfig, Settings

RULE = FleetRule("name", "duplicate_device", seconds=600)


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    server = HttpReceiver()
    yield server
    server.close()


def open_alerts(engine: Engine, *services: Service, count: int = 1, ended: bool = True) -> AlertEngine:
    names = [f"device {number}" for number in range(count)]
    add_devices(engine, *names)
    for name in names:
        change_device(engine, name, duplicate_seen=START)
    alerts = AlertEngine(engine, [RULE], [service.id for service in services], ended=ended, now=START)
    alerts.run_round(START)
    return alerts


def waiting(engine: Engine) -> int:
    with Session(engine) as session:
        return len(session.scalars(select(Notification.alert_id)).all())


def test_an_alert_is_notified_once_at_its_beginning_and_end(engine: Engine, receiver: HttpReceiver) -> None:
    service = Service(receiver.url, 1)
    alerts = open_alerts(engine, service)
    assert [service.send_due(engine, "https://fleet.example.org", START) for _ in range(2)] == [1, 0]
    (message,) = receiver.messages
    assert message["title"] == "name (device 0)"
    assert message["message"].splitlines() == [
        "name: two devices have the name device 0: give each its own [device] name and topic",
        "https://fleet.example.org",
    ]
    assert message["type"] == "warning"
    alerts.run_round(START + timedelta(seconds=700))
    assert service.send_due(engine, "", START + timedelta(seconds=700)) == 1
    assert receiver.messages[1]["title"] == "Ended: name (device 0)"
    assert receiver.messages[1]["message"] == "Ended after 12 min: name, device 0"
    assert receiver.messages[1]["type"] == "success"
    assert waiting(engine) == 0
    with Session(engine) as session:
        assert session.scalars(select(Alert.notified)).one() is not None


def test_many_alerts_are_few_messages(engine: Engine, receiver: HttpReceiver) -> None:
    service = Service(receiver.url, 1)
    open_alerts(engine, service, count=45)
    assert [service.send_due(engine, "", START) for _ in range(4)] == [20, 20, 5, 0]
    assert [message["title"] for message in receiver.messages] == [f"{count} alerts of the fleet" for count in (20, 20, 5)]


def test_a_failing_receiver_is_tried_again_and_blocks_no_other(
    engine: Engine, receiver: HttpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    other = HttpReceiver()
    other.status = 500
    good, bad = Service(receiver.url, 1), Service(other.url, 2)
    with caplog.at_level(logging.DEBUG):
        open_alerts(engine, good, bad)
        assert bad.send_due(engine, "", START) == 0
        assert good.send_due(engine, "", START) == 1
        assert bad.send_due(engine, "", START + timedelta(seconds=9)) == 0
        assert other.attempts == 1, "it waits before it tries again"
        for seconds in (10, 30, 70):
            bad.send_due(engine, "", START + timedelta(seconds=seconds))
        assert other.attempts == 4
        # As after a restart of the server.
        other.status, bad = 200, Service(other.url, 2)
        assert bad.send_due(engine, "", START + timedelta(seconds=150)) == 1
    assert len(receiver.messages) == len(other.messages) == 1
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("maskedge")]
    assert lines == [
        "the notification by json 2 was not accepted: check its address in [notify] and the network. It is tried again."
    ]
    assert not any("geheim7" in record.getMessage() for record in caplog.records if record.name != "urllib3.connectionpool")
    other.close()


def test_a_receiver_that_is_away_for_a_day_is_given_up(engine: Engine) -> None:
    service = Service(f"json://127.0.0.1:{free_port()}", 1)
    open_alerts(engine, service)
    moment = START
    attempts = 0
    while waiting(engine):
        service.send_due(engine, "", moment)
        moment += timedelta(hours=1)
        attempts += 1
    assert 24 < attempts < 28


def test_a_removed_receiver_and_a_deleted_alert_leave_no_message(engine: Engine, receiver: HttpReceiver) -> None:
    service = Service(receiver.url, 1)
    open_alerts(engine, service, Service("json://127.0.0.1:1/other", 2), count=2)
    assert waiting(engine) == 4
    remove_unknown(engine, [service])
    assert waiting(engine) == 2
    with Session(engine) as session, session.begin():
        session.delete(session.scalars(select(Alert)).first())
    assert waiting(engine) == 1


def test_without_ended_only_beginnings_are_notified(engine: Engine, receiver: HttpReceiver) -> None:
    service = Service(receiver.url, 1)
    alerts = open_alerts(engine, service, ended=False)
    service.send_due(engine, "", START)
    alerts.run_round(START + timedelta(seconds=700))
    assert waiting(engine) == 0


def test_addresses_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "urls"
    file.write_text("# the office\n\njson://127.0.0.1:1/a\n")
    assert len(open_services(NotifyConfig(urls=("json://127.0.0.1:1/b",), urls_file=file))) == 2
    with pytest.raises(UsageError, match=r"the address 1 of \[notify\] \(nothing://\.\.\.\)") as caught:
        open_services(NotifyConfig(urls=("nothing://geheim7",)))
    assert "geheim7" not in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read"):
        open_services(NotifyConfig(urls_file=tmp_path / "missing"))
    with pytest.raises(UsageError, match="21 addresses, and 20 are allowed"):
        open_services(NotifyConfig(urls=tuple(f"json://host/{number}" for number in range(21))))


def test_the_server_part_evaluates_and_notifies_until_it_is_stopped(engine: Engine, receiver: HttpReceiver) -> None:
    add_devices(engine, "door")
    stop = threading.Event()
    settings = Settings(
        server=ServerConfig(public_url="https://fleet.example.org"),
        alerts=AlertsConfig(every_s=0.1),
        notifications=NotifyConfig(urls=(receiver.url,)),
        rules=(FleetRule("silent", "device_silent", seconds=1),),
    )
    thread = threading.Thread(target=run_alerts, args=(engine, settings, stop))
    thread.start()
    try:
        wait_for(lambda: receiver.messages, "the notification")
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
    assert receiver.messages[0]["title"] == "silent (door)"
