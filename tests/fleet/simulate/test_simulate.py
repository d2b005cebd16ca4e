"""Simulated devices against a real Mosquitto."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.brokers import Listener, Mosquitto, wait_for
from helpers.support import command_line
from maskedge_fleet.simulate.plan import DEVICES_A_PROCESS, Plan
from maskedge_fleet.simulate.scene import LABELS, Scene

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path / "broker")
    yield broker
    broker.stop()


def test_every_message_of_the_record_is_published_once(broker: Mosquitto, command: Command, tmp_path: Path) -> None:
    listener = Listener(broker.port)
    record = tmp_path / "record.json"
    url = f"mqtt://127.0.0.1:{broker.port}"
    done = command(
        *("edge-fleet", "simulate", "6", "--broker", url, "--seconds", "6", "--events-per-s", "30", "--interval", "1"),
        *("--processes", "2", "--sites", "3", "--record", record),
    )
    assert done.returncode == 0, done.stderr
    content = json.loads(record.read_text())
    assert list(content["devices"]) == [f"site{index % 3 + 1:02}-{index:05}" for index in range(6)]
    assert content["waiting"] == content["refused"] == 0
    expected = {f"{one['spool']}-{number}" for one in content["devices"].values() for number in range(1, one["last"] + 1)}
    assert len(expected) > 30

    def received() -> Counter[str]:
        spooled = (json.loads(text) for topic, text, _ in list(listener.messages) if topic.endswith(("/events", "/statistics")))
        return Counter(message["id"] for message in spooled if "id" in message)

    wait_for(lambda: expected <= set(received()), "the messages")
    assert received() == Counter(expected)
    events = [json.loads(payload) for topic, payload, _ in listener.messages if topic.endswith("/events")]
    assert Counter(event["event"] for event in events) == Counter(content["events"])
    assert sum(event["event"] == "face_appeared" for event in events) == sum(content["people"].values())
    states = [json.loads(payload) for topic, payload, _ in listener.messages if topic.endswith("/state")]
    assert {state["device"] for state in states} == set(content["devices"])
    for name in content["devices"]:
        wait_for(lambda name=name: listener.of(f"maskedge/{name}/availability")[-1] == "offline", "the end")  # type: ignore[misc]
        assert json.loads(listener.of(f"maskedge/{name}/statistics")[-1])["health"]["temperature_c"] > 20
    listener.close()


def test_a_simulation_ends_when_it_is_asked_to(broker: Mosquitto, tmp_path: Path) -> None:
    arguments = ("edge-fleet", "simulate", "3", "--broker", f"mqtt://127.0.0.1:{broker.port}", "--folder", tmp_path / "spools")
    process = subprocess.Popen(command_line(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    listener = Listener(broker.port, "+/+/availability")
    wait_for(lambda: len(listener.messages) == 3, "the devices")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "0 not confirmed" in out
    wait_for(lambda: len(listener.messages) == 6, "the end of the devices")
    listener.close()


def test_a_wrong_address_is_one_sentence(command: Command) -> None:
    done = command("edge-fleet", "simulate", "1", "--broker", "http://x", "--seconds", "1")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: a broker is given as mqtt://HOST:PORT or mqtts://HOST:PORT ([mqtt] url)."


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
