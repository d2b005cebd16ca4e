"""The delivered files for Mosquitto, as they are installed."""

from __future__ import annotations

from pathlib import Path

from helpers.brokers import Mosquitto
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
