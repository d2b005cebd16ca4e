"""The file with sequence numbers and answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from maskedge import OutputError
from maskedge.remote.ledger import CommandLedger
from maskedge.remote.verification import Command, RefusedError
from maskedge.system.state_folder import instance_id, state_folder


def command(sequence: int, key: str = "a" * 16) -> Command:
    return Command(str(uuid.uuid4()), key, sequence, "reload", {}, 0, 1)


def answer(identity: str) -> dict[str, Any]:
    return {"id": identity, "status": "done"}


def test_a_number_is_taken_once_for_each_key_also_by_the_next_process(tmp_path: Path) -> None:
    ledger = CommandLedger(tmp_path, "a/b")
    ledger.accept(command(5))
    ledger.accept(command(3, "b" * 16))
    again = CommandLedger(tmp_path, "a/b")
    for known in (ledger, again):
        for sequence in (5, 4, 1):
            with pytest.raises(RefusedError, match="number 5 was taken before"):
                known.accept(command(sequence))
    again.accept(command(6))
    again.accept(command(4, "b" * 16))


def test_answers_wait_until_they_are_sent(tmp_path: Path) -> None:
    ledger = CommandLedger(tmp_path, "a/b")
    first, second = command(1), command(2)
    for one in (first, second):
        ledger.accept(one)
    assert set(CommandLedger(tmp_path, "a/b").interrupted()) == {first.identity, second.identity}
    ledger.finish(first.identity, answer(first.identity))
    again = CommandLedger(tmp_path, "a/b")
    assert again.interrupted() == {second.identity: "reload"}
    assert again.unsent() == [answer(first.identity)]
    again.note_sent(first.identity)
    again.note_sent("unknown")
    assert CommandLedger(tmp_path, "a/b").unsent() == []
    assert CommandLedger(tmp_path, "a/b").answer_of(first.identity) == answer(first.identity)


def test_the_file_stays_small(tmp_path: Path) -> None:
    ledger = CommandLedger(tmp_path, "a/b")
    ledger._write = lambda: None  # type: ignore[method-assign]
    for number in range(1, 1001):
        one = command(number)
        ledger.accept(one)
        ledger.finish(one.identity, answer(one.identity))
        if number % 2:
            ledger.note_sent(one.identity)
    del ledger._write  # type: ignore[method-assign]
    ledger.accept(command(1001))
    assert len(json.loads((tmp_path / "commands-a_b.json").read_text())["answers"]) <= 128
    assert (tmp_path / "commands-a_b.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"version": 2}', '{"version": 1, "sequences": {"a": "x"}}', "\udcff"])
def test_a_damaged_file_is_refused_so_that_no_command_is_replayed(tmp_path: Path, content: str) -> None:
    (tmp_path / "commands-a_b.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(OutputError, match="old commands could be repeated without it"):
        CommandLedger(tmp_path, "a/b")


def test_a_command_is_not_accepted_when_its_number_cannot_be_stored(tmp_path: Path) -> None:
    ledger = CommandLedger(tmp_path / "state", "a/b")
    (tmp_path / "state").rmdir()
    one = command(1)
    with pytest.raises(OutputError, match="cannot be written"):
        ledger.accept(one)
    (tmp_path / "state").mkdir()
    ledger.accept(one)


KILLED = """
import sys
from pathlib import Path
from maskedge.remote.ledger import CommandLedger
from maskedge.remote.verification import Command
ledger = CommandLedger(Path(sys.argv[1]), "a/b")
for number in range(1, 10_000):
    ledger.accept(Command(str(number), "a" * 16, number, "reload", {}, 0, 1))
    print(number, flush=True)
"""


def test_a_killed_process_leaves_the_number_of_every_command_that_it_began(tmp_path: Path) -> None:
    for _ in range(3):
        (tmp_path / "commands-a_b.json").unlink(missing_ok=True)
        with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(10):
                process.stdout.readline()
            process.kill()
            last = max(10, *(int(line) for line in process.stdout.read().split("\n")[:-1] or ["10"]))
        with pytest.raises(RefusedError):
            CommandLedger(tmp_path, "a/b").accept(command(last))


def test_stricter_privacy_is_kept(tmp_path: Path) -> None:
    ledger = CommandLedger(tmp_path, "a/b")
    ledger.set_privacy({"anonymize": True})
    ledger.set_privacy({"stats_only": True, "anonymize": False})
    assert CommandLedger(tmp_path, "a/b").privacy == {"stats_only": True}


def test_the_identity_of_an_installation_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = instance_id(tmp_path / "new")
    assert instance_id(tmp_path / "new") == first
    assert instance_id(tmp_path / "other") != first
    (tmp_path / "new" / "instance").write_text("damaged")
    assert instance_id(tmp_path / "new") != first
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}{os.pathsep}/other")
    assert state_folder() == tmp_path
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user"))
    assert state_folder() == tmp_path / "user" / "maskedge"
