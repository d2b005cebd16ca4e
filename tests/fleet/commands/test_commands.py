"""Commands: their numbers, signatures and expiry, and how they reach the broker once and in order."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from helpers.fleet.commands import START, add_devices, answer_command, change_device, commands_of
from maskedge.errors import UsageError
from maskedge.modelfile.signature import load_public_key
from maskedge_fleet.commands.kinds import KINDS
from maskedge_fleet.commands.outbox import ANSWER_S, PROGRESS_S, expire, send_waiting
from maskedge_fleet.commands.queue import find_device, queue_command
from maskedge_fleet.commands.signing import CommandSigner
from maskedge_fleet.database.tables import Command

FIRST = int(START.timestamp() * 1000)
"""Number of the first command at `START`."""


def send(engine: Engine, signer: CommandSigner, device: str, kind: str = "reload", /, **arguments: object) -> str:
    """Queue a command at `START`, and return its id."""
    with Session(engine) as session, session.begin():
        return queue_command(session, find_device(session, device), kind, arguments, signer, by="test", now=START).id


class Broker:
    """Takes published messages."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []
        self.confirms = True
        self._lock = threading.Lock()

    def publish(self, messages: Sequence[tuple[str, str]]) -> list[bool]:
        with self._lock:
            self.messages += messages
        return [self.confirms] * len(messages)


def test_a_command_is_a_token_for_one_device_that_expires(engine: Engine, signer: CommandSigner, command_key: Path) -> None:
    add_devices(engine, "door", "hall")
    number = send(engine, signer, "door", "log_level", level="debug")
    (command,) = commands_of(engine, "door")
    public = load_public_key(command_key.with_name("commands.pem.pub"))
    claims = jwt.decode(command.token, public, ["EdDSA"], audience="door", options={"verify_exp": False})
    assert claims == {
        "jti": number, "aud": "door", "iat": START.timestamp(), "exp": START.timestamp() + 300, "seq": FIRST,
        "cmd": "log_level", "args": {"level": "debug"},
    }  # fmt: skip
    assert jwt.get_unverified_header(command.token)["kid"] == signer.key
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(command.token, public, ["EdDSA"], audience="hall", options={"verify_exp": False})
    with pytest.raises(jwt.ExpiredSignatureError):
        jwt.decode(command.token, public, ["EdDSA"], audience="door")


def test_numbers_rise_for_each_device_even_if_many_queue_at_once(engine: Engine, signer: CommandSigner) -> None:
    add_devices(engine, "door", "hall")
    threads = [threading.Thread(target=send, args=(engine, signer, name)) for name in ("door", "hall") for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("door", "hall"):
        assert [command.sequence for command in commands_of(engine, name)] == list(range(FIRST, FIRST + 8))


def test_a_command_that_is_rolled_back_takes_no_number(engine: Engine, signer: CommandSigner) -> None:
    add_devices(engine, "door")
    with Session(engine) as session:
        queue_command(session, find_device(session, "door"), "reload", {}, signer, by="test")
        session.rollback()
    send(engine, signer, "door")
    assert [command.sequence for command in commands_of(engine, "door")] == [FIRST]


def test_numbers_rise_after_a_device_was_deleted_and_after_a_clock_was_set_back(engine: Engine, signer: CommandSigner) -> None:
    numbers = []
    for seconds in (0, 1, -3600):
        add_devices(engine, *(["door"] if seconds >= 0 else []))
        with Session(engine) as session, session.begin():
            now = START + timedelta(seconds=seconds)
            door = find_device(session, "door")
            numbers.append(queue_command(session, door, "reload", {}, signer, by="test", now=now).sequence)
            if seconds == 0:
                session.execute(delete(Command))
                session.delete(door)
    assert numbers == [FIRST, FIRST + 1000, FIRST + 1001]


def test_invalid_commands_are_refused(engine: Engine, signer: CommandSigner) -> None:
    add_devices(engine, "door")
    wrong: list[tuple[str, dict[str, object]]] = [
        ("reload", {"now": True}),
        ("snapshot", {"camera": "a/b"}),
        ("snapshot", {"camera": 3}),
        ("privacy", {}),
        ("privacy", {"anonymize": "yes"}),
        ("log_level", {"level": "loud"}),
        ("update_model", {"url": "https://example.org"}),
        ("revert_model", {"kind": "haar"}),
        ("format_disk", {}),
    ]
    for kind, arguments in wrong:
        with pytest.raises(UsageError):
            send(engine, signer, "door", kind, **arguments)
    assert commands_of(engine, "door") == []


def test_a_device_gets_no_command_that_it_does_not_allow(engine: Engine, signer: CommandSigner) -> None:
    add_devices(engine, "door")
    change_device(engine, "door", commands=["update_model"])
    send(engine, signer, "door", "revert_model")
    with pytest.raises(UsageError, match=r"door does not allow reload: add 'reload' to \[fleet\] commands"):
        send(engine, signer, "door")
    with pytest.raises(UsageError, match="there is no device 'dor'"):
        send(engine, signer, "dor")


def test_only_an_admin_restarts_devices_and_changes_models() -> None:
    assert [kind.name for kind in KINDS.values() if kind.admin] == ["restart", "update_model", "revert_model"]


def test_commands_are_sent_in_order_and_once(engine: Engine, signer: CommandSigner) -> None:
    add_devices(engine, "door", "hall")
    for name in ("door", "door", "hall", "door"):
        send(engine, signer, name)
    broker = Broker()
    # The broker must have confirmed a command before the next one to the device is sent.
    assert [send_waiting(engine, broker.publish, START) for _ in range(4)] == [2, 1, 1, 0]
    assert [topic for topic, _ in broker.messages] == [f"maskedge/{name}/command" for name in ("door", "hall", "door", "door")]
    assert [token for topic, token in broker.messages if "door" in topic] == [one.token for one in commands_of(engine, "door")]
    assert {command.state for command in commands_of(engine, "door")} == {"sent"}


def test_an_unconfirmed_command_stays_and_holds_back_the_next(engine: Engine, signer: CommandSigner) -> None:
    add_devices(engine, "door")
    first, _ = send(engine, signer, "door"), send(engine, signer, "door")
    broker = Broker()
    broker.confirms = False
    assert [send_waiting(engine, broker.publish, START) for _ in range(2)] == [0, 0]
    broker.confirms = True
    assert [send_waiting(engine, broker.publish, START) for _ in range(3)] == [1, 1, 0]
    identities = [jwt.decode(token, options={"verify_signature": False})["jti"] for _, token in broker.messages]
    assert identities[:3] == [first] * 3
    assert identities[3] != first


def test_a_sender_that_dies_before_it_records_the_confirmation_sends_the_same_token_again(
    engine: Engine, signer: CommandSigner
) -> None:
    add_devices(engine, "door")
    send(engine, signer, "door")
    broker = Broker()

    def die(messages: Sequence[tuple[str, str]]) -> list[bool]:
        broker.publish(messages)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send_waiting(engine, die, START)
    assert send_waiting(engine, broker.publish, START) == 1
    assert broker.messages[0] == broker.messages[1]


def test_an_unanswered_command_is_sent_again_to_a_connected_device(engine: Engine, signer: CommandSigner) -> None:
    add_devices(engine, "door", "hall")
    send(engine, signer, "door")
    number = send(engine, signer, "hall")
    change_device(engine, "hall", online=False)
    broker = Broker()
    # After 30 s, then after twice the time each, until it expires.
    moments = (0, 1, 29, 30, 59, 60, 119, 120, 239, 240, 299, 301, 400)
    sent = [second for second in moments if send_waiting(engine, broker.publish, START + timedelta(seconds=second))]
    assert sent == [0, 30, 60, 120, 240]
    assert len({token for topic, token in broker.messages if "door" in topic}) == 1
    assert len([topic for topic, _ in broker.messages if "hall" in topic]) == 1, "the broker keeps it for the device"
    # The answer to a command in progress may get lost as well.
    change_device(engine, "hall", online=True)
    answer_command(engine, number, "progress", START, stage="trial")
    assert send_waiting(engine, broker.publish, START + timedelta(seconds=500)) == 1


def test_two_senders_send_no_command_twice(engine: Engine, signer: CommandSigner) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("in SQLite, a lock lets one process send")
    names = [f"device {number}" for number in range(20)]
    add_devices(engine, *names)
    for name in names * 2:
        send(engine, signer, name)
    broker = Broker()

    def work() -> None:
        while any(command.state == "waiting" for name in names for command in commands_of(engine, name)):
            send_waiting(engine, broker.publish, START)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tokens = [token for _, token in broker.messages]
    assert len(tokens) == len(set(tokens)) == 40
    numbers: dict[str, list[int]] = {}
    for topic, token in broker.messages:
        numbers.setdefault(topic, []).append(jwt.decode(token, options={"verify_signature": False})["seq"])
    assert set(map(tuple, numbers.values())) == {(FIRST, FIRST + 1)}


def test_commands_expire_if_nobody_answers(engine: Engine, signer: CommandSigner) -> None:
    add_devices(engine, "door")
    waiting, sent, busy, done = (send(engine, signer, "door") for _ in range(4))
    broker = Broker()
    with Session(engine) as session, session.begin():
        session.get_one(Command, sent).state = "sent"
    answer_command(engine, busy, "progress", START, stage="downloaded")
    answer_command(engine, done, "done", START)
    change_device(engine, "door", online=False)

    def states(seconds: float) -> dict[str, str]:
        expire(engine, START + timedelta(seconds=seconds))
        with Session(engine) as session:
            return {row.id: row.state for row in session.execute(select(Command.id, Command.state))}

    assert states(300 + ANSWER_S) == {waiting: "waiting", sent: "sent", busy: "progress", done: "done"}
    assert send_waiting(engine, broker.publish, START + timedelta(seconds=301)) == 0
    assert states(301 + ANSWER_S) == {waiting: "expired", sent: "expired", busy: "progress", done: "done"}
    assert states(PROGRESS_S + 1)[busy] == "expired"
