"""The delivered files for Mosquitto, as they are installed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from paho.mqtt.client import MQTTv5
from paho.mqtt.publish import single

from helpers.brokers import Listener, Mosquitto, wait_for
from helpers.support import ROOT


def test_mosquitto_takes_the_delivered_files_as_debian_includes_them(tmp_path: Path) -> None:
    delivered = (ROOT / "deploy" / "mosquitto" / "fleet.conf").read_text()
    acl = ROOT / "deploy" / "mosquitto" / "fleet.acl"
    (tmp_path / "passwd").write_text("")
    (tmp_path / "passwd").chmod(0o600)
    included = tmp_path / "conf.d"
    included.mkdir()
    content = delivered.replace("listener 1883 127.0.0.1", "").replace("/etc/mosquitto/passwd", str(tmp_path / "passwd"))
    (included / "fleet.conf").write_text(
        content.replace("/etc/mosquitto/fleet.acl", str(acl)).replace("max_queued_messages 0\n", "")
    )
    assert content != delivered
    broker = Mosquitto(tmp_path / "broker", f"include_dir {included}")
    assert "Error" not in broker.log()
    broker.stop()


def test_a_device_of_compose_writes_its_own_topics_only(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("device:one\nfleet:two\n")
    (tmp_path / "passwd").chmod(0o600)
    subprocess.run(["mosquitto_passwd", "-U", tmp_path / "passwd"], check=True)
    content = (ROOT / "deploy" / "compose" / "mosquitto.conf").read_text()
    content = content.replace("/secrets/acl", str(ROOT / "deploy" / "mosquitto" / "fleet.acl")).replace("/secrets", str(tmp_path))
    # The helper sets these.
    own = ("listener", "persistence", "log_dest", "max_queued_messages")
    lines = [line for line in content.splitlines() if not line.startswith(own)]
    broker = Mosquitto(tmp_path / "broker", *lines)
    listener = Listener(broker.port, "maskedge/#", username="fleet", password="two")  # noqa: S106
    for topic in ("maskedge/other/events", "maskedge/device/command", "maskedge/device/events"):
        single(topic, topic, qos=1, port=broker.port, protocol=MQTTv5, auth={"username": "device", "password": "one"})
    wait_for(lambda: "maskedge/device/events" in [topic for topic, *_ in listener.messages], "the event")
    assert [topic for topic, *_ in listener.messages] == ["maskedge/device/command", "maskedge/device/events"]
    listener.close()
    broker.stop()
