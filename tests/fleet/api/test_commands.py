"""Commands through the API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jwt
import pytest

from helpers.fleet.commands import add_devices, change_device, commands_of

from .conftest import Api


@pytest.fixture
def door(open_api: Callable[..., Api], command_key: Path) -> Api:
    """The application with a key, and a device."""
    api = open_api(command_key=command_key, public_url="https://fleet.example.org")
    add_devices(api.engine, "door")
    return api


def test_a_command_is_signed_listed_and_recorded(door: Api) -> None:
    sent = door("POST", "/devices/door/commands", "operator", json={"command": "log_level", "arguments": {"level": "debug"}})
    assert sent.status_code == 201
    (row,) = door.get("/devices/door/commands")["items"]
    assert row == sent.json()
    assert (row["command"], row["arguments"], row["state"], row["created_by"]) == (
        "log_level",
        {"level": "debug"},
        "waiting",
        "operator",
    )
    (command,) = commands_of(door.engine, "door")
    claims = jwt.decode(command.token, options={"verify_signature": False})
    assert (claims["jti"], claims["exp"] - claims["iat"]) == (row["id"], 300)
    assert command.token not in sent.text
    (entry,) = door.get("/audit", "admin")["items"]
    assert (entry["token"], entry["action"], entry["target"]) == ("operator", "command.log_level", "door")


def test_some_commands_need_an_admin(door: Api) -> None:
    for kind in ("restart", "update_model", "revert_model"):
        status, sentence = door.error("POST", "/devices/door/commands", "operator", json={"command": kind})
        assert (status, f"{kind} needs the role admin" in sentence) == (403, True)
    assert door("POST", "/devices/door/commands", "admin", json={"command": "restart"}).status_code == 201
    assert door.error("POST", "/devices/door/commands", "viewer", json={"command": "reload"})[0] == 403


def test_wrong_commands_are_refused_with_the_reason(door: Api) -> None:
    path = "/devices/door/commands"
    assert door.error("POST", "/devices/nobody/commands", json={"command": "reload"})[0] == 404
    assert door.error("GET", "/devices/nobody/commands")[0] == 404
    for content, words in (
        ({"command": "dance"}, "There is no command 'dance'"),
        ({"command": "reload", "arguments": {"now": 1}}, "The command has no argument 'now'"),
        ({"command": "reload", "expires_s": 0}, "Expires_s"),
        ({"command": "update_model", "arguments": {"sha256": "abc"}}, "There is no model 'abc'"),
        ({"command": "update_model"}, "There is no model ''"),
        ({}, "Command is missing"),
    ):
        status, sentence = door.error("POST", path, json=content)
        assert (status, words in sentence) == (400, True), sentence
    change_device(door.engine, "door", commands=[])
    assert "does not allow reload" in door.error("POST", path, json={"command": "reload"})[1]
    assert commands_of(door.engine, "door") == []


def test_commands_are_listed_in_pages(door: Api) -> None:
    for _ in range(5):
        door("POST", "/devices/door/commands", json={"command": "reload"})
    first = door.get("/devices/door/commands", limit=3)
    second = door.get("/devices/door/commands", limit=3, cursor=first["next"])
    assert [row["id"] for row in first["items"] + second["items"]] == [
        command.id for command in commands_of(door.engine, "door")[::-1]
    ]
    assert second["next"] is None


def test_without_a_key_there_are_no_commands(api: Api) -> None:
    add_devices(api.engine, "door")
    status, sentence = api.error("POST", "/devices/door/commands", json={"command": "reload"})
    assert (status, "set [server] command_key" in sentence) == (400, True)
