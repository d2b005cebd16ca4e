"""Rounds of work that one of several processes does at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import migrate, unreachable
from maskedge_fleet.database.rounds import only_one
from maskedge_fleet.database.tables import Site


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


def test_a_conflict_with_another_program_is_not_a_database_that_is_away(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'fleet.sqlite3'}")
    migrate(engine)
    with pytest.raises(IntegrityError) as conflict, Session(engine) as session:
        session.execute(insert(Site).values([{"name": "Shop"}, {"name": "Shop"}]))
    assert str(unreachable(engine, conflict.value)) == (
        "another program has changed or deleted the same rows in this moment (UNIQUE constraint failed: site.name): try again."
    )
    engine.dispose()
