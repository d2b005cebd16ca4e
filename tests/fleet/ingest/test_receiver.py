from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from helpers.brokers import Mosquitto, make_certificates, wait_for
from helpers.fleet.device_client import fleet_broker
from maskedge.errors import UsageError
from maskedge_fleet.ingest import receiver as module
from maskedge_fleet.ingest.broker import BrokerSettings, make_client
from maskedge_fleet.ingest.receiver import Receiver
from maskedge_fleet.ingest.runner import IngestSettings, run_ingest


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = fleet_broker(tmp_path / "broker")
    yield broker
    broker.stop()


def start_receiver(broker: Mosquitto, name: str = "ingest") -> Receiver:
    receiver = Receiver(BrokerSettings(f"mqtt://127.0.0.1:{broker.port}"), "maskedge", name, 3600)
    receiver.start()
    wait_for(lambda: f"Sending SUBACK to {name}\n" in broker.log(), "the subscription")
    return receiver


def publish(broker: Mosquitto, payloads: list[bytes], topic: str = "maskedge/door/events", qos: int = 1) -> None:
    client = Client(CallbackAPIVersion.VERSION2, "publisher", protocol=MQTTv5)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    for payload in payloads:
        client.publish(topic, payload, qos)
    client.publish("end", "", 1).wait_for_publish(20)
    client.disconnect()
    client.loop_stop()


def take(receiver: Receiver, count: int, *, finish: bool = True) -> list[bytes]:
    taken: list[bytes] = []

    def is_complete() -> bool:
        messages = receiver.take(0.2)
        taken.extend(message.payload for message in messages)
        if finish and messages:
            receiver.finish(messages, [])
        return len({*taken}) >= count

    wait_for(is_complete, f"{count} messages")
    return taken


def test_what_was_not_finished_comes_again_after_a_restart(broker: Mosquitto) -> None:
    payloads = [f"{number}".encode() for number in range(300)]
    receiver = start_receiver(broker)
    publish(broker, payloads)
    assert take(receiver, 300, finish=False) == payloads
    receiver.close()
    receiver = start_receiver(broker)
    assert take(receiver, 300) == payloads
    wait_for(lambda: broker.log().count("Received PUBACK from ingest") == 300, "the acknowledgements")
    receiver.close()
    receiver = start_receiver(broker)
    assert receiver.take(0.5) == []
    receiver.close()


def test_confirmations_are_sent_before_the_acknowledgement(broker: Mosquitto) -> None:
    receiver = start_receiver(broker)
    publish(broker, [b"one"])
    messages = receiver.take(5)
    receiver.finish(messages, [("maskedge/door/received", "{}")])
    wait_for(lambda: "Received PUBACK from ingest" in broker.log(), "the acknowledgement")
    log = broker.log()
    assert log.index("Received PUBLISH from ingest") < log.index("Received PUBACK from ingest")
    receiver.close()


def test_messages_beyond_the_bound_of_the_memory_wait_at_the_broker(broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 100_000)
    receiver = start_receiver(broker)
    payloads = [f"{number:06}".encode() * 1000 for number in range(100)]
    publish(broker, payloads)
    wait_for(lambda: receiver._left_out, "the bound")
    # Messages of QoS 0 do not wait.
    publish(broker, [b"x" * 6000] * 30, "maskedge/door/statistics", 0)
    assert sum(len(message.payload) for message in receiver._queue) <= 106_000
    # Some of those may come once there is room again.
    received: set[bytes] = set()
    for _ in range(200):
        received |= {*take(receiver, 1)}
        if {*payloads} <= received:
            break
    assert {*payloads} <= received
    receiver.close()


def test_a_restarted_broker_is_found_again_and_logged_once(broker: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "maskedge.fleet")
    receiver = start_receiver(broker)
    broker.stop()
    wait_for(lambda: caplog.messages, "the log line")
    broker.start()
    wait_for(lambda: caplog.messages[-1].endswith("is back."), "the connection")
    publish(broker, [b"one"])
    assert take(receiver, 1) == [b"one"]
    assert len(caplog.messages) == 2
    receiver.close()


def test_two_ingests_of_one_name_are_logged(broker: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    first, second = start_receiver(broker), start_receiver(broker)
    wait_for(lambda: any("give each ingest its own --client-id" in message for message in caplog.messages), "the log line")
    first.close()
    second.close()


def test_tls_needs_a_trusted_certificate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = make_certificates(tmp_path / "certificates")
    lines = ("allow_anonymous true", f"cafile {files['ca']}", f"certfile {files['cert']}", f"keyfile {files['key']}")
    broker = Mosquitto(tmp_path / "broker", *lines)
    url = f"mqtts://localhost:{broker.port}"
    stranger = Receiver(BrokerSettings(url), "maskedge", "stranger", 0)
    stranger.start()
    wait_for(lambda: any("--ca-file" in message for message in caplog.messages), "the log line")
    stranger.close()
    receiver = Receiver(BrokerSettings(url, ca_file=files["ca"]), "maskedge", "ingest", 0)
    receiver.start()
    wait_for(lambda: "Sending SUBACK to ingest\n" in broker.log(), "the subscription")
    receiver.close()
    broker.stop()


@pytest.mark.parametrize(
    ("url", "more", "words"),
    [
        ("http://broker", {}, "mqtt://HOST:PORT"),
        ("mqtt://user:secret@broker", {}, "do not belong"),
        ("mqtt://broker", {"ca_file": Path("ca.pem")}, "use mqtts://"),
        ("mqtts://broker", {"ca_file": Path("missing.pem")}, "does not exist"),
        ("mqtt://broker", {"password": "x"}, "--username"),
    ],
)
def test_a_wrong_broker_is_refused(url: str, more: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        make_client(BrokerSettings(url, **more), "name")  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("root", ["", "/", "a/#", "+", "a/"])
def test_a_wrong_root_is_refused(root: str) -> None:
    with pytest.raises(UsageError, match="--root"):
        IngestSettings(BrokerSettings("mqtt://broker"), "sqlite:///x", root=root)


def test_an_empty_name_of_the_session_is_refused() -> None:
    with pytest.raises(UsageError, match="--client-id"):
        IngestSettings(BrokerSettings("mqtt://broker"), "sqlite:///x", client_id="")


def test_the_ingest_runs_in_a_thread_as_in_serve(broker: Mosquitto, database: str) -> None:
    stop = threading.Event()
    settings = IngestSettings(BrokerSettings(f"mqtt://127.0.0.1:{broker.port}"), database, client_id="serve")
    thread = threading.Thread(target=run_ingest, args=(settings, stop))
    thread.start()
    wait_for(lambda: "Sending SUBACK to serve\n" in broker.log(), "the subscription")
    received = Receiver(BrokerSettings(f"mqtt://127.0.0.1:{broker.port}"), "other", "other", 0)
    publish(broker, [json.dumps({"id": "1a2b3c4d-1", "event": "health", "time": "2026-01-31T12:00:00Z"}).encode()])
    wait_for(lambda: "'maskedge/door/received'" in broker.log(), "the confirmation")
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    received.close()
