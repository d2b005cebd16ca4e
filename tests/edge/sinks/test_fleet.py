"""The fleet mode of the MQTT output, against a real Mosquitto."""

from __future__ import annotations

import json
import logging
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.brokers import Listener, Mosquitto, wait_for
from helpers.fleet.small_server import Fleet
from maskedge import OutputError, UsageError
from maskedge.events import FACE_APPEARED, LINE_CROSSED, Event
from maskedge.results import FrameResult
from maskedge.sinks.mqtt.delivery import FleetDelivery
from maskedge.sinks.mqtt.fleet import FleetConfig, FleetMode, read_confirmation
from maskedge.sinks.mqtt.sink import MqttConfig, MqttSink
from maskedge.sinks.mqtt.spool import NAME, Spool
from maskedge.types import FaceLabel, Frame

SNAPSHOT: dict[str, Any] = {
    "version": "1",
    "camera": "camera",
    "device": "door",
    "source": {"name": "0", "state": "open"},
    "model": {"name": "edgenet.onnx", "sha256": "0" * 64, "release": 3, "labels": ["with_mask"]},
    "detector_model": {"name": "haar.xml", "sha256": "1" * 64, "release": None},
    "alerts": [],
    "counters": {"processed": 12},
    "health": {"temperature_c": 51.2},
}


def event(number: int) -> Event:
    return Event(FACE_APPEARED, 1_769_860_800 + number, "0", {"track": number})


def open_sink(folder: Path, port: int, **options: Any) -> MqttSink:
    config = MqttConfig(**({"url": f"mqtt://127.0.0.1:{port}", "topic": "maskedge/door", "spool": folder / "spool"} | options))
    return MqttSink(config, source="0", snapshot=lambda: SNAPSHOT, fleet=FleetMode("ab" * 8, ("reload",)))


def frame(seconds: float, labels: list[str], **more: Any) -> FrameResult:
    image = np.zeros((4, 4, 3), np.uint8)
    taken = Frame(image, int(seconds), 1_769_860_800 + seconds, seconds, "0", seconds)
    return FrameResult(taken, [FaceLabel(label, 1.0, label, 1.0) for label in labels], {}, **more)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path / "broker")
    yield broker
    broker.stop()


@pytest.fixture
def open_fleet(broker: Mosquitto) -> Iterator[Callable[..., Fleet]]:
    opened: list[Fleet] = []

    def open_one(**options: Any) -> Fleet:
        opened.append(Fleet(broker.port, **options))
        return opened[-1]

    yield open_one
    for fleet in opened:
        fleet.close()


def numbers(messages: list[dict[str, Any]]) -> list[int]:
    return [int(message["id"].partition("-")[2]) for message in messages]


def test_a_message_stays_in_the_spool_until_the_fleet_confirms_it(
    tmp_path: Path, broker: Mosquitto, open_fleet: Callable[..., Fleet]
) -> None:
    fleet = open_fleet(confirms=False)
    sink = open_sink(tmp_path, broker.port, interval=3600)
    for number in range(3):
        sink.handle_event(event(number))
    wait_for(lambda: len(fleet.stored) == 4, "the events and the first statistics")
    assert sink.waiting == 4
    assert sink.delivered == 0
    fleet.confirm([[1, 2]])
    wait_for(lambda: sink.waiting == 2, "the confirmed messages to go")
    fleet.confirm([[3, 3], [4, 9]])
    wait_for(lambda: sink.waiting == 0, "the spool")
    assert sink.delivered == 4
    sink.close()
    events = [message for topic, message in fleet.stored.values() if topic == "maskedge/door/events"]
    assert [message["track"] for message in events] == [0, 1, 2]
    assert all(sent > 1_700_000_000 for sent in fleet.sent)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff\xfe",
        b"no json",
        b"[]",
        b"null",
        b'{"spool": "SPOOL"}',
        b'{"spool": "SPOOL", "ranges": 7}',
        b'{"spool": "SPOOL", "ranges": [7, "1", null, {}, [1], [1, 2, 3], ["1", "9"], [1.0, 9.0], [true, true], [9, 1]]}',
        b'{"spool": "SPOOL", "ranges": [[2, 1000000], [-5, 0], [4611686018427387904, 99999999999999999999999999999]]}',
        b'{"spool": "00000000", "ranges": [[1, 1]]}',
        b'{"ranges": [[1, 1]]}',
        b"[" * 40_000,
        b'{"spool": "SPOOL", "ranges": [' + b"[1, 1]," * 20_000 + b"[1, 1]]}",
    ],
)
def test_a_confirmation_that_is_garbage_confirms_nothing(garbage: bytes, tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10_000)
    spool.add([{"a": 1}])
    delivery = FleetDelivery(spool)
    assert [message.number for message in delivery.next_messages()] == [1]
    delivery.confirm_numbers(read_confirmation(garbage.replace(b"SPOOL", spool.identity.encode()), spool.identity))
    delivery.remove_arrived()
    assert len(spool) == 1
    spool.close()


def test_a_number_that_was_not_sent_is_not_removed(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10_000)
    delivery = FleetDelivery(spool)
    spool.add([{"a": 1}])
    delivery.next_messages()
    spool.add([{"a": 2}])
    delivery.confirm_numbers([(1, 10**30)])
    delivery.remove_arrived()
    assert [message.number for message in spool.after(0, 9)] == [2]
    spool.close()


def send_all(delivery: FleetDelivery, packet: int) -> tuple[list[int], int]:
    """Send what is due through a broker that confirms at once."""
    sent: list[int] = []
    while messages := delivery.next_messages():
        for message in messages:
            packet += 1
            delivery.add_sent(packet, message)
            delivery.confirm_packet(packet)
            sent.append(message.number)
    return sent, packet


def test_no_more_than_200_messages_wait_for_the_fleet(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**6)
    spool.add({"a": number} for number in range(500))
    delivery = FleetDelivery(spool)
    sent, packet = send_all(delivery, 0)
    assert sent == list(range(1, 201))
    delivery.confirm_numbers([(1, 50), (60, 60)])
    delivery.remove_arrived()
    sent, _ = send_all(delivery, packet)
    assert sent == list(range(201, 252))
    assert len(spool) == 449
    spool.close()


def test_an_unconfirmed_message_is_sent_again_after_30_seconds_that_double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("maskedge.sinks.mqtt.delivery.time.monotonic", lambda: now)
    spool = Spool(tmp_path, 10**6)
    spool.add({"a": number} for number in range(20))
    delivery = FleetDelivery(spool)
    _, packet = send_all(delivery, 0)
    waits = []
    begin = now
    while len(waits) < 6:
        left = delivery.seconds_left()
        assert left > 0, "it does not run idle"
        now += left
        sent, packet = send_all(delivery, packet)
        assert sent == list(range(1, 21))
        waits.append(round(now - begin))
        begin = now
    assert waits == [30, 60, 120, 240, 300, 300]
    assert delivery.is_stuck
    delivery.confirm_numbers([(1, 10)])
    assert not delivery.is_stuck
    now += 30
    sent, _ = send_all(delivery, packet)
    assert sent == list(range(11, 21))
    spool.close()


def test_a_message_that_the_broker_has_not_confirmed_is_not_sent_again_nor_makes_the_loop_run_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("maskedge.sinks.mqtt.delivery.time.monotonic", lambda: now)
    spool = Spool(tmp_path, 10**6)
    spool.add([{"a": 1}])
    delivery = FleetDelivery(spool)
    delivery.add_sent(1, *delivery.next_messages())
    now += 1000
    assert delivery.seconds_left() > 0
    assert delivery.next_messages() == []
    delivery.resume()
    assert delivery.next_messages() == [], "the client sends it again itself"
    delivery.start_anew()
    delivery.resume()
    assert [message.number for message in delivery.next_messages()] == [1], "a new client does not"
    spool.close()


def test_a_killed_broker_and_a_fleet_that_was_away_lose_nothing(
    tmp_path: Path, broker: Mosquitto, open_fleet: Callable[..., Fleet]
) -> None:
    fleet = open_fleet()
    sink = open_sink(tmp_path, broker.port, interval=3600)
    written = 0
    for _ in range(2):
        for _ in range(150):
            sink.handle_event(event(written))
            written += 1
        broker.stop(signal.SIGKILL)
        sink.handle_event(event(written))
        written += 1
        broker.start()
        wait_for(lambda: sink.problem is None, "the connection")
    wait_for(lambda: sink.waiting == 0, "the spool")
    sink.close()
    tracks = sorted(message["track"] for topic, message in fleet.stored.values() if topic.endswith("/events"))
    assert tracks == list(range(written))


def test_statistics_have_the_counts_of_each_minute(tmp_path: Path, broker: Mosquitto, open_fleet: Callable[..., Fleet]) -> None:
    fleet = open_fleet()
    sink = open_sink(tmp_path, broker.port, interval=3600)
    wait_for(lambda: fleet.stored, "the first statistics")
    sink.write(frame(0, ["with_mask"]))
    sink.write(frame(1, ["with_mask", "without_mask"], zones={"till": {"with_mask": 1}}, people={"": {"with_mask": 1}, "till": {}}))
    crossing = Event(LINE_CROSSED, 1_769_860_802, "0", {"line": "door", "direction": "in", "label": "with_mask"})
    sink.write(frame(2, ["without_mask"], events=[crossing]))
    sink.write(frame(61, ["without_mask"]))
    sink.handle_event(Event("source_lost", 1_769_860_862, "0", {"error": "gone"}))
    sink.write(frame(70, ["without_mask"]))
    sink.close()
    wait_for(lambda: sum(topic.endswith("/statistics") for topic, _ in fleet.stored.values()) == 2, "the last statistics")
    statistics = [message for topic, message in fleet.stored.values() if topic.endswith("/statistics")]
    assert statistics[0]["minutes"] == []
    assert statistics[1]["counters"] == {"processed": 12}
    assert statistics[1]["time"].endswith("Z")
    nothing = {"observed_s": 0.0, "face_s": {}, "people": {}, "zone": "", "line": "", "direction": ""}
    assert statistics[1]["minutes"] == [
        nothing
        | {
            "minute": "2026-01-31T12:00:00Z",
            "observed_s": 2.0,
            "face_s": {"with_mask": 1.0, "without_mask": 2.0},
            "people": {"with_mask": 1},
        },
        nothing | {"minute": "2026-01-31T12:00:00Z", "line": "door", "direction": "in", "people": {"with_mask": 1}},
        nothing | {"minute": "2026-01-31T12:00:00Z", "zone": "till", "face_s": {"with_mask": 1.0}},
        nothing | {"minute": "2026-01-31T12:01:00Z", "observed_s": 10.0, "face_s": {"without_mask": 10.0}},
    ]


def test_statistics_go_on_while_the_broker_is_away(tmp_path: Path, broker: Mosquitto, open_fleet: Callable[..., Fleet]) -> None:
    broker.stop()
    sink = open_sink(tmp_path, broker.port, interval=0.05)
    wait_for(lambda: sink.waiting >= 5, "statistics in the spool")
    broker.start()
    fleet = open_fleet()
    wait_for(lambda: len(fleet.stored) >= 6, "the statistics")
    sink.close()
    arrived = numbers([message for _, message in fleet.stored.values()])
    assert arrived[:6] == [1, 2, 3, 4, 5, 6]


def test_a_day_of_statistics_and_100_000_events_fit_into_the_spool(tmp_path: Path) -> None:
    minutes = [
        {"minute": "2026-01-31T12:00:00Z", "zone": zone, "line": "", "direction": "", "observed_s": 10.0,
         "face_s": {"with_mask": 30.5, "without_mask": 4.25}, "people": {"with_mask": 3, "without_mask": 1}}
        for zone in ("", "till", "door")
    ]  # fmt: skip
    label = {"with_mask": 3, "without_mask": 1, "incorrect_mask": 0}
    latency = {stage: {"p50": 6.12, "p95": 8.34} for stage in ("capture", "detect", "classify", "track", "draw", "total")}
    statistics = {
        "time": "2026-01-31T12:00:00.000Z", "started": "2026-01-31T12:00:00.000Z", "uptime_s": 86400.0,
        "counters": {"captured": 2_592_000, "dropped": 12, "skipped": 0, "processed": 2_592_000, "reconnects": 0},
        "rate": {"frames_per_second": 29.97, "latency_ms": latency}, "faces": label, "people": label,
        "zones": {"till": label, "door": label}, "lines": {"door": {"in": label, "out": label}},
        "health": {"temperature_c": 51.2, "temperature_band": "normal", "throttled": []}, "minutes": minutes,
    }  # fmt: skip
    spool = Spool(tmp_path, int(MqttConfig().spool_mb * 1e6))
    for _ in range(864):
        spool.add([statistics] * 10, "statistics")
    happened = {"event": "face_appeared", "source": "rtsp://camera.example.org/1", "camera": "camera", "device": "door-pi",
                "time": "2026-01-31T12:00:00.123Z", "track": 7, "box": [312.0, 96.5, 420.0, 240.0], "label": "a"}  # fmt: skip
    for _ in range(100):
        spool.add([happened] * 1000)
    assert len(spool) == 108_640
    spool.close()


def test_a_full_spool_keeps_the_counts_and_is_reported_once(
    tmp_path: Path, broker: Mosquitto, open_fleet: Callable[..., Fleet], caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("maskedge")
    logger.addHandler(caplog.handler)
    broker.stop()
    sink = open_sink(tmp_path, broker.port, interval=0.05, spool_mb=0.002)
    sink.write(frame(0, []))
    wait_for(lambda: caplog.messages, "the message")
    for second in range(1, 6):
        sink.write(frame(second, ["with_mask"]))
    with pytest.raises(OutputError, match="is full"):
        sink.handle_event(Event(FACE_APPEARED, 0, "0", {"text": "x" * 2000}))
    broker.start()
    fleet = open_fleet()

    def observed() -> float:
        messages = [message for topic, message in list(fleet.stored.values()) if topic.endswith("/statistics")]
        return float(sum(entry["observed_s"] for message in messages for entry in message["minutes"]))

    wait_for(lambda: observed() == 5.0, "the counts")
    sink.close()
    logger.removeHandler(caplog.handler)
    assert len({record.created for record in caplog.records if "is full" in record.getMessage()}) == 1


def test_a_spool_of_an_earlier_version_is_converted(tmp_path: Path, broker: Mosquitto, open_fleet: Callable[..., Fleet]) -> None:
    (tmp_path / "spool").mkdir()
    with sqlite3.connect(tmp_path / "spool" / NAME) as base:
        base.executescript(
            """
            CREATE TABLE messages (number INTEGER PRIMARY KEY AUTOINCREMENT, payload BLOB NOT NULL);
            CREATE TABLE spool (identity TEXT NOT NULL);
            CREATE TABLE retained (topic TEXT PRIMARY KEY);
            INSERT INTO spool VALUES ('1a2b3c4d');
            INSERT INTO messages VALUES (41, '{"id": "1a2b3c4d-41", "track": 41}'), (42, '{"id": "1a2b3c4d-42", "track": 42}');
            INSERT INTO retained VALUES ('maskedge/door/alerts/gone');
            """
        )
    base.close()
    fleet = open_fleet()
    sink = open_sink(tmp_path, broker.port, interval=3600)
    sink.handle_event(event(43))
    wait_for(lambda: sink.waiting == 0, "the spool")
    sink.close()
    assert [key for key, (topic, _) in fleet.stored.items() if topic == "maskedge/door/events"] == [
        "1a2b3c4d-41", "1a2b3c4d-42", next(key for key, (_, message) in fleet.stored.items() if message.get("track") == 43)
    ]  # fmt: skip


def test_the_state_names_the_installation_its_commands_and_its_models(tmp_path: Path, broker: Mosquitto) -> None:
    listener = Listener(broker.port)
    sink = open_sink(tmp_path, broker.port)
    wait_for(lambda: listener.of("maskedge/door/state"), "the state")
    sink.close()
    listener.close()
    state = json.loads(listener.of("maskedge/door/state")[0])
    assert state["instance"] == "ab" * 8
    assert state["commands"] == ["reload"]
    assert state["model"] == {**SNAPSHOT["model"], "file": "edgenet.onnx"}
    assert state["detector_model"] == {"name": "haar.xml", "file": "haar.xml", "sha256": "1" * 64, "release": None}


KILLED = """
import sys, time
from pathlib import Path
from maskedge.events import Event
from maskedge.sinks.mqtt.fleet import FleetMode
from maskedge.sinks.mqtt.sink import MqttConfig, MqttSink
config = MqttConfig(url=sys.argv[1], topic="maskedge/door", spool=Path(sys.argv[2]), interval=3600)
sink = MqttSink(config, source="0", snapshot=dict, fleet=FleetMode("0" * 16))
first = int(sys.argv[3])
for number in range(first, first + 300):
    sink.handle_event(Event("face_appeared", 0, "0", {"track": number}))
print("done", flush=True)
time.sleep(60)
"""


def test_a_killed_device_delivers_everything_once_it_is_back(
    tmp_path: Path, broker: Mosquitto, open_fleet: Callable[..., Fleet]
) -> None:
    fleet = open_fleet()
    for first in (0, 300, 600):
        arguments = [f"mqtt://127.0.0.1:{broker.port}", str(tmp_path / "spool"), str(first)]
        with subprocess.Popen([sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"done\n"
            process.kill()
    sink = open_sink(tmp_path, broker.port, interval=3600)
    wait_for(lambda: sink.waiting == 0, "the spool")
    sink.close()
    assert sorted(message["track"] for topic, message in fleet.stored.values() if topic.endswith("/events")) == list(range(900))


def test_a_user_who_may_not_read_confirmations_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mosquitto accepts the subscription and delivers nothing."""
    monkeypatch.setattr("maskedge.sinks.mqtt.delivery._FIRST_WAIT", 0.1)
    monkeypatch.setattr("maskedge.sinks.mqtt.delivery._LONGEST_WAIT", 0.2)
    rules = tmp_path / "rules"
    rules.write_text("topic write maskedge/door/#\n")
    broker = Mosquitto(tmp_path / "broker", "allow_anonymous true", f"acl_file {rules}")
    logger = logging.getLogger("maskedge")
    logger.addHandler(caplog.handler)
    sink = open_sink(tmp_path, broker.port, interval=3600)
    sink.handle_event(event(0))
    wait_for(lambda: caplog.messages, "the message")
    sink.close()
    logger.removeHandler(caplog.handler)
    broker.stop()
    assert "this user may read maskedge/door/received" in caplog.messages[0]


@pytest.mark.parametrize("topic", ["door", "a/b/c", "maskedge//door", "maskedge/door/x/y"])
def test_a_prefix_with_another_number_of_levels_is_refused(tmp_path: Path, topic: str) -> None:
    with pytest.raises(UsageError, match="two levels, such as maskedge/door"):
        open_sink(tmp_path, 1, topic=topic)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"commands": ("dance",)}, "fleet.commands takes reload, restart"),
        ({"commands": ("reload",)}, "enabled = true"),
        ({"enabled": True, "commands": ("reload",)}, "trusted_keys"),
    ],
)
def test_a_section_that_makes_no_sense_is_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        FleetConfig(**settings)
