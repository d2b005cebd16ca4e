"""`edge-fleet serve` with a real broker and a real `edge-run`: commands, a roll-out and back, an alert."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from helpers.brokers import Mosquitto, wait_for
from helpers.fleet.device_client import fleet_broker
from helpers.fleet.device_process import LIVE_DEMO, DeviceProcess
from helpers.fleet.model_updates import key_pair, same_model
from helpers.fleet.receiver import HttpReceiver
from helpers.support import command_line, environment, free_port
from maskedge.modelfile.signature import sign_model

COMMANDS = ["reload", "restart", "snapshot", "privacy", "log_level", "update_model"]


class Server:
    """A process of `edge-fleet serve`.

    Attributes:
        client: Client of its API, with the token of the admin.
    """

    def __init__(self, folder: Path, broker: Mosquitto, public_model_key: Path, receiver: HttpReceiver) -> None:
        self._folder = folder
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        subprocess.run(command_line(("edge-fleet", "key", "create", folder / "commands.pem")), check=True, capture_output=True)
        (folder / "fleet.toml").write_text(
            f'[server]\nserve = "127.0.0.1:{port}"\ntoken_limit = "10000/minute"\naddress_limit = "10000/minute"\n'
            f'public_url = "{self.url}"\ncommand_key = "{folder}/commands.pem"\n'
            f'[database]\nurl = "sqlite:///{folder}/fleet.sqlite3"\n'
            f'[broker]\nurl = "mqtt://127.0.0.1:{broker.port}"\n'
            f'[models]\ntrusted_keys = ["{public_model_key}"]\n'
            f'[alerts]\nevery_s = 0.3\n[notify]\nurls = ["{receiver.url}"]\n'
            '[[alert]]\nname = "silent"\nwhen = "device_silent"\nseconds = 10\n'
        )
        self.start()
        wait_for(lambda: "shown only now: " in self.output, "the token")
        token = re.findall(r"mef_[\w-]+", self.output)[0]
        self.client = httpx.Client(base_url=f"{self.url}/api/v1", headers={"Authorization": f"Bearer {token}"}, trust_env=False)
        self.wait_until_ready()

    def start(self) -> None:
        """Start the process."""
        with (self._folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command_line(("edge-fleet", "serve", "--config", self._folder / "fleet.toml")),
                stdout=log,
                stderr=log,
                env=environment({"PYTHONUNBUFFERED": "1"}),
            )

    def kill(self) -> None:
        """Kill the process, and wait until it is gone."""
        self.process.kill()
        self.process.wait(60)

    def wait_until_ready(self) -> None:
        """Wait until the API answers."""

        def ready() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return self.client.get(f"{self.url}/readyz").status_code == 200
            return False

        wait_for(ready, "the API")

    @property
    def output(self) -> str:
        """All that it has printed."""
        return (self._folder / "server.log").read_text()

    def get(self, path: str) -> Any:
        """Return the JSON of a path."""
        time.sleep(0.1)
        response = self.client.get(path)
        assert response.status_code == 200, response.text
        return response.json()

    def command(self, kind: str, **arguments: Any) -> dict[str, Any]:
        """Send a command to the device, and return it with its answer."""
        sent = self.client.post("/devices/door/commands", json={"command": kind, "arguments": arguments})
        assert sent.status_code == 201, sent.text
        number = sent.json()["id"]

        def found() -> list[dict[str, Any]]:
            rows: list[dict[str, Any]] = self.get("/devices/door/commands")["items"]
            return [row for row in rows if row["id"] == number and row["state"] in ("done", "refused", "failed", "expired")]

        wait_for(found, f"the answer to {kind}")
        return found()[0]


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    receiver = HttpReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = fleet_broker(tmp_path / "broker")
    yield broker
    broker.stop()


@pytest.fixture
def open_device(tmp_path: Path, broker: Mosquitto) -> Iterator[Callable[[Path], DeviceProcess]]:
    opened: list[DeviceProcess] = []

    def open_one(model_key: Path) -> DeviceProcess:
        folder = tmp_path / "device"
        folder.mkdir()
        keys = f'commands = {json.dumps(COMMANDS)}\ntrusted_keys = ["{tmp_path}/commands.pem.pub"]'
        # A model is confirmed after a minute of frames: four in a second are enough, and leave the machine to other tests.
        source = LIVE_DEMO.replace("fps = 10", "fps = 4")
        # On a busy machine, the trial of the same network may take much longer.
        models = f'[model]\ntrusted_keys = ["bundled", "{model_key}"]\nupdate_latency = 20\nupdate_agreement = 0.3\n'
        opened.append(DeviceProcess(folder, broker.port, keys, f"{source}{models}"))
        return opened[0]

    yield open_one
    for device in opened:
        if device.process.poll() is None:
            device.kill()


@pytest.mark.slow
def test_a_fleet_of_one_device_from_its_first_message_to_its_last(
    tmp_path: Path, broker: Mosquitto, receiver: HttpReceiver, open_device: Callable[[Path], DeviceProcess]
) -> None:
    model_key, public_model_key = key_pair(tmp_path)
    server = Server(tmp_path, broker, public_model_key, receiver)
    device = open_device(public_model_key)
    try:
        wait_for(lambda: any(row["online"] and row["model"]["sha256"] for row in server.get("/devices")["items"]), "the device", 60)
        wait_for(lambda: server.get("/devices/door")["commands"], "the commands that it allows")

        # Commands.
        assert server.command("reload")["state"] == "done"
        assert server.command("log_level", level="debug")["state"] == "done"
        assert server.command("snapshot", camera="camera")["state"] == "done"
        wait_for(lambda: server.client.get("/cameras/door/camera/snapshot").status_code == 200, "the picture")
        picture = server.client.get("/cameras/door/camera/snapshot").content
        assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape == (480, 640, 3)
        assert server.command("revert_model")["state"] in ("failed", "refused"), "there is no previous model"

        # A signed model, rolled out while the server is killed.
        content = same_model("new")
        digest = hashlib.sha256(content).hexdigest()
        files = {"model": ("new.onnx", content), "signature": ("new.onnx.sig", json.dumps(sign_model(content, model_key, 7)))}
        uploaded = server.client.post("/models", files=files, timeout=60)
        assert uploaded.status_code == 201, uploaded.text
        before = server.get("/devices/door")["model"]["sha256"]
        started = server.client.post("/rollouts", json={"model": digest, "stages": [{"devices": ["door"], "wait_s": 0}]})
        assert started.status_code == 201, started.text
        path = f"/rollouts/{started.json()['id']}"
        wait_for(lambda: server.get(path)["devices"][0]["state"] != "waiting", "the command")
        server.kill()
        server.start()
        server.wait_until_ready()
        wait_for(lambda: server.get(path)["state"] != "running", "the roll-out", 240)
        rollout = server.get(path)
        assert (rollout["state"], rollout["devices"][0]["state"]) == ("done", "active"), (rollout, device.log)
        wait_for(
            lambda: server.get("/devices/door")["model"] | {"file": ""} == {"file": "", "sha256": digest, "release": 7}, "the state"
        )

        # And back.
        assert server.client.post(f"{path}/roll_back").status_code == 200
        wait_for(lambda: server.get(path)["state"] == "rolled_back", "the roll-back", 60)
        assert server.get(path)["devices"][0]["state"] == "rolled_back"
        wait_for(lambda: server.get("/devices/door")["model"]["sha256"] == before, "the state")
        assert len([row for row in server.get("/devices/door/commands")["items"] if row["command"] == "update_model"]) == 1

        # The device disappears.
        device.kill()
        wait_for(lambda: receiver.messages, "the notification", 60)
        assert receiver.messages[-1]["title"] == "silent (door)"
        assert [row["rule"] for row in server.get("/alerts")["items"]] == ["silent"]
        assert "geheim" not in server.output
        server.process.terminate()
        assert server.process.wait(60) == 0, server.output
    except AssertionError:
        print(server.output[-5000:], device.log[-5000:])
        raise
    finally:
        server.kill()
        server.client.close()


def test_a_server_that_no_device_has_reached_ends_cleanly(tmp_path: Path, broker: Mosquitto, receiver: HttpReceiver) -> None:
    _, public_model_key = key_pair(tmp_path)
    server = Server(tmp_path, broker, public_model_key, receiver)
    assert server.get("/devices")["items"] == []
    time.sleep(0.5)
    server.process.terminate()
    try:
        assert server.process.wait(60) == 0, server.output
    finally:
        server.client.close()
        server.kill()
