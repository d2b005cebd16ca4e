"""Roll-outs: stages, failures, devices that are offline, and going back."""

from __future__ import annotations

import sqlite3
import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, delete, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from helpers.fleet.commands import NEW, OLD, add_devices, change_device, commands_of
from helpers.fleet.races import meanwhile
from maskedge.errors import UsageError
from maskedge_fleet.database.tables import Device
from maskedge_fleet.rollouts.control import RolloutConflictError, halt_rollout, pause_rollout, resume_rollout, roll_back

from .conftest import Fleet

CANARY = {"devices": ["a"], "wait_s": 60}
ALL = {"percent": 100, "wait_s": 60}


def act(fleet: Fleet, action: str) -> None:
    with Session(fleet.engine) as session, session.begin():
        if action == "pause":
            pause_rollout(session, fleet.number)
        elif action == "resume":
            resume_rollout(session, fleet.number, fleet.now)
        elif action == "halt":
            halt_rollout(session, fleet.number, "by test")
        else:
            roll_back(session, fleet.number)


def test_stages_follow_each_other_after_their_time(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a", "b", "c")
    fleet.start(CANARY, ALL)
    fleet.run()
    assert fleet.states() == {"a": "sent", "b": "waiting", "c": "waiting"}
    (command,) = commands_of(fleet.engine, "a")
    assert command.arguments["sha256"] == NEW
    assert command.arguments["url"].startswith(f"https://fleet.example.org/api/v1/models/{NEW}/file?expires=")
    for stage, state in (("downloaded", "downloaded"), ("verified", "downloaded"), ("trial", "trial"), ("active", "trial")):
        fleet.answer("a", status="progress", stage=stage)
        fleet.run()
        assert fleet.states()["a"] == state
    fleet.answer("a")
    fleet.run()
    assert fleet.states() == {"a": "active", "b": "waiting", "c": "waiting"}
    fleet.run(58)
    assert fleet.open_commands() == []
    fleet.run(3)
    assert fleet.open_commands() == ["b", "c"]
    fleet.answer("b", "c")
    fleet.run()
    fleet.run(61)
    assert fleet.rollout().state == "done"
    assert {row.before for row in fleet.rows().values()} == {OLD}
    assert all(len(commands_of(fleet.engine, name)) == 1 for name in "abc")


@pytest.mark.parametrize("status", ["failed", "refused"])
def test_a_canary_that_fails_halts_the_roll_out(fleet: Fleet, status: str) -> None:
    add_devices(fleet.engine, "a", "b")
    fleet.start(CANARY, ALL)
    fleet.run()
    # As after the key was revoked in the middle of the roll-out.
    fleet.answer("a", status=status, sentence="its key is not trusted.")
    fleet.run()
    rollout = fleet.rollout()
    assert rollout.state == "halted"
    assert rollout.reason == "stage 1: 1 of 1 devices failed (a: its key is not trusted.)"
    fleet.run(10_000)
    assert fleet.open_commands() == []
    assert fleet.states() == {"a": "failed", "b": "waiting"}


def test_few_failures_in_a_large_stage_do_not_halt(fleet: Fleet) -> None:
    names = [f"d{number}" for number in range(20)]
    add_devices(fleet.engine, *names)
    fleet.start(ALL, limits={"failed_share": 0.1})
    fleet.run()
    fleet.answer("d0", "d1", status="failed")
    fleet.answer(*names[3:])
    fleet.run()
    assert fleet.rollout().state == "running"
    fleet.answer("d2", status="failed")
    fleet.run()
    assert fleet.rollout().state == "halted"
    assert "3 of 20 devices failed" in fleet.rollout().reason


def test_resuming_tries_failed_devices_again(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a", "b")
    fleet.start(CANARY, ALL)
    fleet.run()
    fleet.answer("a", status="failed")
    fleet.run()
    act(fleet, "resume")
    fleet.run()
    assert fleet.open_commands() == ["a"]
    fleet.answer("a")
    fleet.run()
    fleet.run(61)
    assert fleet.open_commands() == ["b"]


def test_devices_that_are_offline_wait_and_get_the_model_when_they_are_back(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a", "b")
    add_devices(fleet.engine, "c", online=False)
    fleet.start(ALL)
    fleet.run()
    fleet.answer("a", "b")
    fleet.run()
    fleet.run(61)
    assert fleet.rollout().state == "done"
    assert fleet.states() == {"a": "active", "b": "active", "c": "waiting"}
    change_device(fleet.engine, "c", online=True)
    fleet.run(100_000)
    assert fleet.open_commands() == ["c"]
    fleet.answer("c")
    fleet.run()
    assert fleet.states()["c"] == "active"


def test_a_stage_without_any_updated_device_does_not_end(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a", online=False)
    add_devices(fleet.engine, "b")
    fleet.start(CANARY, ALL)
    fleet.run(100_000)
    assert (fleet.rollout().stage, fleet.open_commands()) == (0, [])


def test_a_device_that_does_not_allow_updates_waits(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a", "b")
    change_device(fleet.engine, "b", commands=["reload"])
    fleet.start(ALL)
    fleet.run()
    assert fleet.open_commands() == ["a"]


def test_a_command_that_expires_offline_is_sent_again(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a")
    fleet.start(CANARY)
    fleet.run()
    change_device(fleet.engine, "a", online=False)
    for _ in range(5):
        fleet.run(1000)
    assert fleet.states() == {"a": "waiting"}
    assert len(commands_of(fleet.engine, "a")) == 1
    change_device(fleet.engine, "a", online=True)
    fleet.run()
    assert fleet.states() == {"a": "sent"}
    assert [command.state for command in commands_of(fleet.engine, "a")] == ["expired", "waiting"]


def test_a_device_that_was_offline_until_the_command_expired_gets_another(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a")
    fleet.start(CANARY)
    fleet.run()
    # The server was stopped meanwhile, so it has not noticed the expiry.
    fleet.now += timedelta(seconds=5000)
    fleet.answer("a", status="refused", sentence="the command expired")
    fleet.run()
    assert fleet.rollout().state == "running"
    assert fleet.states() == {"a": "sent"}
    assert len(commands_of(fleet.engine, "a")) == 2


def test_a_connected_device_that_never_answers_fails(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a")
    fleet.start(CANARY)
    for _ in range(4):
        fleet.run(1000)
    assert fleet.states() == {"a": "failed"}
    assert len(commands_of(fleet.engine, "a")) == 3
    assert fleet.rollout().state == "halted"


def test_a_lost_answer_does_not_matter_if_the_device_reports_the_model(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a")
    fleet.start(CANARY)
    fleet.run()
    change_device(fleet.engine, "a", model={"sha256": NEW, "release": 2})
    fleet.run(1000)
    assert fleet.states() == {"a": "active"}


def test_a_device_that_has_the_model_gets_no_command(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a", "b")
    change_device(fleet.engine, "a", model={"sha256": NEW, "release": 2})
    fleet.start(ALL)
    fleet.run()
    assert fleet.states() == {"a": "active", "b": "sent"}
    fleet.answer("b")
    fleet.run()
    act(fleet, "roll_back")
    fleet.run()
    # It had the model before the roll-out, so it keeps it.
    assert fleet.open_commands("revert_model") == ["b"]


def test_a_device_that_goes_back_by_itself_halts_the_roll_out(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a", "b")
    fleet.start({"devices": ["a"], "wait_s": 600}, ALL)
    fleet.run()
    fleet.answer("a")
    fleet.run()
    change_device(fleet.engine, "a", model={"sha256": OLD, "release": 1})
    fleet.run(60)
    assert fleet.rollout().state == "running", "the state may be older than the answer"
    fleet.run(120)
    assert fleet.rollout().state == "halted"
    assert "it went back to its previous model" in fleet.rollout().reason


def test_a_late_answer_that_the_model_failed_halts_the_roll_out(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a")
    fleet.start({"devices": ["a"], "wait_s": 600})
    fleet.run()
    fleet.answer("a")
    fleet.run()
    fleet.answer("a", status="failed", stage="rolled_back", sentence="frames were dropped.")
    fleet.run()
    assert "a: frames were dropped." in fleet.rollout().reason


def test_pausing_sends_nothing_and_follows_answers(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a", "b")
    fleet.start(CANARY, ALL)
    fleet.run()
    act(fleet, "pause")
    fleet.answer("a")
    fleet.run(1000)
    assert fleet.states() == {"a": "active", "b": "waiting"}
    assert fleet.rollout().state == "paused"
    act(fleet, "resume")
    fleet.run()
    assert fleet.open_commands() == []
    fleet.run(61)
    assert fleet.open_commands() == ["b"]


def test_rolling_back_returns_every_updated_device_also_later(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a", "b", "c", "d")
    fleet.start(CANARY, ALL)
    fleet.run()
    fleet.answer("a")
    fleet.run()
    fleet.run(61)
    fleet.answer("b", "c")
    fleet.run()
    change_device(fleet.engine, "c", online=False)
    act(fleet, "roll_back")
    fleet.run()
    # d is in the middle of its update: it may still take it.
    assert fleet.open_commands("revert_model") == ["a", "b"]
    fleet.answer("d", status="failed")
    fleet.run()
    fleet.answer("a", "b")
    fleet.run()
    assert fleet.rollout().state == "rolled_back"
    assert fleet.states() == {"a": "rolled_back", "b": "rolled_back", "c": "active", "d": "failed"}
    change_device(fleet.engine, "c", online=True)
    fleet.run(10_000)
    assert fleet.open_commands("revert_model") == ["c"]
    fleet.answer("c")
    fleet.run()
    assert fleet.states()["c"] == "rolled_back"
    fleet.run(10_000)
    assert fleet.open_commands("revert_model") == []


def test_a_device_that_takes_the_model_during_the_roll_back_goes_back_too(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a")
    fleet.start(CANARY)
    fleet.run()
    act(fleet, "roll_back")
    fleet.run()
    assert fleet.rollout().state == "rolling_back"
    fleet.answer("a")
    fleet.run()
    assert fleet.open_commands("revert_model") == ["a"]


def test_a_device_that_never_took_the_model_gets_no_command_to_go_back(fleet: Fleet) -> None:
    # A second revert would take it to the model before its own.
    add_devices(fleet.engine, "a")
    fleet.start(CANARY)
    fleet.run()
    change_device(fleet.engine, "a", online=False)
    act(fleet, "roll_back")
    fleet.run(5000)
    change_device(fleet.engine, "a", online=True)
    fleet.run(5000)
    assert fleet.open_commands("revert_model") == []
    assert fleet.rollout().state == "rolled_back"


def test_a_lost_answer_to_a_revert_does_not_take_a_device_back_twice(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a")
    fleet.start(CANARY)
    fleet.run()
    fleet.answer("a")
    fleet.run()
    act(fleet, "roll_back")
    fleet.run()
    change_device(fleet.engine, "a", model={"sha256": OLD, "release": 1})
    fleet.run(2000)
    assert fleet.states() == {"a": "rolled_back"}
    assert len(commands_of(fleet.engine, "a")) == 2


def test_only_one_roll_out_of_a_kind_runs(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a", "b")
    first = fleet.start(CANARY, ALL)
    with pytest.raises(RolloutConflictError, match=f"the roll-out {first} of another classifier is not over"):
        fleet.start(ALL, digest="e" * 64, release=3)
    fleet.number = first
    act(fleet, "halt")
    assert fleet.rollout().reason == "by test"
    second = fleet.start(ALL, digest="e" * 64, release=3)
    fleet.number = first
    for action in ("resume", "roll_back"):
        with pytest.raises(RolloutConflictError, match="a later roll-out"):
            act(fleet, action)
    fleet.number = second
    with pytest.raises(RolloutConflictError, match="is running, so it cannot become running"):
        act(fleet, "resume")
    with pytest.raises(UsageError, match="there is no roll-out 99"):
        fleet.number = 99
        act(fleet, "pause")


def test_roll_outs_of_two_models_of_a_kind_that_start_in_the_same_moment_wait_for_each_other(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a")
    first = fleet.start(ALL)
    act(fleet, "halt")
    impatient = create_engine(fleet.engine.url)
    event.listen(impatient, "connect", _give_up_soon)
    second = Fleet(impatient, fleet.rollouts._signer)

    def start_another(_: Session) -> None:
        with pytest.raises(OperationalError):
            second.start(ALL, digest="e" * 64, release=4)

    with meanwhile(fleet.engine, "SELECT rollout.id", start_another):
        fleet.start(ALL, digest="d" * 64, release=3)
    fleet.number = first
    with pytest.raises(RolloutConflictError, match="a later roll-out"):
        act(fleet, "resume")
    impatient.dispose()


def _give_up_soon(connection: Any, _: object) -> None:
    is_sqlite = isinstance(connection, sqlite3.Connection)
    connection.execute("PRAGMA busy_timeout = 50" if is_sqlite else "SET lock_timeout = 50")
    if not is_sqlite:
        connection.commit()


def test_a_device_that_is_deleted_during_a_round_does_not_end_it(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a", "b")
    fleet.start(ALL)
    fleet.run()
    fleet.answer("a")
    removal = delete(Device).where(Device.name == "a")
    with meanwhile(fleet.engine, "UPDATE rollout_device", lambda session: session.execute(removal)):
        fleet.run()
    assert (fleet.rollout().state, fleet.states()) == ("running", {"b": "sent"})


def test_scopes_choose_devices(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a", "b", site="Shop")
    add_devices(fleet.engine, "c", group="new")
    for scope, wanted in (({"site": "Shop"}, {"a", "b"}), ({"group": "new"}, {"c"}), ({"devices": ["b", "c"]}, {"b", "c"})):
        fleet.start(ALL, digest=f"{len(wanted)}{next(iter(scope)):a<63}"[:64], scope=scope)
        assert set(fleet.rows()) == wanted
        act(fleet, "halt")
    for scope in ({"site": "Nowhere"}, {"devices": ["x"]}, {"devices": "a"}, {"colour": "red"}):
        with pytest.raises(UsageError):
            fleet.start(ALL, digest=f"{scope!s:b<64}"[:64], scope=scope)
    with pytest.raises(UsageError, match="stage 1 names 'c'"):
        fleet.start({"devices": ["c"]}, digest="c" * 64, scope={"site": "Shop"})


def test_without_an_address_of_the_server_devices_wait(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a")
    fleet.rollouts._public_url = ""
    fleet.start(CANARY)
    fleet.run()
    assert fleet.states() == {"a": "waiting"}
    assert "set [server] public_url" in fleet.rows()["a"].sentence


def test_several_servers_send_each_device_one_command(fleet: Fleet) -> None:
    names = [f"d{number}" for number in range(12)]
    add_devices(fleet.engine, *names)
    fleet.start(ALL)
    threads = [threading.Thread(target=fleet.run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(fleet.states().values()) == {"sent"}
    assert all(len(commands_of(fleet.engine, name)) == 1 for name in names)


class _CrashError(Exception):
    pass


def _crash_at(engine: Engine, number: int) -> tuple[list[int], object]:
    """Raise an exception at a statement, as if the process ended there."""
    count = [0]

    def check(*_: object) -> None:
        count[0] += 1
        if count[0] == number:
            raise _CrashError

    event.listen(engine, "before_cursor_execute", check)
    return count, check


@pytest.mark.parametrize("phase", ["update", "next stage", "back"])
def test_a_server_that_ends_at_any_statement_continues(fleet: Fleet, phase: str) -> None:
    if fleet.engine.dialect.name == "postgresql" and phase != "update":
        pytest.skip("the same statements as in SQLite")
    add_devices(fleet.engine, "a", "b", "c")
    fleet.start(CANARY, ALL)
    if phase != "update":
        fleet.run()
        fleet.answer("a")
        fleet.run()
    if phase == "back":
        act(fleet, "roll_back")
    fleet.now += timedelta(seconds=62)
    crashes, number = 0, 0
    while True:
        number += 1
        count, check = _crash_at(fleet.engine, number)
        try:
            fleet.rollouts.run_round(fleet.now)
        except _CrashError:
            crashes += 1
        finally:
            event.remove(fleet.engine, "before_cursor_execute", check)
        if count[0] < number:
            break
    fleet.run(0)
    expected = {"update": ["a"], "next stage": ["b", "c"], "back": ["a"]}[phase]
    assert fleet.open_commands("revert_model" if phase == "back" else "update_model") == expected
    for name in "abc":
        open_ones = [command for command in commands_of(fleet.engine, name) if command.state == "waiting"]
        assert len(open_ones) == (name in expected)
    assert crashes >= 4
