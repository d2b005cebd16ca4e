"""`edge-run` with a real broker that restarts, and alerts with every action."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from helpers.brokers import Listener, Mosquitto, wait_for
from helpers.support import command_line, environment, free_port

CONFIGURATION = """
[mqtt]
url = "mqtt://127.0.0.1:{port}"
username = "edge"
topic = "door"
interval = 0.5
spool = "{folder}/spool"

[zones]
roi = ["all=0,0 1,0 1,1 0,1"]

[[alerts]]
name = "crowd"
when = "too_many_people"
threshold = 1
zone = "all"
cooldown = 0
actions = ["event", "mqtt", "snapshot", "clip", "command", "webhook"]
command = ["/bin/sh", "-c", "cat >> {folder}/command.jsonl"]
webhook = "http://127.0.0.1:{nobody}/geheim"

[snapshots]
folder = "{folder}/snapshots"

[clips]
folder = "{folder}/clips"
after = 0.5
"""


@pytest.mark.parametrize("stops", [False, True])
def test_events_arrive_once_though_the_broker_restarts(tmp_path: Path, stops: bool) -> None:
    broker = Mosquitto(tmp_path / "broker")
    listener = Listener(broker.port, "door/#")
    configuration = tmp_path / "edge.toml"
    configuration.write_text(CONFIGURATION.format(port=broker.port, nobody=free_port(), folder=tmp_path))
    log = tmp_path / "events.jsonl"
    options = ("--source", "demo", "--config", configuration, "--events", log, "--no-show")
    with subprocess.Popen(
        command_line(("edge-run", *options)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment({"MASKEDGE_MQTT_PASSWORD": "geheim"}),
    ) as process:
        wait_for(lambda: listener.of("door/events"), "the first event")
        assert listener.of("door/availability")[-1] == "online"
        if stops:
            broker.stop()
            written = log.stat().st_size
            wait_for(lambda: log.stat().st_size > written + 5000, "more events while the broker is away")
            broker.start()
        output, complaints = process.communicate(timeout=120)
    assert process.returncode == 0, complaints
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    events = [line for line in lines if "event" in line]
    if stops:
        assert any(line["event"] == "output_lost" and line["output"] == "mqtt" for line in events)
        # Events that had not arrived at the end are sent by the next run.
        again = subprocess.run(
            command_line(("edge-run", *options, "--max-frames", "100", "--overwrite")),
            capture_output=True, text=True, env=environment({"MASKEDGE_MQTT_PASSWORD": "geheim"}), timeout=120, check=False,
        )  # fmt: skip
        assert again.returncode == 0, again.stderr
    wait_for(lambda: listener.of("door/availability")[-1] == "offline", "the farewell")
    arrived = [json.loads(payload) for payload in listener.of("door/events")]
    assert len({event.pop("id") for event in arrived}) == len(arrived)

    def about_faces(found: list[dict[str, object]]) -> list[dict[str, object]]:
        return [event for event in found if not str(event["event"]).startswith("output_")]

    published = about_faces(events)
    assert {"face_appeared", "alert"} <= {str(event["event"]) for event in published}
    assert about_faces(arrived)[: len(published)] == published
    assert "ON" in listener.of("door/alerts/crowd")
    assert list((tmp_path / "snapshots").glob("crowd-*.jpg"))
    assert list((tmp_path / "clips").glob("crowd-*.mp4"))
    assert json.loads((tmp_path / "command.jsonl").read_text().splitlines()[0])["rule"] == "crowd"
    assert any(event["event"] == "output_lost" and "webhook" in event["output"] for event in events)
    assert "geheim" not in output + complaints + log.read_text() + "".join(payload for _, payload, _ in listener.messages)
    listener.close()
    broker.stop()


def test_last_will_of_a_killed_run(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "broker")
    listener = Listener(broker.port, "door/#")
    configuration = tmp_path / "edge.toml"
    configuration.write_text(f'[mqtt]\nurl = "mqtt://127.0.0.1:{broker.port}"\ntopic = "door"\nspool = "{tmp_path}/spool"\n')
    with subprocess.Popen(
        command_line(("edge-run", "--source", "demo", "--config", configuration, "--no-show")),
        env=environment(),
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_for(lambda: "online" in listener.of("door/availability"), "the greeting")
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: listener.of("door/availability")[-1] == "offline", "the last will")
    listener.close()
    broker.stop()
