"""Models and roll-outs through the API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from httpx import Response
from sqlalchemy import select

from helpers.fleet.commands import add_devices, commands_of
from maskedge.modelfile.contract import MODELS
from maskedge.modelfile.signature import load_private_key, sign_model
from maskedge_fleet.commands.signing import CommandSigner
from maskedge_fleet.database.tables import Rollout
from maskedge_fleet.rollouts.engine import RolloutEngine
from maskedge_fleet.settings import ModelsConfig

from .conftest import Api

CONTENT = (MODELS / "edgenet.onnx").read_bytes()
NEWER = (MODELS / "edgenet.int8.onnx").read_bytes()


@pytest.fixture
def fleet(open_api: Callable[..., Api], command_key: Path) -> Api:
    """The application with keys, and two devices."""
    api = open_api(command_key=command_key, public_url="https://fleet.example.org")
    app: Any = api.client.app
    app.state.settings = app.state.settings._replace(models=ModelsConfig(trusted_keys=(command_key.with_name("commands.pem.pub"),)))
    add_devices(api.engine, "a", "b")
    return api


def upload(api: Api, key: Path, content: bytes = CONTENT, release: int = 2, role: str = "admin") -> Response:
    signature = sign_model(content, load_private_key(key), release)
    files = {"model": ("edge.onnx", content), "signature": ("edge.onnx.sig", str(signature).replace("'", '"').encode())}
    return api("POST", "/models", role, files=files)


def test_a_model_is_uploaded_and_downloaded_by_a_device(fleet: Api, command_key: Path, signer: CommandSigner) -> None:
    stored = upload(fleet, command_key)
    assert stored.status_code == 201, stored.text
    (model,) = fleet.get("/models")["items"]
    assert model == stored.json()
    assert (model["name"], model["kind"], model["release"], model["size"], model["key"]) == (
        "edge.onnx", "classifier", 2, len(CONTENT), signer.key,
    )  # fmt: skip
    assert upload(fleet, command_key).json() == model, "again"
    assert upload(fleet, command_key, NEWER, role="operator").status_code == 403
    status = upload(fleet, command_key, NEWER, release=2)
    assert (status.status_code, "sign it with a higher one" in status.text) == (400, True)
    # The address is in the command to the device, and in no list.
    sent = fleet("POST", "/devices/a/commands", json={"command": "update_model", "arguments": {"sha256": model["sha256"][:10]}})
    assert (sent.status_code, sent.json()["arguments"]) == (
        201, {"sha256": model["sha256"], "size": len(CONTENT), "kind": "classifier"},
    )  # fmt: skip
    address = urlsplit(commands_of(fleet.engine, "a")[0].arguments["url"])
    found = fleet.client.get(f"{address.path}?{address.query}")
    assert (found.status_code, found.content) == (200, CONTENT)
    for query in ("", address.query.replace("expires=", "expires=1"), address.query[:-1]):
        assert fleet.client.get(f"{address.path}?{query}").status_code == 403
    assert fleet.client.get(f"/api/v1/models/{'g' * 64}/file?{address.query}").status_code == 403
    actions = [row["action"] for row in fleet.get("/audit", "admin")["items"]]
    assert actions == ["command.update_model", "model.add"]


def test_a_model_that_is_not_signed_by_a_trusted_key_is_refused(fleet: Api, tmp_path: Path) -> None:
    files = {"model": ("a.onnx", CONTENT), "signature": ("a.onnx.sig", b"{}")}
    assert fleet.error("POST", "/models", files=files)[0] == 400
    assert fleet.error("POST", "/models", files={"model": ("a.onnx", CONTENT)})[0] == 400
    assert fleet.get("/models")["items"] == []


def test_a_roll_out_is_started_watched_and_rolled_back(fleet: Api, command_key: Path, signer: CommandSigner) -> None:
    digest = upload(fleet, command_key).json()["sha256"]
    content = {"model": digest, "stages": [{"devices": ["a"], "wait_s": 60}, {"percent": 100}], "limits": {"failed_share": 0.5}}
    started = fleet("POST", "/rollouts", json=content)
    assert started.status_code == 201, started.text
    number = started.json()["id"]
    assert fleet.error("POST", "/rollouts", json=content)[0] == 409
    RolloutEngine(fleet.engine, signer, "https://fleet.example.org").run_round()
    rollout = fleet.get(f"/rollouts/{number}")
    assert [(row["device"], row["stage"], row["state"]) for row in rollout["devices"]] == [("a", 0, "sent"), ("b", 1, "waiting")]
    (row,) = fleet.get("/rollouts")["items"]
    assert row["devices_by_state"] == {"sent": 1, "waiting": 1}
    assert (row["model"]["release"], row["limits"]["failed_share"], row["state"], row["stage"]) == (2, 0.5, "running", 0)
    for action, state in (("pause", "paused"), ("resume", "running"), ("halt", "halted"), ("roll_back", "rolling_back")):
        changed = fleet("POST", f"/rollouts/{number}/{action}")
        assert (changed.status_code, changed.json()["state"]) == (200, state)
    status, sentence = fleet.error("POST", f"/rollouts/{number}/pause")
    assert (status, sentence) == (409, f"The roll-out {number} is rolling back, so it cannot become paused.")
    with fleet.session() as session:
        assert session.scalars(select(Rollout.reason)).one() == "by admin"
    actions = [row["action"] for row in fleet.get("/audit", "admin")["items"]][:5]
    assert actions == ["rollout.roll_back", "rollout.halt", "rollout.resume", "rollout.pause", "rollout.start"]


def test_wrong_roll_outs_are_refused(fleet: Api, command_key: Path) -> None:
    digest = upload(fleet, command_key).json()["sha256"]
    for content, words in (
        ({}, "model is missing"),
        ({"model": "f" * 64}, "There is no model"),
        ({"model": "\0" * 8}, "There is no model"),
        ({"model": digest, "scope": {"site": "\0"}}, "Site of the scope is the name"),
        ({"model": digest, "scope": {"group": 7}}, "Group of the scope is the name"),
        ({"model": digest, "limits": {"errors_change": 10**400}}, "a number of 401 digits"),
        ({"model": digest, "stages": []}, "A roll-out has 1 to 20 stages"),
        ({"model": digest, "stages": [{"percent": 0}]}, "Percent of stage 1"),
        ({"model": digest, "scope": {"site": "Nowhere"}}, "The roll-out has no devices"),
        ({"model": digest, "limits": {"colour": 1}}, "There is no limit 'colour'"),
    ):
        status, sentence = fleet.error("POST", "/rollouts", json=content)
        assert (status, words.lower() in sentence.lower()) == (400, True), sentence
    assert fleet.error("GET", "/rollouts/99", "viewer")[0] == 404
    assert fleet.error("POST", "/rollouts/99/pause")[0] == 404
    assert fleet.error("POST", "/rollouts/1/dance")[0] == 400
    assert fleet.error("POST", "/rollouts", "operator", json={"model": digest})[0] == 403
    assert fleet.get("/rollouts")["items"] == []
