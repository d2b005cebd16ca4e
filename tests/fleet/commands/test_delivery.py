"""Commands and roll-outs over a real broker: ingest, sender and engine of the server, and scripted devices."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from helpers.brokers import Listener, Mosquitto, wait_for
from helpers.fleet.commands import NEW, START, ScriptedDevice, commands_of
from helpers.fleet.device_client import fleet_broker
from maskedge_fleet.commands.queue import find_device, queue_command
from maskedge_fleet.commands.signing import CommandSigner
from maskedge_fleet.database.tables import Device, Model, Rollout, RolloutDevice
from maskedge_fleet.ingest.broker import BrokerSettings
from maskedge_fleet.ingest.runner import IngestSettings, run_ingest
from maskedge_fleet.rollouts.control import roll_back, start_rollout
from maskedge_fleet.rollouts.runner import run_rollouts
from maskedge_fleet.settings import BrokerConfig, DatabaseConfig, ServerConfig, Settings

Invoke = Callable[..., "subprocess.CompletedProcess[str]"]


class Server:
    """The ingest and the sender of commands, each on a thread."""

    def __init__(self, engine: Engine, database: str, broker: Mosquitto, key: Path) -> None:
        self.engine, self.broker, self.key = engine, broker, key
        url = f"mqtt://127.0.0.1:{broker.port}"
        self.settings = Settings(
            server=ServerConfig(command_key=key, public_url="https://fleet.example.org"),
            database=DatabaseConfig(url=database),
            broker=BrokerConfig(url=url),
        )
        self._stop = threading.Event()
        ingest = IngestSettings(BrokerSettings(url), database, client_id="ingest")
        self._threads = [
            threading.Thread(target=run_ingest, args=(ingest, self._stop)),
            threading.Thread(target=run_rollouts, args=(engine, self.settings, self._stop)),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def public_key(self) -> Path:
        return self.key.with_name(f"{self.key.name}.pub")

    def device(self, name: str, **options: Any) -> ScriptedDevice:
        """Connect a device, and wait until the server knows it."""
        device = ScriptedDevice(self.broker.port, name, self.public_key, **options)
        wait_for(lambda: self.knows(name), "the device in the database")
        return device

    def knows(self, name: str) -> bool:
        with Session(self.engine) as session:
            row = session.scalar(select(Device).where(Device.name == name))
            return row is not None and row.online and bool(row.commands)

    def send(self, signer: CommandSigner, device: str, kind: str = "reload") -> None:
        with Session(self.engine) as session, session.begin():
            queue_command(session, find_device(session, device), kind, {}, signer, by="test")

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture
def server(engine: Engine, database: str, tmp_path: Path, command_key: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("maskedge_fleet.commands.outbox.RESEND_S", 1.0)
    monkeypatch.setattr("maskedge_fleet.rollouts.runner.ROUND_S", 0.2)
    server = Server(engine, database, fleet_broker(tmp_path / "broker"), command_key)
    yield server
    server.close()
    server.broker.stop()


def states(server: Server, name: str) -> list[str]:
    return [command.state for command in commands_of(server.engine, name)]


def test_a_device_gets_its_commands_once_and_in_order_and_answers(server: Server, signer: CommandSigner) -> None:
    door, hall = server.device("door"), server.device("hall")
    for _ in range(5):
        server.send(signer, "door")
    server.send(signer, "hall", "restart")
    wait_for(lambda: states(server, "door") == ["done"] * 5 and states(server, "hall") == ["done"], "the answers")
    assert [claims["seq"] for claims in door.accepted] == [command.sequence for command in commands_of(server.engine, "door")]
    assert [claims["cmd"] for claims in hall.accepted] == ["restart"]
    assert door.refused == hall.refused == []
    assert commands_of(server.engine, "hall")[0].answer["sentence"] == "restart done"
    for device in (door, hall):
        device.close()


def test_a_command_waits_for_the_broker_and_for_the_device(server: Server, signer: CommandSigner) -> None:
    door = server.device("door")
    server.broker.stop()
    server.send(signer, "door")
    time.sleep(0.5)
    assert states(server, "door") == ["waiting"]
    server.broker.start()
    # Mosquitto forgets shared subscriptions when it restarts, so the answer may get lost: it is asked for again.
    wait_for(lambda: states(server, "door") == ["done"], "the answer")
    assert len(door.accepted) == 1
    # The broker keeps the command for a device that is offline for a moment.
    door.close()
    server.send(signer, "door")
    wait_for(lambda: states(server, "door") == ["done", "sent"], "the broker's confirmation")
    again = ScriptedDevice(server.broker.port, "door", server.public_key)
    wait_for(lambda: states(server, "door") == ["done", "done"], "the answer")
    assert [claims["seq"] for claims in again.accepted] == [commands_of(server.engine, "door")[1].sequence]
    again.close()


def test_a_device_with_another_key_does_not_answer(server: Server, signer: CommandSigner, tmp_path: Path, invoke: Invoke) -> None:
    invoke("edge-fleet", "key", "create", tmp_path / "other.pem")
    door = ScriptedDevice(server.broker.port, "door", tmp_path / "other.pem.pub")
    wait_for(lambda: server.knows("door"), "the device in the database")
    server.send(signer, "door")
    wait_for(lambda: door.refused, "the command")
    assert states(server, "door") in (["waiting"], ["sent"])
    door.close()


def test_the_command_line_shows_the_answers(server: Server, tmp_path: Path, invoke: Invoke) -> None:
    configuration = tmp_path / "fleet.toml"
    configuration.write_text(f"[server]\ncommand_key = '{server.key}'\n[database]\nurl = '{server.settings.database.url}'\n")
    answers = {"reload": "done", "restart": "refused"}
    door = server.device("door", script=lambda kind, arguments: [{"status": answers[kind], "sentence": f"{kind}."}])
    done = invoke("edge-fleet", "command", "door", "reload", "--config", configuration)
    assert (done.returncode, done.stdout) == (0, "door: done: reload.\n")
    refused = invoke("edge-fleet", "command", "door", "restart", "--config", configuration)
    assert (refused.returncode, refused.stdout) == (5, "door: refused: restart.\n")
    door.close()
    silent = invoke("edge-fleet", "command", "door", "reload", "--config", configuration, "--wait", "0.7")
    assert silent.returncode == 5
    assert "door: " in silent.stderr
    for arguments in (("nobody", "reload"), ("door", "reload", "--level", "info"), ("door", "update_model"), ("door", "dance")):
        wrong = invoke("edge-fleet", "command", *arguments, "--config", configuration)
        assert wrong.returncode == 2
        assert wrong.stderr.startswith("error: ")


def test_a_model_is_rolled_out_and_back_over_the_broker(server: Server) -> None:
    devices: dict[str, ScriptedDevice] = {}

    def take(name: str) -> Callable[[str, Any], list[dict[str, Any]]]:
        def script(kind: str, arguments: Any) -> list[dict[str, Any]]:
            sha256 = arguments["sha256"] if kind == "update_model" else "0" * 64
            devices[name].publish_state(model={"sha256": sha256, "release": 1})
            return [{"status": "progress", "stage": "downloaded"}, {"status": "progress", "stage": "trial"}, {"status": "done"}]

        return script

    for name in ("a", "b", "c"):
        devices[name] = server.device(name, script=take(name))
    with Session(server.engine) as session, session.begin():
        facts = {"sha256": NEW, "name": "new.onnx", "kind": "classifier", "release": 2, "size": 5, "content": b"model"}
        model = Model(signature={}, card={}, created=START, **facts)
        session.add(model)
        session.flush()
        stages = [{"devices": ["a"], "wait_s": 0}, {"percent": 100, "wait_s": 0}]
        number = start_rollout(session, model, stages=stages, by="test").id

    def state() -> str:
        with Session(server.engine) as session:
            return session.get_one(Rollout, number).state

    wait_for(lambda: state() == "done", "the roll-out")
    assert all(len(device.accepted) == 1 for device in devices.values())
    with Session(server.engine) as session, session.begin():
        roll_back(session, number)
    wait_for(lambda: state() == "rolled_back", "the roll-back")
    with Session(server.engine) as session:
        assert set(session.scalars(select(RolloutDevice.state))) == {"rolled_back"}
    assert all([claims["cmd"] for claims in device.accepted] == ["update_model", "revert_model"] for device in devices.values())
    for device in devices.values():
        device.close()


def test_a_server_without_a_key_sends_nothing(engine: Engine, tmp_path: Path) -> None:
    broker = fleet_broker(tmp_path / "broker")
    listener = Listener(broker.port)
    stop = threading.Event()
    settings = Settings(broker=BrokerConfig(url=f"mqtt://127.0.0.1:{broker.port}"))
    thread = threading.Thread(target=run_rollouts, args=(engine, settings, stop))
    thread.start()
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    with contextlib.closing(listener):
        assert listener.messages == []
    broker.stop()
