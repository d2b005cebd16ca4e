"""MQTT against a real Mosquitto."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from helpers.brokers import Listener, Mosquitto, make_certificates, wait_for
from helpers.support import free_port
from maskedge import OutputError, UsageError
from maskedge.events import FACE_APPEARED, OUTPUT_BACK, OUTPUT_LOST, Event
from maskedge.sinks.mqtt.exchange import Exchange
from maskedge.sinks.mqtt.sink import MqttConfig, MqttSink
from maskedge.sinks.mqtt.spool import Spool

SNAPSHOT: dict[str, Any] = {
    "version": "1",
    "source": {"name": "0", "state": "open"},
    "alerts": [{"rule": "too many", "since": "2026-01-31T12:00:00.000Z", "details": {"people": 7}}],
    "rate": {"frames_per_second": 30.0},
    "faces": {"with_mask": 2},
    "people": {"with_mask": 5},
    "health": {"temperature_c": 51.2},
    "history": [1, 2, 3],
    "settings": {"mqtt": {"password": "never sent"}},
}


def event(number: int) -> Event:
    return Event(FACE_APPEARED, 1_769_860_800 + number, "0", {"track": number, "box": [1, 2, 3, 4]})


class Run:
    """A sink as edge-run has it."""

    def __init__(self, folder: Path, port: int, **options: Any) -> None:
        self.said: list[Event] = []
        self.url = options.pop("url", f"mqtt://127.0.0.1:{port}")
        keep = {name: options.pop(name) for name in ("alerts", "labels") if name in options}
        config = MqttConfig(url=self.url, topic="door", spool=folder / "spool", **options)
        self.sink = MqttSink(config, source="0", snapshot=lambda: SNAPSHOT, publish_event=self.said.append, **keep)

    def lost(self) -> list[str]:
        return [said.details["error"] for said in list(self.said) if said.kind == OUTPUT_LOST]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path / "broker")
    yield broker
    broker.stop()


@pytest.fixture
def run(tmp_path: Path, broker: Mosquitto) -> Iterator[Run]:
    run = Run(tmp_path, broker.port, interval=0.1, discovery=True, alerts=("too many",), labels=("with_mask", "without_mask"))
    yield run
    run.sink.close()


def tracks(listener: Listener) -> list[int]:
    return [json.loads(payload)["track"] for payload in listener.of("door/events")]


def test_state_statistics_and_availability(broker: Mosquitto, run: Run) -> None:
    wait_for(lambda: run.sink.waiting == 0, "the spool")
    listener = Listener(broker.port)
    wait_for(lambda: listener.of("door/statistics") and listener.of("door/state"), "the state and the statistics")
    assert listener.of("door/availability") == ["online"]
    state = json.loads(listener.of("door/state")[0])
    assert state["source"]["state"] == "open"
    assert state["alerts"] == [{"rule": "too many", "since": "2026-01-31T12:00:00.000Z"}]
    statistics = json.loads(listener.of("door/statistics")[0])
    assert statistics["people"] == {"with_mask": 5}
    assert "history" not in statistics
    assert not any("never sent" in payload for _, payload, _ in listener.messages)
    run.sink.set_alert("too many", on=True)
    wait_for(lambda: listener.of("door/alerts/too_many") == ["OFF", "ON"], "the alert")
    run.sink.close()
    wait_for(lambda: listener.of("door/availability") == ["online", "offline"], "the farewell")
    listener.close()


@pytest.mark.parametrize("qos", [2, 1])
def test_restarts_of_the_broker_lose_nothing_and_double_nothing(tmp_path: Path, broker: Mosquitto, qos: int) -> None:
    """Events flow while the broker is stopped and started three times; who listens has all, once, in order."""
    listener = Listener(broker.port, "door/events")
    run = Run(tmp_path, broker.port, qos=qos)
    written = 0

    def flow(count: int) -> None:
        nonlocal written
        for _ in range(count):
            run.sink.handle_event(event(written))
            written += 1
            time.sleep(0.001)

    flow(50)
    wait_for(lambda: len(tracks(listener)) > 20, "the first events")
    for _ in range(3):
        flow(100)
        stopper = threading.Thread(target=broker.stop)
        stopper.start()
        flow(200)
        stopper.join()
        broker.start()
        flow(100)
        wait_for(lambda: run.sink.problem is None, "the connection")
    wait_for(lambda: run.sink.waiting == 0, "the spool to empty")
    wait_for(lambda: len(tracks(listener)) >= written, "the last events")
    assert run.sink.delivered == written if qos == 2 else run.sink.delivered >= written
    run.sink.close()
    arrived = tracks(listener)
    # QoS 1 may say one twice, in a row of those that the broker had not confirmed: their id tells.
    assert (arrived if qos == 2 else list(dict.fromkeys(arrived))) == list(range(written))
    assert len({json.loads(payload)["id"] for payload in listener.of("door/events")}) == written
    assert [said.kind for said in run.said] == [OUTPUT_LOST, OUTPUT_BACK] * 3
    listener.close()


def test_a_broker_that_forgets_its_sessions(tmp_path: Path) -> None:
    """What it had not confirmed is sent again, in order, and it is known by its id."""
    broker = Mosquitto(tmp_path / "broker", persistent=False)
    run = Run(tmp_path, broker.port)
    for number in range(200):
        if number == 100:
            broker.send(signal.SIGSTOP)  # so that it is killed before it has all
        run.sink.handle_event(event(number))
    broker.stop(signal.SIGKILL)
    waiting = [message.number for message in run.sink._spool.after(0, 200)]
    assert waiting
    broker.start()
    listener = Listener(broker.port, "door/events")
    # The sink may be back before the listener is: the last one tells that both are.
    run.sink.handle_event(event(200))
    wait_for(lambda: 200 in tracks(listener), "the last")
    wait_for(lambda: run.sink.waiting == 0, "the spool to empty")
    arrived = tracks(listener)
    assert arrived == [*(number - 1 for number in waiting), 200][-len(arrived) :]
    run.sink.close()
    listener.close()
    broker.stop()


def test_events_wait_over_a_restart_of_ours(tmp_path: Path, broker: Mosquitto) -> None:
    listener = Listener(broker.port, "door/events")
    broker.stop()
    first = Run(tmp_path, broker.port)
    for number in range(30):
        first.sink.handle_event(event(number))
    wait_for(first.lost, "the message")
    assert "cannot be reached" in first.lost()[0]
    first.sink.close()
    assert len(first.lost()) == 1
    broker.start()
    second = Run(tmp_path, broker.port)
    second.sink.handle_event(event(30))
    wait_for(lambda: len(listener.of("door/events")) >= 31, "all events")
    wait_for(lambda: second.sink.waiting == 0, "the spool to empty")
    second.sink.close()
    assert [json.loads(payload)["track"] for payload in listener.of("door/events")] == [*range(31)]
    listener.close()


KILLED = """
import sys, time
from pathlib import Path
from maskedge.events import Event
from maskedge.sinks.mqtt.exchange import Exchange
from maskedge.sinks.mqtt.sink import MqttConfig, MqttSink
config = MqttConfig(url=sys.argv[1], topic="door", spool=Path(sys.argv[2]), client_id=sys.argv[4])
sink = MqttSink(config, source="0", snapshot=dict)
first = int(sys.argv[3])
for number in range(first, first + 100):
    sink.handle_event(Event("face_appeared", 0, "0", {"track": number}))
while sink.waiting:
    time.sleep(0.01)
print("done", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("client_id", ["", "door-1"])
def test_last_will_when_the_process_is_killed(tmp_path: Path, broker: Mosquitto, client_id: str) -> None:
    """With a fixed client id the broker still has the session of the killed one: it is begun anew."""
    listener = Listener(broker.port, "door/#")
    for times in (1, 2):
        arguments = [f"mqtt://127.0.0.1:{broker.port}", str(tmp_path / "spool"), str(times * 100 - 100), client_id]
        with subprocess.Popen([sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"done\n"
            process.kill()
        wait_for(lambda times=times: listener.of("door/availability") == ["online", "offline"] * times, "the last will")
    # The will, of a lower quality of service, may overtake the last events on their way from the broker to the listener.
    wait_for(lambda: len(tracks(listener)) >= 200, "all events")
    assert tracks(listener) == list(range(200))
    listener.close()


def test_password(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto_passwd is not installed (Debian package mosquitto)")
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", passwords, "edge", "secret-right"], check=True, capture_output=True)
    broker = Mosquitto(tmp_path / "broker", "allow_anonymous false", f"password_file {passwords}")
    wrong = Run(tmp_path, broker.port, username="edge", password="secret-wrong")  # noqa: S106
    wrong.sink.handle_event(event(0))
    wait_for(wrong.lost, "the message")
    wrong.sink.handle_event(event(1))
    wrong.sink.close()
    assert wrong.lost() == [
        f"the broker 127.0.0.1:{broker.port} refuses the connection (Not authorized): check [mqtt] username and password, "
        "and the permissions of this user at the broker; events wait in the spool."
    ]
    (tmp_path / "password").write_text("secret-right\n")
    right = Run(tmp_path, broker.port, username="edge", password_file=tmp_path / "password")
    listener = Listener(broker.port, "door/events", username="edge", password="secret-right")  # noqa: S106
    right.sink.handle_event(event(2))
    wait_for(lambda: right.sink.waiting == 0, "the spool to empty")
    right.sink.close()
    listener.close()
    broker.stop()
    assert right.lost() == []
    assert "secret" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("qos", [1, 2])
def test_missing_permission_to_publish(tmp_path: Path, qos: int) -> None:
    """Events wait until the broker's rules are put right."""
    rules = tmp_path / "rules"
    rules.write_text("topic read #\n")
    broker = Mosquitto(tmp_path / "broker", "allow_anonymous true", f"acl_file {rules}")
    run = Run(tmp_path, broker.port, qos=qos)
    run.sink.handle_event(event(0))
    wait_for(run.lost, "the message")
    assert "refuses the connection (Not authorized)" in run.lost()[0]
    assert run.sink.waiting == 1
    broker.stop()
    rules.write_text("topic readwrite #\n")
    broker.start()
    listener = Listener(broker.port, "door/events")
    wait_for(lambda: tracks(listener) == [0], "the event")
    wait_for(lambda: run.sink.waiting == 0, "the spool to empty")
    run.sink.close()
    listener.close()
    broker.stop()


def test_missing_permission_for_discovery(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Events and the rest go out all the same, and one line names what is missing."""
    rules = tmp_path / "rules"
    rules.write_text("topic readwrite door/#\n")
    broker = Mosquitto(tmp_path / "broker", "allow_anonymous true", f"acl_file {rules}")
    logger = logging.getLogger("maskedge")
    logger.addHandler(caplog.handler)
    listener = Listener(broker.port, "door/#")
    run = Run(tmp_path, broker.port, interval=0.1, discovery=True, alerts=("too many",), labels=("with_mask",))
    run.sink.handle_event(event(0))
    wait_for(lambda: caplog.messages, "the message")
    wait_for(lambda: run.sink.waiting == 0, "the spool to empty")
    wait_for(lambda: listener.of("door/statistics"), "the statistics")
    wait_for(lambda: tracks(listener) == [0], "the event")
    run.sink.close()
    listener.close()
    logger.removeHandler(caplog.handler)
    broker.stop()
    (message,) = set(caplog.messages)
    assert "refuses messages to homeassistant/" in message
    assert tracks(listener) == [0]


@pytest.mark.parametrize("prefix", ["home#", "home/+/x", "", "/", "$SYS"])
def test_a_discovery_prefix_that_is_no_topic_is_refused(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(UsageError, match="discovery_prefix is a prefix such as homeassistant"):
        Run(tmp_path, 1, discovery=True, discovery_prefix=prefix)


def test_tls(tmp_path: Path) -> None:
    own, other = make_certificates(tmp_path / "own"), make_certificates(tmp_path / "other")
    server = (f"cafile {own['ca']}", f"certfile {own['cert']}", f"keyfile {own['key']}", "allow_anonymous true")
    broker = Mosquitto(tmp_path / "broker", *server)
    url = f"mqtts://localhost:{broker.port}"
    for index, (address, options, complaint) in enumerate(
        (
            (url, {"ca_file": own["ca"]}, None),
            (url, {"insecure": True}, None),
            (url, {"ca_file": other["ca"]}, "certificate is not trusted"),
            (url, {}, "certificate is not trusted"),
            (f"mqtts://127.0.0.1:{broker.port}", {"ca_file": own["ca"]}, "IP address mismatch"),
        )
    ):
        run = Run(tmp_path / str(index), broker.port, url=address, **options)
        run.sink.handle_event(event(index))
        if complaint is None:
            wait_for(lambda run=run: run.sink.waiting == 0, "the spool to empty")
        else:
            wait_for(run.lost, "the message")
            assert complaint in run.lost()[0]
            assert run.sink.waiting == 1
        run.sink.close()
        assert len(run.lost()) == (complaint is not None)
    broker.stop()


def test_own_certificate(tmp_path: Path) -> None:
    own = make_certificates(tmp_path / "own")
    server = (f"cafile {own['ca']}", f"certfile {own['cert']}", f"keyfile {own['key']}")
    broker = Mosquitto(tmp_path / "broker", *server, "require_certificate true", "use_identity_as_username true")
    options = {"url": f"mqtts://localhost:{broker.port}", "ca_file": own["ca"]}
    run = Run(tmp_path, broker.port, **options, cert_file=own["cert"], key_file=own["key"])
    run.sink.handle_event(event(0))
    wait_for(lambda: run.sink.waiting == 0, "the spool to empty")
    run.sink.close()
    bare = Run(tmp_path, broker.port, **options)
    wait_for(bare.lost, "the message")
    bare.sink.close()
    broker.stop()


@pytest.mark.parametrize("host", ["a" * 70, "no-such-host.invalid"])
def test_a_host_that_does_not_exist(tmp_path: Path, host: str) -> None:
    run = Run(tmp_path, 1, url=f"mqtt://{host}")
    wait_for(run.lost, "the message")
    run.sink.close()
    assert "is not known" in run.lost()[0]


def test_an_idle_connection_sleeps_and_wakes_for_an_event(
    tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[float] = []
    step = Exchange.step

    def count(self: Exchange, client: Any, seconds: float) -> bool:
        steps.append(seconds)
        return step(self, client, seconds)

    monkeypatch.setattr(Exchange, "step", count)
    listener = Listener(broker.port, "door/events")
    run = Run(tmp_path, broker.port, interval=3600)
    wait_for(lambda: len(steps) > 4 and run.sink.problem is None, "the connection")
    time.sleep(1)
    steps.clear()
    time.sleep(2)
    assert len(steps) <= 8
    run.sink.handle_event(event(0))
    wait_for(lambda: tracks(listener) == [0], "the event")
    assert max(steps) <= 1.0
    run.sink.close()
    listener.close()


def test_what_listens_there_is_no_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskedge.sinks.mqtt.connection._ANSWER_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        run = Run(tmp_path, silent.getsockname()[1])
        wait_for(run.lost, "the message")
        run.sink.close()
    assert "does not answer" in run.lost()[0]


def test_a_broker_that_hangs_holds_up_nobody(tmp_path: Path, broker: Mosquitto) -> None:
    run = Run(tmp_path, broker.port)
    run.sink.handle_event(event(0))
    wait_for(lambda: run.sink.waiting == 0, "the spool to empty")
    broker.send(signal.SIGSTOP)
    for number in range(1, 5000):
        run.sink.handle_event(event(number))
    run.sink.close()
    broker.send(signal.SIGCONT)
    listener = Listener(broker.port, "door/events")
    again = Run(tmp_path, broker.port)
    wait_for(lambda: again.sink.waiting == 0, "the spool to empty")
    wait_for(lambda: 4999 in tracks(listener), "the last event")
    again.sink.close()
    arrived = tracks(listener)
    # The first ones may have been under way twice.
    assert list(dict.fromkeys(arrived))[-4900:] == list(range(100, 5000))
    listener.close()


def test_spool_is_bounded_and_one_run_has_it(tmp_path: Path) -> None:
    run = Run(tmp_path, free_port(), spool_mb=0.01)
    with pytest.raises(OutputError, match="another edge-run uses the spool"):
        Run(tmp_path, 1)
    with pytest.raises(OutputError, match="is full"):
        for number in range(1000):
            run.sink.handle_event(event(number))
    held = run.sink.waiting
    assert 50 < held < 100
    run.sink.close()
    spool = Spool(tmp_path / "spool", 10_000)
    assert len(spool) == held
    spool.remove([message.number for message in spool.after(0, 20)])
    spool.add([{"a": 1}, {"a": 2}])
    messages = spool.after(0, 1000)
    assert [message.number for message in messages] == list(range(21, held + 3)), "no number is given twice"
    with pytest.raises(OutputError, match="is full"):
        spool.add([{"a": "b"}, {"a": "b" * 9000}])
    assert len(spool) == len(messages), "all or none"
    spool.close()


def test_a_spool_that_is_removed_during_a_run_is_written_again(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    spool = Spool(folder, 10_000)
    spool.add([{"a": 1}])
    shutil.rmtree(folder)
    spool.add([{"a": 2}])
    spool.close()
    again = Spool(folder, 10_000)
    assert [message.number for message in again.after(0, 9)] == [1, 2]
    assert again.identity == spool.identity
    again.remove([1])
    shutil.rmtree(folder)
    again.close()
    last = Spool(folder, 10_000)
    assert [message.number for message in last.after(0, 9)] == [2], "also if nothing is added any more"
    shutil.rmtree(folder)
    folder.write_text("in the way")
    with pytest.raises(OutputError, match="a file is in the way"):
        last.close()


@pytest.mark.parametrize("step", ["backup", "prepare"])
def test_a_removed_spool_that_can_only_be_written_later_loses_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class FullOnce(sqlite3.Connection):
        is_full = step == "backup"

        def backup(self, *arguments: Any, **options: Any) -> None:
            if self.is_full:
                self.is_full = False
                raise sqlite3.OperationalError("database or disk is full")
            super().backup(*arguments, **options)

    monkeypatch.setattr("maskedge.sinks.mqtt.spool.sqlite3.connect", partial(sqlite3.connect, factory=FullOnce))
    file = tmp_path / "spool.sqlite3"
    spool = Spool(tmp_path, 10_000)
    spool.add([{"a": 1}])
    file.unlink()  # its log stays
    with monkeypatch.context() as patch:
        if step == "prepare":
            patch.setattr("maskedge.sinks.mqtt.spool._prepare", lambda base: base.execute("no SQL"))
        with pytest.raises(OutputError, match="was removed and cannot be written again"):
            spool.add([{"a": 2}])
    assert not file.exists()
    spool.remove([spool.after(0, 1)[0].number])
    spool.add([{"a": 3}])
    spool.add([{"a": 4}])
    with pytest.raises(OutputError, match="another edge-run uses the spool"):
        Spool(tmp_path, 10_000)
    # What a killed run leaves: the file and its log.
    killed = tmp_path / "killed"
    killed.mkdir()
    for name in ("spool.sqlite3", "spool.sqlite3-wal"):
        shutil.copy(tmp_path / name, killed)
    spool.close()
    for folder in (tmp_path, killed):
        left = Spool(folder, 10_000)
        assert [json.loads(message.payload)["a"] for message in left.after(0, 9)] == [3, 4]
        left.close()
    assert list(tmp_path.glob("spool*")) == [file]
    assert file.stat().st_mode & 0o077 == 0


def test_a_spool_that_cannot_be_looked_at_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, 10_000)
    stat = Path.stat

    def fail(path: Path, **options: bool) -> os.stat_result:
        if path.name == "spool.sqlite3":
            raise OSError(errno.ESTALE, "Stale file handle")
        return stat(path, **options)

    opened: list[object] = []
    monkeypatch.setattr(Path, "stat", fail)
    monkeypatch.setattr("maskedge.sinks.mqtt.spool.os.open", lambda *arguments: opened.append(arguments))
    spool.add([{"a": 1}])
    spool.close()
    assert not opened, "closing it would release the locks"


def test_damaged_spool(tmp_path: Path) -> None:
    (tmp_path / "spool.sqlite3").write_bytes(b"no data base at all" * 1000)
    with pytest.raises(OutputError, match="is damaged"):
        Spool(tmp_path, 1000)
    with pytest.raises(OutputError, match="cannot be"):
        Spool(Path("/proc/spool"), 1000)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"url": None}, "no broker is set"),
        ({"url": "http://localhost"}, "mqtt://HOST:PORT"),
        ({"url": "mqtt://"}, "mqtt://HOST:PORT"),
        ({"url": "mqtt://localhost:99999"}, "mqtt://HOST:PORT"),
        ({"url": "mqtt://edge:geheim@localhost"}, "do not belong in the broker's URL"),
        ({"ca_file": Path("ca.pem")}, "use mqtts:// for TLS"),
        ({"url": "mqtts://localhost", "ca_file": Path("missing.pem")}, "does not exist"),
        ({"url": "mqtts://localhost", "ca_file": Path(__file__)}, "PEM files"),
        ({"qos": 0}, "from 1 to 2"),
        ({"interval": 0}, "from 0.01 to 86400"),
        ({"topic": "a/#"}, "prefix"),
        ({"password": "geheim"}, "no username"),
        ({"username": "edge", "password_file": Path("missing")}, "cannot be read .*: check mqtt.password_file"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as refused:
        config = MqttConfig(**({"url": "mqtt://localhost", "topic": "door", "spool": tmp_path} | options))
        MqttSink(config, source="0", snapshot=dict)
    assert "geheim" not in str(refused.value)
