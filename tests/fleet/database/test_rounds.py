"""Rounds of work that one of several processes does at a time."""

from __future__ import annotations

from pathlib import Path

from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.rounds import only_one


def test_one_of_two_programs_has_the_round_and_no_other_user_can_hold_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.sqlite3'}"
    first, second = open_engine(url), open_engine(url)
    with only_one(first, "rollup") as mine:
        with only_one(second, "rollup") as other:
            assert (mine, other) == (True, False)
        (lock,) = tmp_path.glob("*.lock")
        assert lock.stat().st_mode & 0o777 == 0o600
    with only_one(second, "rollup") as other:
        assert other
