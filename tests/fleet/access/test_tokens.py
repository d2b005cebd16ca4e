"""Tokens: what is stored, who is let in, and the limits of requests."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from maskedge.errors import UsageError
from maskedge_fleet.access.rates import RateLimits
from maskedge_fleet.access.tokens import COMMAND_LINE, Caller, create_token, find_token, record_use, revoke_token
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.tables import Token
from maskedge_fleet.settings import ServerConfig


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    """A session of an empty database of each kind."""
    engine = open_engine(database)
    with Session(engine) as opened:
        yield opened
    engine.dispose()


def test_only_the_hash_of_a_token_is_stored(session: Session) -> None:
    secret = create_token(session, "Ada", "admin")
    session.commit()
    assert secret.startswith("mef_")
    assert len(secret) == 4 + 43  # 256 bits in base64
    (row,) = session.execute(text("SELECT * FROM token")).all()
    assert secret not in str(row)
    assert hashlib.sha256(secret.encode()).hexdigest() in str(row)


def test_only_a_valid_token_is_found(session: Session) -> None:
    secrets = {name: create_token(session, name, "viewer", days=days) for name, days in (("a", None), ("b", 1.0), ("c", 1.0))}
    session.query(Token).filter_by(name="c").update({"expires": datetime.now(timezone.utc) - timedelta(seconds=1)})
    assert {name for name, secret in secrets.items() if find_token(session, secret)} == {"a", "b"}
    revoke_token(session, "a")
    session.flush()
    assert find_token(session, secrets["a"]) is None
    for wrong in ("", "mef_", secrets["b"][4:], secrets["b"] + "A", secrets["b"].upper(), secrets["b"] + "\n", "'--"):
        assert find_token(session, wrong) is None


def test_the_time_of_use_is_written_once_a_minute(session: Session) -> None:
    secret = create_token(session, "Ada", "viewer")
    writes = []
    for _ in range(5):
        token = find_token(session, secret)
        assert token is not None
        writes.append(record_use(session, token))
        session.commit()
    assert writes == [True, False, False, False, False]
    session.query(Token).update({"used": datetime.now(timezone.utc) - timedelta(seconds=61)})
    token = find_token(session, secret)
    assert token is not None
    assert record_use(session, token)


def test_a_name_belongs_to_one_token_for_ever(session: Session) -> None:
    create_token(session, "Ada", "viewer")
    revoke_token(session, "Ada")
    with pytest.raises(UsageError, match="revoked"):
        create_token(session, "Ada", "admin")


@pytest.mark.parametrize(("name", "role"), [("", "viewer"), ("a/b", "viewer"), ("a" * 65, "viewer"), ("Ada", "root"), ("Ada", "")])
def test_a_wrong_name_or_role_is_refused(session: Session, name: str, role: str) -> None:
    with pytest.raises(UsageError):
        create_token(session, name, role)


def test_each_role_may_do_what_the_lower_ones_may() -> None:
    operator = Caller(1, "Ada", "operator")
    assert [operator.may(role) for role in ("viewer", "operator", "admin")] == [True, True, False]
    assert COMMAND_LINE.may("admin")


def test_a_limit_counts_each_key_for_itself() -> None:
    rates = RateLimits(ServerConfig(address_limit="2/minute"))
    assert [rates.count("address", "a") > 0 for _ in range(3)] == [False, False, True]
    assert rates.count("address", "b") == 0
    assert rates.count("token", "a") == 0


def test_requests_on_many_threads_are_counted_exactly() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(16) as threads:
            for _ in range(20):
                rates = RateLimits(ServerConfig(address_limit="100/day"))
                waits = list(threads.map(lambda _, rates=rates: rates.count("address", "a"), range(150)))
                assert waits.count(0) == 100
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("limit", ["", "fast", "10", "10/fortnight", "-1/minute"])
def test_a_wrong_limit_is_refused_with_a_sentence(limit: str) -> None:
    with pytest.raises(UsageError, match=r"server\.login_limit is a limit such as"):
        RateLimits(ServerConfig(login_limit=limit))
