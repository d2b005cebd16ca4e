"""Tokens of the API: 256 random bits, of which only the SHA-256 is stored."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from maskedge.errors import UsageError
from maskedge.settings import check_name, shown
from maskedge_fleet.database.tables import Token

ROLES = ("viewer", "operator", "admin")
"""The roles. Each one may do everything that those before it may do."""
PREFIX = "mef_"
"""First letters of a token, by which scanners for leaked secrets recognise it."""
_FORM = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
_USED_EVERY = timedelta(minutes=1)


class Caller(NamedTuple):
    """The token behind a request.

    Attributes:
        token_id: Row of the token; None for the command line.
        name: Name of the token, for the audit log.
        role: One of `ROLES`.
        address: Address of the client; empty for the command line.
    """

    token_id: int | None
    name: str
    role: str
    address: str = ""

    def may(self, role: str) -> bool:
        """Return True if the token has a role, or a higher one."""
        return ROLES.index(self.role) >= ROLES.index(role)


COMMAND_LINE = Caller(None, "command line", "admin")
"""The caller of the commands of `edge-fleet`."""


def create_token(session: Session, name: str, role: str, *, days: float | None = None) -> str:
    """Create a token, and return it. It cannot be read again.

    Args:
        session: Open session; the caller commits.
        name: Name of the person or program.
        role: One of `ROLES`.
        days: Days until it expires; None for never.

    Raises:
        UsageError: The name is not valid or taken, or there is no such role.
    """
    name = check_name(name, "the name of a token")
    if role not in ROLES:
        raise UsageError(f"a role is one of {', '.join(ROLES)}; got {shown(role)}.")
    if session.scalar(select(Token.id).where(Token.name == name)) is not None:
        raise UsageError(f"there is a token with the name {shown(name)}, perhaps a revoked one: give another name.")
    secret = PREFIX + secrets.token_urlsafe(32)
    now = datetime.now(timezone.utc)
    expires = None if days is None else now + timedelta(days=days)
    session.add(Token(name=name, role=role, hash=hash_token(secret), created=now, expires=expires))
    session.flush()
    return secret


def hash_token(secret: str) -> str:
    """Return the SHA-256 of a token in hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def find_token(session: Session, secret: str) -> Token | None:
    """Return the row of a token; None if it is unknown, expired or revoked.

    The table is searched by the hash, so the time of the search depends on the hash and reveals
    nothing about the token.
    """
    if not _FORM.fullmatch(secret):
        return None
    now = datetime.now(timezone.utc)
    token = session.scalar(select(Token).where(Token.hash == hash_token(secret), valid_at(now)))
    return token if token is not None and secrets.compare_digest(token.hash, hash_token(secret)) else None


def valid_at(now: datetime) -> ColumnElement[bool]:
    """Return the condition that a token is neither revoked nor expired."""
    return Token.revoked.is_(None) & or_(Token.expires.is_(None), Token.expires > now)


def record_use(session: Session, token: Token) -> bool:
    """Record the time of use of a token, at most once a minute. Return True if it was recorded."""
    now = datetime.now(timezone.utc)
    if token.used is not None and now - token.used < _USED_EVERY:
        return False
    session.execute(update(Token).where(Token.id == token.id).values(used=now))
    return True


def revoke_token(session: Session, name: str) -> Token:
    """Revoke a token by its name. Its row remains, so that the name in the audit log stays unique.

    Raises:
        UsageError: There is no such token.
    """
    token = session.scalar(select(Token).where(Token.name == name))
    if token is None:
        raise UsageError(f"there is no token with the name {shown(name)}: edge-fleet token list shows the names.")
    if token.revoked is None:
        token.revoked = datetime.now(timezone.utc)
    return token
